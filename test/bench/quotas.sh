# shellcheck shell=bash
# Sourced by test/bench/run: what quotas cost, and how long a dashboard's views take.
#
# Plans cannot be switched off for one side of a database, so appends are measured in two databases
# with the same conversations.  In the tables' columns, "plain" is the side without.

# measure_quotas: appends with plans against none, asking, one hot subscription, the trigger.
measure_quotas()
{
	local clients round ours
	local scale=(-D conversations="$CONVERSATIONS" -D accounts="$ACCOUNTS")

	row quota1 tps ">=0.8" "append with plans against none, 1 client, $ACCOUNTS subscriptions [10]"
	row quota8 tps ">=0.8" "append with plans against none, 8 clients"
	row quotacpu tps "" "append with plans against none, 1 client, commits not waited for [8]"
	row quotahot tps "" "append, 8 clients, one subscription, against a bare UPDATE of one row [11]"
	row check ms "<=1.5" "check_quota against a SELECT by primary key"
	row trigger seconds "<=1.3" "INSERT of 20,000 rows with quota_trigger against no trigger [12]"

	make_conversations unlimited "$CONVERSATIONS" "$ACCOUNTS" off
	fresh_database limited
	run_psql limited -v accounts="$ACCOUNTS" -f "$BENCH/quotas.sql"
	run_psql limited -v conversations="$CONVERSATIONS" -v accounts="$ACCOUNTS" -v tails=off \
		-f "$BENCH/conversations.sql"

	for clients in 1 8; do
		quota_rounds "quota$clients" "$clients"
	done
	export PGOPTIONS="-c synchronous_commit=off"
	quota_rounds quotacpu 1
	unset PGOPTIONS

	warm_up limited check_memory "${scale[@]}"
	warm_up limited check_plain "${scale[@]}"
	for ((round = 1; round <= ROUNDS; round++)); do
		run_pgbench limited check_memory 1 "$round" "${scale[@]}"
		value check memory_ext "$latency"
		ours=$latency
		run_pgbench limited check_plain 1 "$round" "${scale[@]}"
		value check plain "$latency"
		progress "check $round/$ROUNDS: memory_ext $ours ms, plain $latency ms"
	done

	for ((round = 1; round <= ROUNDS; round++)); do
		run_psql limited -c '\timing on' -f "$BENCH/trigger.sql"
		mapfile -t seconds < <(sed -nE 's/^Time: ([0-9.]+) ms.*/\1/p' "$STAGE/out/psql" | tail -n 2 |
			awk '{ printf "%.6f\n", $1 / 1000 }')
		value trigger plain "${seconds[0]}"
		value trigger memory_ext "${seconds[1]}"
		progress "trigger $round/$ROUNDS: with ${seconds[1]} s, without ${seconds[0]} s"
	done

	run_psql limited -v accounts="$ACCOUNTS" -f "$BENCH/share.sql"
	warm_up limited append_memory "${scale[@]}"
	for ((round = 1; round <= ROUNDS; round++)); do
		run_pgbench limited append_memory 8 "$round" "${scale[@]}"
		value quotahot memory_ext "$tps" "$latency"
		ours=$tps
		run_pgbench limited update_plain 8 "$round"
		value quotahot plain "$tps" "$latency"
		progress "quotahot $round/$ROUNDS: memory_ext $ours/s, UPDATE $tps/s"
	done
	run_psql limited -c "DO \$\$ BEGIN ASSERT NOT EXISTS (SELECT FROM memory.usage_drift); END \$\$"
	as_owner dropdb limited
	as_owner dropdb unlimited
}

# quota_rounds KEY CLIENTS: the databases limited and unlimited in turns.
quota_rounds()
{
	local key=$1 clients=$2 round ours
	local scale=(-D conversations="$CONVERSATIONS" -D accounts="$ACCOUNTS")

	warm_up limited append_memory "${scale[@]}"
	warm_up unlimited append_memory "${scale[@]}"
	for ((round = 1; round <= ROUNDS; round++)); do
		run_pgbench limited append_memory "$clients" "$round" "${scale[@]}"
		value "$key" memory_ext "$tps" "$latency"
		ours=$tps
		run_pgbench unlimited append_memory "$clients" "$round" "${scale[@]}"
		value "$key" plain "$tps" "$latency"
		progress "$key $round/$ROUNDS: with plans $ours/s, without $tps/s"
	done
}

# measure_dashboard: each view for one account that was used on every day of a year, with three
# models, among ACCOUNTS_OF_DASHBOARD others.
measure_dashboard()
{
	local view column round script

	fresh_database dashboard
	run_psql dashboard -v accounts="$ACCOUNTS_OF_DASHBOARD" -f "$BENCH/dashboard.sql"
	progress "made the usage of $ACCOUNTS_OF_DASHBOARD accounts"
	for view in usage_daily usage_by_model usage_current cost_daily storage storage_daily quota_usage; do
		column=account_id
		[ "$view" != quota_usage ] || column=subscription_id
		row "view_$view" ms "value<10" "memory.$view of one account among $ACCOUNTS_OF_DASHBOARD [13]"
		script=dashboard_$view
		printf "SELECT * FROM memory.%s WHERE %s = 'account-1';\n" "$view" "$column" \
			> "$BENCH/$script.pgbench"
		warm_up dashboard "$script"
		for ((round = 1; round <= ROUNDS; round++)); do
			run_pgbench dashboard "$script" 1 "$round"
			value "view_$view" memory_ext "$latency"
			progress "$view $round/$ROUNDS: $latency ms"
		done
	done
	as_owner dropdb dashboard
}
