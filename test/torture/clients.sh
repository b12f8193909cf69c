# shellcheck shell=bash
# What writes during a trial, and the model of what it was told.
#
# Writer i appends message 1, 2, 3 … to a conversation of its own, each with a message_id, and
# notes a number when the server has acknowledged it.  What fails, or gets no answer, is tried
# again.  So the conversation must hold all numbers up to the last one that was acknowledged, each
# once, and at most one more: that whose answer was lost.  Another client fills accounts and
# forgets them: of one that was reported forgotten nothing may be left.  Maintenance runs all the
# time.

faults=0
kills=0
WRITING=()

fault()
{
	say "  FAULT: $1"
	faults=$((faults + 1))
}

conversation_of()
{
	printf '00000000-0000-0000-0000-%012d' "$1"
}

begin_model()
{
	as_owner mkdir -p "$STAGE/told"
	as_owner psql -Xq <<-'SQL'
		CREATE EXTENSION memory_ext;
		INSERT INTO memory.plans (plan_id, is_default) VALUES ('torture', true);
		INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('torture', 'messages', 'lifetime', 1000000000);
	SQL
}

# Appends until the file "end" is there; the last line of its file is the last number acknowledged.
write_messages()
{
	local i=$1 told=$STAGE/told/writer.$1 last
	touch "$told"
	while [ ! -e "$STAGE/told/end" ]; do
		last=$(tail -n 1 "$told")
		# so few that the end of the trial is not waited for long
		awk -v n="${last:-0}" -v i="$i" -v id="$(conversation_of "$i")" 'BEGIN {
			for (k = n + 1; k <= n + 100; k++)
				printf "SELECT %d FROM memory.append(\047account %d\047, \047%s\047, \047user\047, \047message %d of writer %d, %d\047, message_id => \047%d\047);\n", k, i % 2, id, k, i, k * 7919 + i, k
		}' > "$STAGE/told/script.$i"
		as_owner psql -XAtq -v ON_ERROR_STOP=1 -f "$STAGE/told/script.$i" >> "$told" 2>> "$told.errors" || sleep 0.3
	done
}

forget_accounts()
{
	local told=$STAGE/told/forgotten n=0
	touch "$told"
	while [ ! -e "$STAGE/told/end" ]; do
		n=$((n + 1))
		as_owner psql -XAtq -v ON_ERROR_STOP=1 >> "$told" 2>> "$told.errors" <<-SQL || sleep 0.3
			SELECT FROM memory.append('gone $SECONDS.$n', '$(conversation_of "$n")', 'user', 'x') \\gset
			SELECT 'gone $SECONDS.$n' FROM memory.forget('gone $SECONDS.$n');
		SQL
	done
}

maintain_always()
{
	while [ ! -e "$STAGE/told/end" ]; do
		as_owner psql -Xq -c 'CALL memory.maintain()' > /dev/null 2>> "$STAGE/told/maintain.errors" || sleep 0.3
		sleep 0.5
	done
}

start_writers()
{
	local i
	as_owner rm -f "$STAGE/told/end"
	WRITING=()
	for ((i = 1; i <= WRITERS; i++)); do
		write_messages "$i" &
		WRITING+=($!)
	done
	forget_accounts &
	WRITING+=($!)
	maintain_always &
	WRITING+=($!)
}

end_writers()
{
	as_owner touch "$STAGE/told/end"
	[ ${#WRITING[@]} = 0 ] || wait "${WRITING[@]}" || true
	WRITING=()
}

wait_for_end()
{
	while [ "$SECONDS" -lt "$END" ]; do sleep 1; done
}

# A table that grows until it may not.
fill_up()
{
	as_owner psql -XAtq -c "INSERT INTO memory.messages (account_id, conversation_id, role, content)
		SELECT 'filler', gen_random_uuid(), 'user', string_agg(md5(random()::text), '') FROM generate_series(1, 200) k, generate_series(1, 3000) i GROUP BY i" \
		>> "$STAGE/disk.out" 2>&1 || true
}

stop_quietly()
{
	as_owner "$PGBIN/pg_ctl" -D "$STAGE/main" -s -w -t 120 -m immediate stop > /dev/null 2>&1 || true
}

check_model()
{
	local i told found problems left
	until as_owner psql -XAtqc 'SELECT 1' > /dev/null 2>&1; do sleep 0.5; done
	for ((i = 1; i <= WRITERS; i++)); do
		told=$(tail -n 1 "$STAGE/told/writer.$i")
		found=$(as_owner psql -XAtqF' ' -c "SELECT count(*), count(DISTINCT message_id), coalesce(max(message_id::bigint), 0),
			count(*) FILTER (WHERE content NOT LIKE 'message ' || message_id || ' of writer $i, %')
			FROM memory.messages WHERE account_id = 'account $((i % 2))' AND conversation_id = '$(conversation_of "$i")'")
		set -- $found
		say "  writer $i: ${told:-0} acknowledged, $1 there; $(wc -l < "$STAGE/told/writer.$i.errors") lines of errors"
		if [ "$1" != "$2" ] || [ "$1" != "$3" ] || [ "$4" != 0 ] || [ "$1" -lt "${told:-0}" ] || [ "$1" -gt "$((${told:-0} + 1))" ]; then
			fault "writer $i was told $told, and $found are there (rows, ids, last, wrong)"
		fi
	done
	left=$(as_owner psql -XAtqc "CREATE TEMP TABLE told (account_id text)" -c "\\copy told FROM '$STAGE/told/forgotten'" \
		-c "SELECT count(*) FROM told JOIN memory.messages USING (account_id)")
	[ "$left" = 0 ] || fault "$left messages of accounts that were forgotten"
	problems=$(as_owner psql -XAtqc 'SELECT * FROM memory.verify()' -c 'SELECT * FROM memory.usage_drift')
	[ -z "$problems" ] || fault "verify() and usage_drift: $problems"
	say "  $(grep -c . "$STAGE/told/forgotten") accounts forgotten, $kills times killed"
	if grep -hE 'XX000|PANIC|TRAP|internal error' "$STAGE/main.log" "$STAGE"/told/*.errors | head -n 5 | grep .; then
		fault "errors that should not be"
	fi
}
