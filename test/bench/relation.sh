# shellcheck shell=bash
# Sourced by test/bench/run: how the planner reaches memory.messages and memory.conversations, by the
# statements of applications and ORMs in relation/*.pgbench, and what an INSERT through them takes.

# statement SCRIPT: prints a pgbench script without the lines that choose its variables.
statement()
{
	sed -e '/^\\/d' -e 's/;$//' "$BENCH/relation/$1.pgbench"
}

# psql_statement DATABASE STATEMENT [NAME=value ...]: runs it with these variables of psql.
psql_statement()
{
	local database=$1 statement=$2 variable variables=()
	shift 2

	for variable; do
		variables+=(-v "$variable")
	done
	printf '%s;\n' "$statement" > "$STAGE/out/statement.sql"
	run_psql "$database" "${variables[@]}" -f "$STAGE/out/statement.sql"
}

# same_rows DATABASE OURS PLAIN [NAME=value ...]: stops unless both statements return the same rows,
# in any order, in the columns that both sides have; and at least one.
same_rows()
{
	local database=$1 side
	local -A statements=([memory_ext]=$2 [plain]=$3)
	shift 3

	for side in memory_ext plain; do
		psql_statement "$database" "SELECT (
				SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(q))
				WHERE key IN ('conversation_id', 'title', 'seq', 'role', 'content', 'tokens', 'created_at', 'count'))
			FROM (${statements[$side]}) q ORDER BY 1" "$@"
		mv "$STAGE/out/psql" "$STAGE/out/rows_$side"
	done
	[ -s "$STAGE/out/rows_plain" ] || die "no rows: ${statements[plain]} ($*)"
	cmp -s "$STAGE/out/rows_memory_ext" "$STAGE/out/rows_plain" ||
		die "memory_ext and the plain tables give different rows: ${statements[memory_ext]} ($*)"
}

# relation_reads DATABASE NAME [-D NAME=value ...]: the row relation_NAME.
relation_reads()
{
	local database=$1 name=$2 n ours theirs
	shift 2

	ours=$(statement "${name}_memory")
	theirs=$(statement "${name}_plain")
	for n in 1 2 7 19 39; do
		same_rows "$database" "$ours" "$theirs" "id=$n" "n=$n" "account=$((n % 40))" "first=$((n * 5))"
	done
	read_rounds "$database" "relation_$name" "relation/$name" "$@"
}

# relation_appends KEY NAME: INSERTs by one client.
relation_appends()
{
	local key=$1 script=relation/$2 round ours
	local scale=(-D conversations="$CONVERSATIONS" -D accounts="$ACCOUNTS")

	warm_up inserts "${script}_memory" "${scale[@]}"
	warm_up inserts "${script}_plain" "${scale[@]}"
	for ((round = 1; round <= ROUNDS; round++)); do
		run_pgbench inserts "${script}_memory" 1 "$round" "${scale[@]}"
		value "$key" memory_ext "$tps" "$latency"
		ours=$tps
		run_pgbench inserts "${script}_plain" 1 "$round" "${scale[@]}"
		value "$key" plain "$tps" "$latency"
		progress "$key $round/$ROUNDS: memory_ext $ours/s, plain $tps/s"
	done
}

# measure_relation_live: of conversations in use, as measure_appends has them.
measure_relation_live()
{
	local name side values=(n=7 account=7 t=11 r=1)

	make_conversations inserts "$CONVERSATIONS" "$ACCOUNTS" on
	relation_reads inserts live -D accounts="$ACCOUNTS"
	for name in insert insert100; do
		for side in memory plain; do
			psql_statement inserts "$(statement "${name}_$side")" "${values[@]}"
		done
		# plain takes its seq from a sequence
		same_rows inserts "SELECT row_number() OVER (ORDER BY seq) AS seq, role, content
			FROM memory.messages WHERE conversation_id = bench.id(:n) AND account_id = 'account-' || :account" \
			"SELECT row_number() OVER (ORDER BY seq) AS seq, role, content
			FROM plain.messages WHERE conversation_id = bench.id(:n)" "${values[@]}"
	done
	relation_appends relation_insert insert
	relation_appends relation_insert100 insert100
	export PGOPTIONS="-c synchronous_commit=off"
	relation_appends relation_insertcpu insert
	unset PGOPTIONS
	as_owner dropdb inserts
}

# measure_relation NAME: the corpus after maintenance, then long conversations (as in measure_reads),
# then conversations in use.
measure_relation()
{
	local name files=$STAGE/out/$1 conversations

	row relation_join ms "<=1.3" "a conversation's messages by a join with one row of a table [14]"
	row relation_in ms "" "messages of 5 conversations, by both keys IN (SELECT ...)"
	row relation_in_id ms "" "messages of 5 conversations, by conversation_id IN (SELECT ...)"
	row relation_lateral ms "" "last 5 conversations of an account, up to 20 messages each by LATERAL"
	row relation_recent ms "" "last 5 conversations of an account, joined with all their messages"
	row relation_account ms "<=1.5" "all messages WHERE account_id =, 50 conversations"
	row relation_live ms "" "all messages WHERE account_id =, 10 conversations in use [6]"
	row relation_long_last ms "" "ORDER BY seq DESC LIMIT 50 of a long conversation [15]"
	row relation_long_range ms "" "50 messages of a long conversation by a range of seq"
	row relation_long_count ms "" "count(*) of a long conversation"
	row relation_insert tps "" "INSERT of a row, 1 client [16]"
	row relation_insertcpu tps "" "INSERT of a row, 1 client, commits not waited for [8]"
	row relation_insert100 tps "" "INSERT of 100 rows of a conversation, 1 client"

	fresh_database relation
	run_psql relation -v conversations="$files/conversations.csv" -v messages="$files/messages.csv" \
		-f "$BENCH/relation/corpus.sql" -f "$BENCH/check.sql"
	maintain relation
	progress "relation: maintained in $maintain_seconds s"
	conversations=$(ask relation "SELECT count(*) FROM plain.my_chats WHERE id < 1000000")
	for name in join in in_id lateral recent account; do
		relation_reads relation "$name" -D conversations="$conversations" -D accounts=100
	done
	as_owner dropdb relation

	fresh_database long
	run_psql long -v messages="$files/messages.csv" -f "$BENCH/long.sql" -f "$BENCH/check.sql"
	maintain long
	for name in long_last long_range long_count; do
		relation_reads long "$name"
	done
	as_owner dropdb long

	measure_relation_live
}
