# shellcheck shell=bash
# What has to be on this machine, and the Debian packages that bring it: a part of
# test/lib/private-server.sh, which has say and die.
#
# Each thing is looked for itself: a header by the compiler, a library by linking it, a program
# in its folder.  What stands near it proves nothing: Debian's libpq-dev and postgresql-client-15
# have a pg_config and a pgxs.mk, but not one header of the server.
#
# test/t/005_packages.pl walks through machines that lack this and that; the next four are for it.

PG_LIB=${PG_LIB:-/usr/lib/postgresql}	# Debian's folder of all its majors
OS_RELEASE=${OS_RELEASE:-/etc/os-release}
CREATECLUSTER_DIR=${CREATECLUSTER_DIR:-/etc/postgresql-common/createcluster.d}
POLICY_RC_D=${POLICY_RC_D:-/usr/sbin/policy-rc.d}	# tells packages which services not to start

# What the build and a server need: always.
BUILD_NEEDS=(libzstd-dev:zstd.h:zstd liblz4-dev:lz4.h:lz4 make:make)

# What only tests need.  Debian's redis-tools has the server, too; pgbouncer is where an ordinary
# user's PATH does not lead.
# shellcheck disable=SC2034
TEST_NEEDS=(libhiredis-dev:hiredis/hiredis.h:hiredis perl:Test::More perl:TAP::Harness
	perl:Time::HiRes libipc-run-perl:IPC::Run redis-tools:redis-cli
	pgbouncer:${PGBOUNCER:-/usr/sbin/pgbouncer})

pg_major()
{
	"$1" --version 2> /dev/null | sed -nE '1s/^PostgreSQL ([0-9]+).*/\1/p'
}

has_headers()
{
	[ -e "$("$1" --includedir-server 2> /dev/null)/postgres.h" ] &&
		[ -e "$("$1" --pgxs 2> /dev/null)" ]
}

has_server()
{
	local bindir

	bindir=$("$1" --bindir 2> /dev/null) && [ -x "$bindir/postgres" ] && [ -x "$bindir/initdb" ]
}

# of_debian PG_CONFIG: whether packages of Debian could complete that installation.
of_debian()
{
	[ "$("$1" --bindir 2> /dev/null)" = "$PG_LIB/$(pg_major "$1")/bin" ]
}

# is_packaged NAME: whether apt could install it, as far as its lists go.
is_packaged()
{
	apt-cache policy "$1" 2> /dev/null | grep -q '^  Candidate: [0-9]'
}

# find_pg_config: sets PG_CONFIG.  One that the caller names is taken as it is.  Otherwise it is
# the first that lacks nothing: pg_config of PATH, then Debian's from the newest to the oldest.
# Without any, the one that lacks least and that apt can complete; without such a one, status 1.
find_pg_config()
{
	local candidate major best="" best_rank=0 rank

	if [ -n "${PG_CONFIG:-}" ]; then
		"$PG_CONFIG" --version > /dev/null 2>&1 ||
			die "PG_CONFIG=$PG_CONFIG does not run"
		return
	fi
	while read -r candidate; do
		[ -x "$candidate" ] || continue
		major=$(pg_major "$candidate") || continue
		[[ $major =~ ^[0-9]+$ ]] && [ "$major" -ge 15 ] || continue
		rank=1
		! has_headers "$candidate" || rank=$((rank + 1))
		! has_server "$candidate" || rank=$((rank + 2))
		[ "$rank" = 4 ] || {
			of_debian "$candidate" && is_packaged "postgresql-server-dev-$major" &&
				is_packaged "postgresql-$major"
		} || continue
		if [ "$rank" -gt "$best_rank" ]; then
			best=$candidate
			best_rank=$rank
		fi
	done < <(
		type -P pg_config || true
		printf '%s\n' "$PG_LIB"/*/bin/pg_config | sort -rV
	)
	[ -n "$best" ] || return 1
	PG_CONFIG=$best
}

# The PostgreSQL that the system's packages have: what the package "postgresql" stands for, or,
# where apt has no lists yet, what the release is known to have.
packaged_major()
{
	local major

	major=$(apt-cache show postgresql 2> /dev/null |
		sed -nE 's/^Depends: .*postgresql-([0-9]+).*/\1/p' | sort -n | tail -n 1)
	if [ -z "$major" ]; then
		# testing and unstable have no VERSION_ID
		# shellcheck source=/dev/null
		case $(. "$OS_RELEASE" 2> /dev/null && echo "${ID:-}:${VERSION_ID:-}") in
			debian:12) major=15 ;;
			debian:13) major=17 ;;
			debian:*) major=18 ;;
			ubuntu:24.04) major=16 ;;
			ubuntu:25.*) major=17 ;;
			ubuntu:26.*) major=18 ;;
			*) major=15 ;;
		esac
	fi
	echo "$major"
}

# no_build_files PG_CONFIG: what the Makefile says where it cannot build with that one.
no_build_files()
{
	local major

	major=$(pg_major "$1") || true
	printf '%s\n' "memory_ext: PostgreSQL's build files or headers are not there ($1 --pgxs\
 --includedir-server): apt-get install postgresql-server-dev-${major:-$(packaged_major)}\
 libzstd-dev liblz4-dev, or name another with PG_CONFIG=; 'make test' and 'make demo' install\
 what they need by themselves"
}

# has_library COMPILER HEADER LIBRARY: whether a program with both can be built.
has_library()
{
	printf '#include <%s>\nint main(void) { return 0; }\n' "$2" |
		"$1" -x c - "-l$3" -o /dev/null > /dev/null 2>&1
}

# missing_packages [NEED ...]: prints the packages that bring what is not there: a PostgreSQL
# with headers and server, a compiler, BUILD_NEEDS and the arguments.  A need is PACKAGE:COMMAND,
# PACKAGE:HEADER:LIBRARY or PACKAGE:PERL::MODULE.
missing_packages()
{
	local major cc=gcc need package what

	if find_pg_config; then
		major=$(pg_major "$PG_CONFIG")
		if ! of_debian "$PG_CONFIG"; then
			has_headers "$PG_CONFIG" ||
				die "PG_CONFIG=$PG_CONFIG: there is no $("$PG_CONFIG" --includedir-server)/postgres.h or no $("$PG_CONFIG" --pgxs)"
			has_server "$PG_CONFIG" ||
				die "PG_CONFIG=$PG_CONFIG: there is no server in $("$PG_CONFIG" --bindir)"
		fi
		has_server "$PG_CONFIG" || echo "postgresql-$major"
		has_headers "$PG_CONFIG" || echo "postgresql-server-dev-$major"
		cc=$("$PG_CONFIG" --cc 2> /dev/null)
		cc=${cc:-gcc}
	else
		major=$(packaged_major)
		printf '%s\n' "postgresql-$major" "postgresql-server-dev-$major"
	fi
	cc=${cc%% *}
	type -P "$cc" > /dev/null || echo "${cc##*/}"
	has_library "$cc" stdio.h c || echo libc6-dev
	for need in "${BUILD_NEEDS[@]}" "$@"; do
		package=${need%%:*}
		what=${need#*:}
		case $what in
			*::*) perl "-M$what" -e 1 2> /dev/null ;;
			*:*) has_library "$cc" "${what%%:*}" "${what#*:}" ;;
			*) type -P "$what" > /dev/null ;;
		esac || echo "$package"
	done
}

# The same in one line, each once.
missing_list()
{
	local missing

	missing=$(missing_packages "$@") || exit 2
	awk '!seen[$0]++' <<< "$missing" | paste -s -d ' '
}

# ensure_packages [NEED ...]: installs what is missing, as root; tells anybody else what it is.
# Sets PG_CONFIG, absolute.
ensure_packages()
{
	local missing

	missing=$(missing_list "$@") || exit 2
	if [ -n "$missing" ]; then
		type -P apt-get > /dev/null ||
			die "missing here (the names are Debian's): $missing"
		[ "$(id -u)" = 0 ] ||
			die "packages are missing: sudo apt-get install --no-install-recommends $missing"
		update_lists
		# what apt knows now can be another PostgreSQL
		missing=$(missing_list "$@") || exit 2
		install_packages "$missing"
		missing=$(missing_list "$@") || exit 2
		[ -z "$missing" ] || die "still missing after the installation: $missing"
	fi
	find_pg_config || die "no pg_config was found"
	PG_CONFIG=$(type -P "$PG_CONFIG")
	PG_CONFIG=$(cd "$(dirname "$PG_CONFIG")" && pwd)/$(basename "$PG_CONFIG")
	[ "$(pg_major "$PG_CONFIG")" -ge 15 ] ||
		die "PostgreSQL 15 or newer is needed, $PG_CONFIG is $("$PG_CONFIG" --version)"
	export PG_CONFIG
}

update_lists()
{
	say "reading the lists of packages"
	apt-get update -q > /dev/null 2>&1 < /dev/null ||
		say "apt-get update failed, going on with the lists that are here"
}

# show_progress LOG: the stages of apt-get install, which can take minutes.  All that it says
# is in LOG.
show_progress()
{
	local line count=0

	while IFS= read -r line; do
		printf '%s\n' "$line" >> "$1"
		case $line in
			"Need to get "*) say "  downloading ${line#Need to get }" ;;
			"Fetched "*) say "  ${line,}" ;;
			"Unpacking "* | "Setting up "*)
				count=$((count + 1))
				[ $((count % 20)) != 0 ] || say "  ${line%% (*}"
				;;
		esac
	done
}

# install_packages "NAME ..." [build-dep]: with build-dep, what a folder with debian/control needs.
# Debian's package of a server makes a cluster "main" and starts it, at its first installation;
# that of PgBouncer starts a service.  Nobody asked for either here, so a drop-in forbids the one
# and policy-rc.d the other as long as the installation lasts.
# What is installed already is not upgraded: that could restart somebody's servers.
install_packages()
{
	local conf_dir=$CREATECLUSTER_DIR
	local conf=$conf_dir/memory_ext-no-main-cluster.conf
	local policy=""
	local log status=0

	say "installing: ${2:+what is needed to build }$1"
	log=$(mktemp)
	(
		# shellcheck disable=SC2317,SC2329
		tidy()
		{
			rm -f "$conf" ${policy:+"$policy"}
			rmdir --ignore-fail-on-non-empty -p "$conf_dir" 2> /dev/null
			true
		}
		trap tidy EXIT
		trap 'exit 130' INT TERM HUP
		mkdir -p "$conf_dir"
		echo "create_main_cluster = false" > "$conf"
		if [ ! -e "$POLICY_RC_D" ]; then
			policy=$POLICY_RC_D
			printf '#!/bin/sh\nexit 101\n' > "$policy"
			chmod 755 "$policy"
		fi
		export DEBIAN_FRONTEND=noninteractive
		# shellcheck disable=SC2086
		apt-get "${2:-install}" -q -y --no-install-recommends --no-upgrade \
			-o DPkg::Lock::Timeout=300 $1
	) 2>&1 < /dev/null | show_progress "$log" || status=$?
	if [ $status != 0 ]; then
		tail -n 40 "$log"
		rm -f "$log"
		die "apt-get could not install: $1"
	fi
	rm -f "$log"
}
