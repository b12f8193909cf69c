# shellcheck shell=bash
# test/run CHECK=asan and CHECK=valgrind: the same tests, with a server that is watched.
#
#	asan		memory_ext.so is built with the compiler's address and undefined behaviour
#				sanitizers; the server loads their runtime first (LD_PRELOAD).  Any report of
#				theirs is a failure.  Leaks are not looked for: a server's memory contexts free
#				in bulk, and what a process still has at its end is not given back at all.
#	valgrind	the server runs under memcheck.  An error with memory_ext.so in its stack is a
#				failure; what test/lib/valgrind.supp names is the server's own.  regress only.
#
# Both see memory at the grain of malloc: PostgreSQL's packages are built without their own
# annotations of memory contexts, so small pieces share a block, and only a piece of more than
# 8 KB has one of its own.  test/fuzz checks the transcript's bytes with exact buffers.
#
# The private installation's postgres becomes a script that starts the real one, postgres.plain.
# Programs that only make a database (initdb's) run plain.

REPORTS=			# the folder for reports

# instrument_packages: what ensure_packages has to know.
instrument_packages()
{
	[ "$CHECK" != valgrind ] || echo valgrind:valgrind
}

instrument_runtime()
{
	local cc library

	if [ -n "${INSTRUMENT_RUNTIME:-}" ]; then
		printf '%s' "$INSTRUMENT_RUNTIME"
		return
	fi
	cc=$("$PG_CONFIG" --cc)
	library=$("${cc%% *}" -print-file-name=libasan.so)
	[ -e "$library" ] || die "${cc%% *} has no libasan.so (Debian: it comes with gcc)"
	readlink -f "$library"
}

# instrument_preload: the runtime, and a library whose one constructor runs before all others and
# starts it.  Else it starts at the first malloc of some library's constructor; libgpg-error calls
# malloc in bindtextdomain, under gettext's lock, which the starting runtime takes as well.
instrument_preload()
{
	local runtime cc=${INSTRUMENT_CC:-$("$PG_CONFIG" --cc)}

	runtime=$(instrument_runtime)
	as_owner "${cc%% *}" -x c -shared -fPIC -Wl,-z,initfirst -o "$STAGE/out/start_runtime.so" - \
		-x none "$runtime" <<-'END' || die "the sanitizers' starter does not compile"
			void __asan_init(void);
			__attribute__((constructor)) static void start(void) { __asan_init(); }
		END
	printf '%s' "$runtime:$STAGE/out/start_runtime.so"
}

# instrument_build: how the extension is compiled.
instrument_build()
{
	case $CHECK in
		asan)
			MAKE_VARIABLES+=("COPT=-O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
-fno-omit-frame-pointer -U_FORTIFY_SOURCE")
			;;
		valgrind)
			MAKE_VARIABLES+=("COPT=-O1 -fno-omit-frame-pointer -fno-inline")
			# memcheck makes the server 20 to 50 times slower
			KIND_TIMEOUT=7200
			export PGCTLTIMEOUT=600
			;;
	esac
}

# instrument_server: after make_private_tree.
instrument_server()
{
	local run

	REPORTS=$STAGE/out/reports
	as_owner mkdir -p "$REPORTS"
	case $CHECK in
		asan)
			# what is freed is kept for 4 MB only, and its pages are given back at once: there are
			# tests of how much memory is used
			run="export LD_PRELOAD=$(instrument_preload)
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:disable_coredump=1:quarantine_size_mb=4\
:allocator_release_to_os_interval_ms=0:detect_stack_use_after_return=0:log_path=$REPORTS/asan
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1:abort_on_error=1:log_path=$REPORTS/ubsan
exec -a $PGBIN/postgres $PGBIN/postgres.plain \"\$@\""
			;;
		valgrind)
			run="exec $(type -P valgrind) --quiet --leak-check=no --num-callers=50 --error-limit=no \
	--suppressions=$STAGE/src/test/lib/valgrind.supp --gen-suppressions=all \
	--xml=yes --xml-file=$REPORTS/memcheck.%p $PGBIN/postgres.plain \"\$@\""
			;;
	esac
	# it knows itself by the script's name (-a), for a restart reads that from postmaster.opts
	as_owner mv "$PGBIN/postgres" "$PGBIN/postgres.plain"
	as_owner tee "$PGBIN/postgres" > /dev/null <<END
#!/bin/bash
case " \$* " in
	*" --boot "* | *" --check "* | *" --single "* | *" -V "* | *" --version "* | *" -C "*)
		exec -a $PGBIN/postgres $PGBIN/postgres.plain "\$@" ;;
esac
$run
END
	as_owner chmod 755 "$PGBIN/postgres"
}

# instrument_reports: counts and prints what was reported; call it when the servers are down.
instrument_reports()
{
	local file n

	if [ "$CHECK" = valgrind ]; then
		n=$(perl "$STAGE/src/test/lib/memcheck.pl" "$REPORTS" "$STAGE/out/memcheck.txt")
		say "memcheck: $n"
		if [ -s "$STAGE/out/memcheck.txt" ]; then
			head -n 300 "$STAGE/out/memcheck.txt"
			fail "$(grep -c '^error' "$STAGE/out/memcheck.txt")" "memcheck reported errors"
		else
			passed=$((passed + 1))
		fi
		return
	fi
	n=0
	# a sanitizer that cannot write its report says it in the server's log
	for file in "$REPORTS"/* $(grep -rlaE 'runtime error: |Sanitizer' \
		"$STAGE"/*.log "$STAGE/out/tap" 2> /dev/null); do
		[ -s "$file" ] || continue
		n=$((n + 1))
		[ "$(dirname "$file")" = "$REPORTS" ] || {
			say "--- report $n, $file"
			grep -aE -A 30 'runtime error: |Sanitizer' "$file" | head -n 80
			continue
		}
		[ "$n" -gt 5 ] || { say "--- report $n" && head -n 80 "$file"; }
	done
	say "sanitizers: $n reports"
	if [ "$n" = 0 ]; then
		passed=$((passed + 1))
	else
		fail "$n" "the sanitizers reported errors"
	fi
}
