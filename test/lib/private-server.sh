# shellcheck shell=bash
# A PostgreSQL of our own: what test/run, test/demo and the benchmarks share.
#
# The system's installation and its clusters are only read.  PostgreSQL finds its files relative
# to its own program, so a copy of the programs beside symbolic links to the rest makes a whole
# private installation, into which the extension is installed without any rights.
#
#	STAGE/src	a copy of the project, built there; tests start in this folder
#	STAGE/root	the private installation
#	STAGE/old	the same of another major version, if there is OLD_PG_CONFIG
#	STAGE/NAME	the data directory of server NAME, log in STAGE/NAME.log
#	STAGE/s		the sockets; no server listens on TCP
#
# Servers refuse to run as root; as root everything from the build on runs as the user nobody.
# STAGE is removed at exit, also after Ctrl-C, and with it stop exactly the servers in it.
#
# Use:	source test/lib/private-server.sh
#		parse_arguments "$@"
#		ensure_packages
#		make_stage
#		build
#		make_private_tree
#		start_server NAME [line of postgresql.conf ...]
#
# The variables that a caller may set: PG_CONFIG, OLD_PG_CONFIG, WERROR, KEEP=1 (leave STAGE and say where).

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
MAKE_VARIABLES=()	# NAME=value, for every call of make
STAGE=
PGBIN=				# the private installation's programs
PGXS_DIR=			# where its pg_regress and its Perl modules are
AS_OWNER=()			# what runs a command as the owner of STAGE
RUNNING=()			# data directories of servers that were started
JOB=				# process group of a command that run_job waits for

say()
{
	printf '%s\n' "$*"
}

die()
{
	printf '%s\n' "memory_ext: $*" >&2
	exit 2
}

# shellcheck source=test/lib/packages.sh
source "$PROJECT/test/lib/packages.sh"

# Arguments are make's: NAME=value.  All are passed on to make, and set here.
parse_arguments()
{
	local argument

	for argument; do
		[[ $argument =~ ^[A-Za-z_][A-Za-z_0-9]*= ]] || die "not NAME=value: $argument"
		MAKE_VARIABLES+=("$argument")
		case $argument in
			PG_CONFIG=* | OLD_PG_CONFIG=* | KEEP=* | CORPUS=* | WERROR=* | CHECK=* | FUZZ=*) export "${argument?}" ;;
		esac
	done
	# called by make, but not a part of it
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
	# nothing of the caller's may lead a program to another server
	unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGDATA PGSERVICE PGSERVICEFILE PGPASSFILE \
		PGPASSWORD PGOPTIONS PGSSLMODE PSQLRC
	umask 022
}

seconds_since()
{
	awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'
}

# ---------------------------------------------------------------------------------------------
# The private installation
# ---------------------------------------------------------------------------------------------

# run_job COMMAND ...: runs it as a process group of its own, so that Ctrl-C and a failure end
# all of it.
run_job()
{
	local status=0

	set -m
	"$@" < /dev/null &
	JOB=$!
	set +m
	wait "$JOB" || status=$?
	JOB=
	return $status
}

as_owner()
{
	"${AS_OWNER[@]}" "$@"
}

give_to_owner()
{
	[ ${#AS_OWNER[@]} = 0 ] || chown -R "$(id -u nobody):$(id -g nobody)" "$@"
}

# make_stage: the folder, with a copy of the project in it.
make_stage()
{
	# short, because the path of a socket may have 107 bytes
	STAGE=$(mktemp -d /tmp/memory_ext.XXXXXX)
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP

	if [ "$(id -u)" = 0 ]; then
		AS_OWNER=(setpriv "--reuid=$(id -u nobody)" "--regid=$(id -g nobody)" --clear-groups)
	fi
	mkdir "$STAGE/src" "$STAGE/root" "$STAGE/s" "$STAGE/tmp" "$STAGE/out"
	(
		cd "$PROJECT" || exit
		shopt -s nullglob
		tar --exclude=node_modules --exclude=dist --exclude='*.o' --exclude='*.d' --exclude='*.so' \
			--exclude='*.bc' -cf - Makefile ./*.control ./*--*--*.sql ./*.md \
			.[c]lang-format [d]oc [c]lients src [s]ql [e]xpected test
	) | tar -C "$STAGE/src" --no-same-owner -xf -
	chmod -R u+rwX,go+rX "$STAGE/src"
	give_to_owner "$STAGE"

	# the caller's folder may be closed to the owner of STAGE
	cd "$STAGE/src" || exit
	export HOME=$STAGE TMPDIR=$STAGE/tmp
	export LANG=C.UTF-8
	unset LC_ALL LANGUAGE
	export PSQL_PAGER='' PAGER=cat PSQL_HISTORY=/dev/null
}

# staged_make ARGUMENT ...
staged_make()
{
	as_owner make -s --no-print-directory -C "$STAGE/src" \
		"${MAKE_VARIABLES[@]}" "PG_CONFIG=$PG_CONFIG" "$@"
}

# build: prints the compiler's own words and, since it can take minutes, how far it is.
build()
{
	local status=0 watcher

	watch_build &
	watcher=$!
	run_job staged_make "-j$(nproc)" all || status=$?
	kill "$watcher" 2> /dev/null
	wait "$watcher" 2> /dev/null
	return $status
}

# watch_build: every ten seconds how many files are compiled.
watch_build()
{
	local all

	all=$(find "$STAGE/src/src" -name '*.c' | wc -l)
	while sleep 10; do
		say "  $(find "$STAGE/src/src" -name '*.o' | wc -l) of $all files"
	done
}

make_private_tree()
{
	local bindir pkglibdir sharedir program

	bindir=$("$PG_CONFIG" --bindir)
	pkglibdir=$("$PG_CONFIG" --pkglibdir)
	sharedir=$("$PG_CONFIG" --sharedir)
	PGBIN=$STAGE/root$bindir

	# The programs are copied, since PostgreSQL follows links to where a program really is.
	as_owner mkdir -p "$PGBIN"
	for program in postgres initdb pg_ctl psql pg_config pg_dump pg_dumpall pg_restore pg_isready \
		pgbench createdb dropdb createuser dropuser vacuumdb reindexdb clusterdb pg_basebackup \
		pg_receivewal pg_recvlogical pg_verifybackup pg_combinebackup pg_walsummary pg_waldump \
		pg_controldata pg_resetwal pg_rewind pg_checksums pg_amcheck pg_upgrade \
		pg_archivecleanup pg_createsubscriber pg_test_fsync; do
		[ ! -x "$bindir/$program" ] || as_owner cp -L "$bindir/$program" "$PGBIN/"
	done
	for program in "$pkglibdir" "$sharedir"; do
		as_owner mkdir -p "$STAGE/root$program"
		as_owner cp -rs "$program/." "$STAGE/root$program/"
	done

	# an extension that somebody installed is not the one to test
	as_owner rm -f "$STAGE/root$pkglibdir"/memory_ext.* \
		"$STAGE/root$sharedir"/extension/memory_ext{.control,--*.sql}
	[ "$("$PGBIN/pg_config" --pkglibdir --sharedir)" = \
		"$STAGE/root$pkglibdir"$'\n'"$STAGE/root$sharedir" ] ||
		die "the PostgreSQL of $PG_CONFIG does not work from another folder"
	staged_make "DESTDIR=$STAGE/root" install > /dev/null

	PGXS_DIR=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	PGXS_DIR=$(cd "$PGXS_DIR" && pwd -P)
	export PATH=$PGBIN:$PATH
}

# make_old_tree: builds and installs for OLD_PG_CONFIG, beside the rest; call it before build.
# Exports what PostgreSQL's own test of pg_upgrade calls oldinstall.
make_old_tree()
{
	"$OLD_PG_CONFIG" --version > /dev/null 2>&1 || die "OLD_PG_CONFIG=$OLD_PG_CONFIG does not run"
	as_owner mkdir -p "$STAGE/old/root"
	as_owner cp -r "$STAGE/src" "$STAGE/old/"
	oldinstall=$STAGE/old/root$(dirname "$("$OLD_PG_CONFIG" --bindir)")
	export oldinstall
	STAGE=$STAGE/old PG_CONFIG=$OLD_PG_CONFIG staged_make "-j$(nproc)" all
	# what it sets is not for the rest
	( STAGE=$STAGE/old PG_CONFIG=$OLD_PG_CONFIG make_private_tree )
}

# ---------------------------------------------------------------------------------------------
# Servers
# ---------------------------------------------------------------------------------------------

# start_server NAME [line of postgresql.conf ...]: programs of this shell connect to it from now
# on, as superuser postgres.  A line "fsync = off" is for tests only; a measurement that leaves
# out fsync measures something else.
start_server()
{
	local data=$STAGE/$1 output
	shift

	output=$(as_owner "$PGBIN/initdb" -D "$data" -U postgres -A trust --locale=C.UTF-8 \
		--encoding=UTF8 --no-sync 2>&1) || {
		say "$output"
		die "initdb failed"
	}
	printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$STAGE/s'" "port = 5432" \
		"log_line_prefix = '%m [%p] %q%a '" "$@" |
		as_owner tee -a "$data/postgresql.conf" > /dev/null
	RUNNING+=("$data")
	as_owner "$PGBIN/pg_ctl" -D "$data" -l "$data.log" -s -w -t 60 start > /dev/null 2>&1 || {
		tail -n 40 "$data.log"
		die "the server does not start"
	}
	export PGHOST=$STAGE/s PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# stop_server NAME
stop_server()
{
	local data=$STAGE/$1 other left=()

	for other in "${RUNNING[@]}"; do
		[ "$other" = "$data" ] || left+=("$other")
	done
	RUNNING=("${left[@]}")
	as_owner "$PGBIN/pg_ctl" -D "$data" -s -w -m fast stop
}

# Every server whose data directory is below STAGE, whoever started it (the TAP tests start their
# own, and leave them behind when they are killed), and no other.
stop_all_servers()
{
	local data file pid turn

	for data in "${RUNNING[@]}"; do
		[ ! -e "$data/postmaster.pid" ] ||
			as_owner "$PGBIN/pg_ctl" -D "$data" -s -w -m immediate stop > /dev/null 2>&1 || true
	done
	find "$STAGE" -name postmaster.pid -type f 2> /dev/null | while read -r file; do
		pid=$(head -n 1 "$file" 2> /dev/null) || continue
		[ "$(readlink "/proc/$pid/cwd")" = "$(dirname "$file")" ] || continue
		kill -QUIT "$pid" 2> /dev/null || continue
		for turn in {1..50}; do
			[ -e "/proc/$pid" ] || break
			[ "$turn" != 50 ] || kill -KILL "$pid"
			sleep 0.1
		done
	done
}

# shellcheck disable=SC2317,SC2329
cleanup()
{
	local status=$?

	trap - EXIT
	trap '' INT TERM HUP
	set +e
	cd /
	if [ -n "$JOB" ]; then
		kill -TERM -- "-$JOB" 2> /dev/null
		wait "$JOB" 2> /dev/null
	fi
	stop_all_servers
	if [ -n "${KEEP:-}" ]; then
		say "kept: $STAGE"
	else
		rm -rf "$STAGE"
	fi
	exit $status
}
