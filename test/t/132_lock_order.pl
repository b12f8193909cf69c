# Every two things that write, crosswise, on one account: one session does f and then g in a
# transaction, another does g and then f at the same time.  Whatever waits, nobody waits in a
# circle: locks are taken in one order, subscription, account, and what lies below, whichever
# function takes them.
#
# Each pair meets in several states: an account that is new or not, with plans or without, with a
# subscription that is still to be made, with one that is shared, and with the first plan made
# between the first step and the second.  A step is over when it has answered, or waits for a lock
# that the other session holds; no time decides.  dblink is the two sessions.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('lock_order');
$node->append_conf('postgresql.conf', <<'CONF');
deadlock_timeout = 10ms
fsync = off
autovacuum = off
log_min_messages = fatal
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE EXTENSION dblink;
CREATE TABLE own (account_id text, bytes bigint);
CREATE TRIGGER charge AFTER INSERT ON own REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('content_bytes', 'account_id', 'bytes');
CREATE FUNCTION c(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

-- what writes; %1$L is the account, %2$s a number of the session's own, %3$L the shared subscription
CREATE TABLE actions (name text PRIMARY KEY, sql text);
INSERT INTO actions VALUES
	('append', $$SELECT memory.append(%1$L, c(1), 'user', 'text')$$),
	('append with id', $$SELECT memory.append(%1$L, c(1), 'user', 'text', message_id => 'same')$$),
	('append to a new conversation', $$SELECT memory.append(%1$L, c(10 + %2$s), 'user', 'text')$$),
	('append an array', $$SELECT memory.append(%1$L, c(1),
		'[{"role": "user", "content": "x", "message_id": "m"}, {"role": "user", "content": "y"}]')$$),
	('create', $$SELECT memory.create_conversation(%1$L)$$),
	('upsert', $$SELECT memory.upsert_conversation(%1$L, c(1), 'title')$$),
	('update conversation', $$SELECT memory.update_conversation(%1$L, c(1), 'title %2$s')$$),
	('delete conversation', $$SELECT memory.delete_conversation(%1$L, c(2))$$),
	('edit', $$SELECT memory.edit_message(%1$L, c(1), 1, 'edited %2$s')$$),
	('delete message', $$SELECT memory.delete_message(%1$L, c(1), 2)$$),
	('insert messages', $$INSERT INTO memory.messages (account_id, conversation_id, role, content)
		VALUES (%1$L, c(1), 'user', 'a'), (%1$L, c(3), 'user', 'b')$$),
	('update messages', $$UPDATE memory.messages SET content = 'updated' WHERE account_id = %1$L$$),
	('delete messages', $$DELETE FROM memory.messages WHERE account_id = %1$L AND seq = 1$$),
	('insert conversations', $$INSERT INTO memory.conversations (account_id, conversation_id, title) VALUES (%1$L, c(20 + %2$s), 'title')$$),
	('update conversations', $$UPDATE memory.conversations SET title = 'updated %2$s' WHERE account_id = %1$L$$),
	('delete conversations', $$DELETE FROM memory.conversations WHERE account_id = %1$L$$),
	('import', $$SELECT count(*) FROM memory.import_document(%1$L, '{"id": "a", "messages": [{"role": "user", "content": "hi"}]}')$$),
	('seal', $$SELECT memory.seal(%1$L)$$),
	('push messages', $$SELECT memory.push(%1$L, 'messages', format('[{"newDocumentState": {"id": "p",
		"conversation_id": "%%s", "role": "user", "content": "x"}},
		{"newDocumentState": {"id": "q%2$s", "conversation_id": "%%s", "role": "user", "content": "x"}}]', c(1), c(30 + %2$s))::jsonb)$$),
	('push conversations', $$SELECT memory.push(%1$L, 'conversations', format('[{"newDocumentState": {"id": "%%s",
		"title": "pushed %2$s"}}]', c(1))::jsonb)$$),
	('forget', $$SELECT memory.forget(%1$L)$$),
	('set retention', $$SELECT memory.set_retention(%1$L, '1 day')$$),
	('record usage', $$SELECT memory.record_usage(%1$L, 'm', 1)$$),
	('record a request', $$SELECT memory.record_usage(%1$L, 'm', 1, request_id => 'r%2$s')$$),
	('enforce', $$SELECT memory.enforce_limit(%1$L, 'messages')$$),
	('reserve', $$SELECT memory.reserve_usage(%1$L, 'call %2$s', 1)$$),
	('settle', $$SELECT memory.settle_usage(%1$L, 'made before', 1)$$),
	('trigger', $$INSERT INTO own VALUES (%1$L, 1)$$),
	('subscribe', $$SELECT memory.subscribe(%1$L, 'p')$$),
	('set subscription', $$SELECT memory.set_subscription(%1$L, %3$L)$$),
	('recount', $$SELECT memory.recount(coalesce((SELECT a.subscription_id FROM memory_store.accounts a WHERE a.account_id = %1$L), %1$L))$$),
	('change plan', $$SELECT memory.change_plan(coalesce((SELECT a.subscription_id FROM memory_store.accounts a
		WHERE a.account_id = %1$L), %1$L), 'p')$$);

CREATE TABLE outcomes (state text, f text, g text, sqlstate text, message text);

-- Whether the session has answered or waits for a lock.
CREATE FUNCTION settled(session text, pid integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..100000 LOOP
		IF dblink_is_busy(session) = 0 THEN RETURN 'answered'; END IF;
		IF pg_blocking_pids(pid) <> '{}' THEN RETURN 'waits'; END IF;
		PERFORM pg_sleep(0.0002);
	END LOOP;
	RAISE EXCEPTION '% neither answers nor waits', session;
END $$;

-- The session's answer: its SQLSTATE; 00000 when all is well.
CREATE FUNCTION answer(session text, OUT state text, OUT said text) LANGUAGE plpgsql AS $$
BEGIN
	state := '00000';
	BEGIN
		PERFORM * FROM dblink_get_result(session) AS t (answer text);
	EXCEPTION WHEN OTHERS THEN
		state := SQLSTATE;
		said := SQLERRM;
	END;
	BEGIN
		PERFORM * FROM dblink_get_result(session) AS t (answer text);
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
END $$;

-- f, g in one session and g, f in the other, step by step.
CREATE FUNCTION cross_pair(state text, f text, g text, account text, shared text, plan_between boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	steps text[] := ARRAY[f, g, g, f];	-- of session 1: the first and the second; of session 2
	next integer[] := ARRAY[1, 1];
	ended boolean[] := ARRAY[false, false];
	waits boolean[] := ARRAY[false, false];
	pids integer[];
	found text;
	said record;
	turn integer := 1;
BEGIN
	SELECT array_agg(p ORDER BY n) INTO pids FROM generate_series(1, 2) n,
		dblink('s' || n, 'SELECT pg_backend_pid()') AS t (p integer);
	PERFORM dblink_exec('s1', 'BEGIN'), dblink_exec('s2', 'BEGIN');
	WHILE NOT (ended[1] AND ended[2]) LOOP
		IF NOT ended[turn] AND NOT waits[turn] THEN
			IF next[turn] > 2 THEN
				PERFORM dblink_exec('s' || turn, 'COMMIT');
				ended[turn] := true;
			ELSE
				PERFORM dblink_send_query('s' || turn, (SELECT format(a.sql, account, turn, shared) FROM actions a
					WHERE a.name = steps[2 * turn - 2 + next[turn]]));
				waits[turn] := true;
				next[turn] := next[turn] + 1;
			END IF;
		END IF;
		FOR n IN 1..2 LOOP
			CONTINUE WHEN NOT waits[n];
			found := settled('s' || n, pids[n]);
			CONTINUE WHEN found = 'waits';
			said := answer('s' || n);
			waits[n] := false;
			IF said.state <> '00000' THEN
				INSERT INTO outcomes VALUES (state, f, g, said.state, said.said);
				PERFORM dblink_exec('s' || n, 'ROLLBACK');
				ended[n] := true;
			END IF;
		END LOOP;
		IF plan_between AND next = ARRAY[2, 1] THEN
			PERFORM dblink_exec('s3', 'INSERT INTO memory.plans (plan_id, is_default) VALUES (''p'', true)');
		END IF;
		turn := 3 - turn;
		IF waits[turn] THEN turn := 3 - turn; END IF;
	END LOOP;
END $$;

CREATE PROCEDURE cross_all(state text, prepare text, plan_between boolean) LANGUAGE plpgsql AS $$
DECLARE
	pair record;
	number integer := 0;
BEGIN
	FOR pair IN SELECT f.name AS f, g.name AS g FROM actions f JOIN actions g ON f.name <= g.name ORDER BY 1, 2 LOOP
		number := number + 1;
		EXECUTE format(replace(prepare, '{}', 'account %1$s'), number);
		COMMIT;
		PERFORM cross_pair(state, pair.f, pair.g, 'account ' || number, 'team ' || number, plan_between);
		COMMIT;
	END LOOP;
	EXECUTE 'TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail, memory_store.tombstones,
		memory_store.subscriptions, memory_store.subscription_plans, memory_store.reservations, memory_store.retention, memory_store.usage_daily,
		memory_store.usage_calls, memory_store.usage_requests, memory_store.outside_usage, memory.plans, memory.plan_limits, own';
END $$;
SQL

my $existing = q[PERFORM memory.append('{}', c(n), 'user', 'message ' || i) FROM generate_series(1, 3) n, generate_series(1, 3) i;];
my $reserved = q[PERFORM memory.reserve_usage('{}', 'made before', 10);];
my $default = q[INSERT INTO memory.plans (plan_id, is_default) VALUES ('p', true) ON CONFLICT DO NOTHING;];
my $plan = q[INSERT INTO memory.plans (plan_id) VALUES ('p') ON CONFLICT DO NOTHING;];
my $no_plan = q[TRUNCATE memory.plans, memory_store.subscriptions, memory_store.subscription_plans;];

my %states = (
	'no plan' => [$existing],
	'new account, default plan' => [$default],
	'new account that was subscribed' => ["$plan PERFORM memory.subscribe('{}', 'p');"],
	'new account, plans but no default' => [$plan],
	'subscription' => ["$default $existing $reserved"],
	'shared subscription' => ["$default $existing PERFORM memory.append('{} b', c(1), 'user', 'x'),
		memory.set_subscription('{}', 'team %1\$s'), memory.set_subscription('{} b', 'team %1\$s'); $reserved"],
	'new account, the first plan between' => [ $no_plan, 1 ],
	'the first plan between' => [ "$no_plan $existing", 1 ],);

# steps that find nothing to work on, and transactions that are told to run again
my %usual = map { $_ => 1 } qw(P0002 22023 23505 40001 42704 55000);

for my $state (sort keys %states)
{
	my ($prepare, $between) = @{ $states{$state} };
	my $script = $prepare eq '' ? 'SELECT' : "DO \$do\$ BEGIN $prepare END \$do\$";
	my $quoted = $script =~ s/'/''/gr;
	my $flag = $between ? 'true' : 'false';
	$node->safe_psql('postgres', <<"SQL");
SELECT dblink_connect('s' || n, 'port=' || current_setting('port') || ' host=' || split_part(current_setting('unix_socket_directories'),
	',', 1)
	|| ' dbname=' || current_database()) FROM generate_series(1, 3) n;
CALL cross_all('$state', '$quoted', $flag);
SQL
	my $circles = $node->safe_psql('postgres',
		"SELECT f || ' / ' || g FROM outcomes WHERE state = '$state' AND sqlstate = '40P01' ORDER BY 1");
	is($circles, '', "$state: nobody waits in a circle");
	my @others = grep { !$usual{ (split /\|/)[0] } }
	  split /\n/, $node->safe_psql('postgres',
		"SELECT DISTINCT sqlstate, f, g, message FROM outcomes WHERE state = '$state' AND sqlstate <> '40P01'");
	is("@others", '', "$state: no other error than what is usual");
}
is(problems_of($node), '', 'the tables agree');
$node->stop;
done_testing();
