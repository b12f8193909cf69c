# shellcheck shell=bash
# What test/fuzz/run and test/run share.  The caller has sourced test/lib/private-server.sh and
# made STAGE.

# fuzz_compiler: sets CLANG to a clang that has libFuzzer and the sanitizers, and installs one
# where that is possible; false, having said why, if there is none.
fuzz_compiler()
{
	CLANG=${CLANG:-clang}
	fuzz_compiler_works && return
	if type -P apt-get > /dev/null && [ "$(id -u)" = 0 ]; then
		# the runtime is a package of its own since Debian 12; before, it came with the compiler
		update_lists
		( install_packages "clang libclang-rt-dev" ) || ( install_packages clang ) || true
		fuzz_compiler_works && return
	fi
	say "fuzzing is left out: no clang with libFuzzer (Debian: clang libclang-rt-dev)"
	return 1
}

fuzz_compiler_works()
{
	type -P "$CLANG" > /dev/null &&
		echo 'int LLVMFuzzerTestOneInput(const void *d, unsigned long n) { return !d && n; }' |
		"$CLANG" -x c -fsanitize=fuzzer,address,undefined -o "$STAGE/out/fuzz_probe" - \
			> /dev/null 2>&1
}

# What each target of libFuzzer is called, is linked with, and its longest input.
declare -A FUZZ_LABEL=([format]="the transcripts' bytes" [csv]="the records of CSV"
	[search]="search")
declare -A FUZZ_SOURCES=(
	[format]="src/transcript/format.c src/transcript/encode.c src/transcript/decode.c"
	[csv]="src/transfer/csv_cut.c"
	[search]="src/search/fold.c src/search/query.c src/search/filter.c src/search/block.c
		src/search/snippet.c"
)
declare -A FUZZ_MAX_LEN=([format]=24000 [csv]=4096 [search]=4096)

# fuzz_build TARGET: compiles it into STAGE/out/fuzz_TARGET.
fuzz_build()
{
	# shellcheck disable=SC2086
	as_owner "$CLANG" -g -O1 -D_GNU_SOURCE -fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter -Werror \
		-Isrc -Isrc/base -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o "$STAGE/out/fuzz_$1" "test/fuzz/fuzz_$1.c" ${FUZZ_SOURCES[$1]}
}

# fuzz TARGET SECONDS [option of libFuzzer ...]: builds it and runs it; what it finds new is in
# STAGE/out/new_TARGET.  On a failure it prints the report and the input.
fuzz()
{
	local out=$STAGE/out target=$1 seconds=$2 status=0 file
	shift 2

	fuzz_build "$target" || return 1
	as_owner mkdir -p "$out/new_$target" "$out/crashes"
	# caps: one allocation, and all
	run_job as_owner env ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 \
		"$out/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-malloc_limit_mb=256 -max_len="${FUZZ_MAX_LEN[$target]}" -print_final_stats=1 -verbosity=0 \
		-artifact_prefix="$out/crashes/" "$@" "$out/new_$target" "test/fuzz/corpus_$target" \
		> "$out/fuzz_$target.log" 2>&1 || status=$?
	if [ "$status" = 0 ]; then
		say "  $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/fuzz_$target.log") inputs, $(
			find "$out/new_$target" -type f | wc -l) of them new"
		return
	fi
	tail -n 60 "$out/fuzz_$target.log"
	for file in "$out"/crashes/*; do
		[ -e "$file" ] || continue
		say "--- the input, in base64: $(basename "$file")"
		base64 "$file" | head -n 60
	done
	return 1
}
