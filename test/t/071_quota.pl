# Limits under many clients: never one message too many, none too few, no
# deadlock, through rollbacks, savepoints and a crash; afterwards the counters
# are what the data says.  Then dump and restore.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $limit = 1000;

my $node = new_server('quota');
$node->append_conf('postgresql.conf', "max_connections = 100\ndeadlock_timeout = 100ms\n");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

# A database with a plan that allows so many messages, and what the tests call.
sub new_database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
	$node->safe_psql($name, <<"SQL");
CREATE EXTENSION memory_ext;
INSERT INTO memory.plans (plan_id) VALUES ('p');
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value)
	VALUES ('p', 'messages', 'lifetime', $limit), ('p', 'tokens', 'day', NULL);
CREATE FUNCTION conversation(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS \$\$ SELECT lpad(n::text, 32, '0')::uuid \$\$;
-- whether the message was admitted
CREATE FUNCTION attempt(account text, n integer) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM memory.append(account, conversation(n), 'user', 'a message');
	RETURN true;
EXCEPTION WHEN SQLSTATE 'MX001' THEN
	RETURN false;
END \$\$;
CREATE TABLE calls (account text, meter text);
-- Every subscription whose cumulative meters are not what its accounts have stored, and called for
-- outside; nothing was deleted or imported.  Levels are compared by memory.usage_drift.
CREATE VIEW drift AS
	SELECT s.*, u.messages, u.tokens FROM memory_store.subscriptions s
	LEFT JOIN (
		SELECT a.subscription_id AS id, sum(d.messages) AS messages, sum(d.tokens) AS tokens
		FROM memory_store.accounts a JOIN (
			SELECT account_id, message_count AS messages, token_count AS tokens FROM memory_store.conversations
			UNION ALL SELECT account, 0, 1 FROM calls
		) d USING (account_id) GROUP BY 1
	) u ON u.id = s.subscription_id
	CROSS JOIN LATERAL (SELECT COALESCE(u.messages, 0) AS m, COALESCE(u.tokens, 0) AS t) n
	WHERE (s.messages_hour, s.messages_day, s.messages_month, s.messages_lifetime) <> (n.m, n.m, n.m, n.m)
		OR (s.tokens_hour, s.tokens_day, s.tokens_month, s.tokens_lifetime) <> (n.t, n.t, n.t, n.t);
SQL
	return;
}

# All accounts of the subscription team, on the plan.
sub one_team
{
	my ($name, $accounts) = @_;

	$node->safe_psql($name,
		"SELECT memory.subscribe('team', 'p'); SELECT memory.set_subscription('account ' || i, 'team') FROM generate_series(1, $accounts) i");
	return;
}

sub pgbench
{
	my ($name, $database, $clients, $transactions, %scripts) = @_;
	my @files = map { my ($file) = /^(\w+)/; ('-f', write_file("$dir/$file.sql", $scripts{$_}) . (/(@\d+)$/ ? $1 : '')) } sort keys %scripts;

	my ($out,
		$err) = run_command([ 'pgbench', '-n', '-c', $clients, '-j', 4, '-t', $transactions, '-h', $node->host, '-p', $node->port, @files,
		$database ]);
	like($out, qr{actually processed: (\d+)/\1\b}, "$name: no client failed") or diag($err);
	return;
}

# A psql that goes on after errors.
sub start_psql
{
	my ($database, $name, @lines) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-f', write_file("$dir/$name.sql", @lines), $node->connstr($database) ],
		'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	return { out => \$out, err => \$err, run => $run };
}

# What is there when it is over.
sub check_counters
{
	my ($name, $database) = @_;

	is($node->safe_psql($database, 'SELECT * FROM drift'), '', "$name: the counters are what the data says");
	is(problems_of($node, $database), '', "$name: the tables agree with each other");
	is($node->safe_psql($database, 'SELECT * FROM memory.usage_drift'), '', "$name: usage has not drifted");
	return;
}

# --- exactly so many are admitted
for my $clients (16, 64)
{
	my $name = "$clients clients";
	my $database = "clients_$clients";

	new_database($database);
	one_team($database, 20);
	pgbench($name, $database, $clients, int(1600 / $clients), append => <<'SQL');
\set a random(1, 20)
SELECT attempt('account ' || :a, :a);
SQL
	is($node->safe_psql($database, 'SELECT count(*) FROM memory.messages'), $limit, "$name: exactly $limit are admitted");
	check_counters($name, $database);
}

# --- those that end in an error, without anything that catches it
new_database('plain');
one_team('plain', 20);
my @psqls = map {
	my $n = $_;
	start_psql('plain', "plain$n",
		map { my $a = 1 + ($n + $_) % 20; "SELECT memory.append('account $a', conversation($a), 'user', 'a message');\n" } 1 .. 100);
} 1 .. 16;
$_->{run}->finish for @psqls;
my $told = 0;
my $refused = 0;
my @others;
for my $psql (@psqls)
{
	$told += () = ${ $psql->{out} } =~ /^\d+$/mg;
	$refused += () = ${ $psql->{err} } =~ /ERROR:  quota exceeded for account "account \d+": 1 message requested, 0 of $limit left/g;
	push @others, grep { /ERROR/ && !/quota exceeded/ } split /\n/, ${ $psql->{err} };
}
is($told, $limit, "errors: $limit appends were acknowledged");
is($refused, 1600 - $limit, 'errors: all others were refused');
is("@others", '', 'errors: there was no other error');
check_counters('errors', 'plain');

# --- one in five is rolled back, others are in savepoints, some in a bulk statement
my %mixed = (
	'append@6' => <<'SQL',
\set a random(1, 20)
\set back random(1, 5)
BEGIN;
SELECT attempt('account ' || :a, :a);
\if :back = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
	'bulk@1' => <<'SQL',
\set a random(1, 20)
\set back random(1, 5)
BEGIN;
DO $$
DECLARE
	next bigint := random() * 1000000000000;
BEGIN
	INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
	SELECT 'account ' || i, conversation(i + 100), next + j, 'user', 'of a bulk' FROM generate_series(20, 1, -7) i, generate_series(1, 2) j;
EXCEPTION WHEN SQLSTATE 'MX001' OR unique_violation THEN NULL;
END $$;
\if :back = 1
ROLLBACK;
\else
COMMIT;
\endif
SQL
);
for my $clients (16, 64)
{
	my $name = "rollbacks of $clients clients";
	my $database = "rollbacks_$clients";
	new_database($database);
	one_team($database, 20);
	# after a refusal the transaction goes on from its savepoint
	@psqls = map {
		my $n = $_;
		start_psql($database, "savepoints$n", map {
			my ($a, $append) = (1 + ($n + $_) % 20);
			$append = "SELECT memory.append('account $a', conversation($a), 'user', 'a message');";
			"BEGIN; SAVEPOINT one; $append ROLLBACK TO one; $append\n", $_ % 3 ? "SAVEPOINT two; $append RELEASE two;\n" : "ROLLBACK TO one;\n",
			"SAVEPOINT three; $append ROLLBACK TO three; COMMIT;\n"
		} 1 .. 40);
	} 1 .. 8;
	pgbench($name, $database, $clients, int(1600 / $clients), %mixed);
	$_->{run}->finish for @psqls;
	is(join('',
		map { grep { /ERROR/ && !/quota exceeded|current transaction is aborted|savepoint "three" does not exist/ } split /^/,
		${ $_->{err} } } @psqls), '', "$name: no other error");
	cmp_ok($node->safe_psql($database, 'SELECT count(*) FROM memory.messages'), '<=', $limit, "$name: no more than $limit");
	check_counters($name, $database);
	pgbench("$name, to the end", $database, $clients, int(1280 / $clients), append => $mixed{'append@6'});
	is($node->safe_psql($database, 'SELECT count(*) FROM memory.messages'), $limit, "$name: none is lost");
}

# --- the server dies in the middle
new_database('crash');
one_team('crash', 20);
$limit = 4000;
$node->safe_psql('crash', "UPDATE memory.plan_limits SET limit_value = $limit WHERE meter = 'messages'");
my $script = write_file("$dir/crash.sql", "\\set a random(1, 20)\nSELECT attempt('account ' || :a, :a);\n");
my $crashing = IPC::Run::start([ 'pgbench', '-n', '-c', 16, '-j', 2, '-t', 1000, '-h', $node->host, '-p', $node->port, '-f', $script,
	'crash' ],
	'>', \my $crash_out, '2>', \my $crash_err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$node->poll_query_until('crash',
	"SELECT messages_lifetime > $limit / 10 FROM memory_store.subscriptions WHERE subscription_id = 'team'") or die;
$node->stop('immediate');
$crashing->finish;
$node->start;
my $there = $node->safe_psql('crash', 'SELECT count(*) FROM memory.messages');
cmp_ok($there, '>', $limit / 10, 'crash: what was committed is there');
cmp_ok($there, '<=', $limit, "crash: $there are no more than $limit");
check_counters('crash', 'crash');
pgbench('crash, and on', 'crash', 16, $limit / 16 + 10, append => "\\set a random(1, 20)\nSELECT attempt('account ' || :a, :a);\n");
is($node->safe_psql('crash', 'SELECT count(*) FROM memory.messages'), $limit, "crash: exactly $limit in the end");
check_counters('after the crash', 'crash');
$limit = 1000;

# --- ten subscriptions, touched crosswise; nobody waits in a circle
new_database('crosswise');
$node->safe_psql('crosswise', <<'SQL');
INSERT INTO memory.plans (plan_id, is_default) VALUES ('default', true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('default', 'messages', 'lifetime', 1000000);
UPDATE memory.plan_limits SET limit_value = 1000000 WHERE plan_id = 'p';
SELECT memory.subscribe('subscription ' || i, 'p') FROM generate_series(1, 10) i;
SELECT memory.set_subscription('account ' || i, 'subscription ' || 1 + i % 10) FROM generate_series(1, 30) i;
CREATE TRIGGER calls AFTER INSERT ON calls REFERENCING NEW TABLE AS new_rows
	FOR EACH STATEMENT EXECUTE FUNCTION memory.quota_trigger('tokens', 'account');
SQL
# COPYs of all accounts, in one order and in the other; the accounts 31 to 60 are new
for my $file (1, 2)
{
	my @rows = map { sprintf("account %d,%s,user,line %d of file %d\n", 1 + $_ % 60, sprintf('%032d', 1 + $_ % 60), $_, $file) } 0 .. 119;
	write_file("$dir/cross$file.csv", $file == 1 ? @rows : reverse @rows);
}
my %crosswise = (
	'append@12' => "\\set a random(1, 60)\nSELECT memory.append('account ' || :a, conversation(:a), 'user', 'appended');\n",
	'copy_up@2' => "COPY memory.messages (account_id, conversation_id, role, content) FROM '$dir/cross1.csv' (FORMAT csv);\n",
	'copy_down@2' => "COPY memory.messages (account_id, conversation_id, role, content) FROM '$dir/cross2.csv' (FORMAT csv);\n",
	# numbered in advance, so that only the end of the statement takes locks
	'insert@2' => <<'SQL',
\set n random(1000000, 1000000000000)
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
SELECT 'account ' || a, conversation(a + 100 * (1 + (random() * 1000000)::integer)), :n, 'user', 'inserted'
	FROM generate_series(60, 1, -1) a ORDER BY random();
SQL
	'conversations@2' => <<'SQL',
INSERT INTO memory.conversations (account_id, conversation_id, title)
SELECT 'account ' || a, gen_random_uuid(), 'empty' FROM generate_series(1, 60) a ORDER BY random();
SQL
	'trigger@3' => "INSERT INTO calls SELECT 'account ' || a, 'tokens' FROM generate_series(1, 30) a ORDER BY random();\n",
	'rolled_back@1' => "BEGIN;\nCOPY memory.messages (account_id, conversation_id, role, content)
		FROM '$dir/cross2.csv' (FORMAT csv);\nROLLBACK;\n",
	'hold@2' => <<'SQL',
\set a random(1, 30)
\set n random(1, 1000000000000)
SELECT memory.reserve_usage('account ' || :a, 'call ' || :n, 100);
SELECT memory.release_usage('account ' || :a, 'call ' || :n);
SQL
	'move@1' => <<'SQL',
\set a random(1, 30)
\set s random(1, 10)
DO $$
BEGIN
	PERFORM memory.set_subscription('wanderer', 'subscription ' || 1 + (random() * 9)::integer);
EXCEPTION WHEN serialization_failure THEN NULL; -- two at once
END $$;
SQL
	'wander@1' => <<'SQL',
DO $$
BEGIN
	PERFORM memory.append('wanderer', conversation(999), 'user', 'on the way');
EXCEPTION WHEN serialization_failure THEN NULL; -- it was moved meanwhile
END $$;
SQL
);
pgbench('crosswise', 'crosswise', 24, 40, %crosswise);
is($node->safe_psql('crosswise', "SELECT deadlocks FROM pg_stat_database WHERE datname = 'crosswise'"), '0', 'crosswise: no deadlock');
is($node->safe_psql('crosswise',
	"SELECT count(*) FROM memory_store.subscriptions s WHERE EXISTS (SELECT FROM memory_store.accounts
		WHERE account_id = s.subscription_id AND account_id = subscription_id AND account_id LIKE 'account %')"),
	'30', 'crosswise: the default plan made subscriptions');
is($node->safe_psql('crosswise',
	"SELECT count(*) FROM memory_store.subscriptions
		WHERE (reserved_messages, reserved_tokens, reserved_conversations, reserved_content_bytes) <> (0, 0, 0,
		0)"), '0', 'crosswise: nothing is held');
# what a wandering account used stays with whom it used it under: only the sum is compared
is($node->safe_psql('crosswise',
	'SELECT sum(messages_lifetime) = (SELECT count(*) FROM memory.messages), sum(tokens_lifetime) = (SELECT sum(tokens)
		FROM memory.messages) + (SELECT count(*) FROM calls) FROM memory_store.subscriptions'), 't|t',
	'crosswise: what was used is, in all, what there is');
is($node->safe_psql('crosswise', "SELECT * FROM drift WHERE subscription_id LIKE 'account %'"), '',
	'crosswise: each subscription that no account left has what the data says');
is(problems_of($node, 'crosswise'), '', 'crosswise: the tables agree with each other');
is($node->safe_psql('crosswise', 'SELECT * FROM memory.usage_drift'), '', 'crosswise: usage has not drifted');

# --- a large COPY that does not fit leaves nothing behind
new_database('copied');
$node->safe_psql('copied', "SELECT memory.subscribe('b', 'p')");
write_file("$dir/large.csv", map { sprintf("%s,%s,user,line %d\n", qw(a b c)[ $_ % 3 ], sprintf('%032d', $_ % 3), $_) } 1 .. 9000);
my (undef, undef, $error) = $node->psql('copied',
	"COPY memory.messages (account_id, conversation_id, role, content) FROM '$dir/large.csv' (FORMAT csv)");
like($error,
	qr/ERROR:  quota exceeded for account "b": 3000 messages requested, 1000 of 1000 left\nDETAIL:  \{.*"meter": "messages".*\}\n/,
	'copy: the error says which account and what');
is($node->safe_psql('copied',
	'SELECT (SELECT count(*) FROM memory_store.accounts), (SELECT count(*) FROM memory_store.conversations), (SELECT count(*)
		FROM memory_store.segments), (SELECT count(*) FROM memory_store.tail),
		(SELECT sum(messages_lifetime + tokens_lifetime + conversations + content_bytes) FROM memory_store.subscriptions)'),
	'0|0|0|0|0', 'copy: nothing is left behind');
$node->safe_psql('copied', "UPDATE memory.plan_limits SET limit_value = 3000 WHERE meter = 'messages'");
$node->safe_psql('copied', "COPY memory.messages (account_id, conversation_id, role, content) FROM '$dir/large.csv' (FORMAT csv)");
check_counters('copy', 'copied');

# --- dump and restore
$node->safe_psql('copied', <<'SQL');
DROP TABLE calls CASCADE; -- a dump of data only could not be restored
SELECT memory.load_example_plans();
UPDATE memory.plans SET is_default = true WHERE plan_id = 'free';
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value, enforcement, thresholds)
	VALUES ('p', 'tokens', 'month', 1000000, 'soft', '{0.5,NULL,0.9}');
SELECT memory.append('free', conversation(7), 'user', 'on the default plan');
SELECT memory.subscribe('shared', 'team', '2024-01-31 10:00+01', 'Europe/Berlin'), memory.set_subscription('c', 'shared');
SELECT memory.change_plan('shared', 'pro');
SELECT memory.reserve_usage('c', 'call', 500), memory.reserve_usage('c', 'done', 500), memory.settle_usage('c', 'done', 400);
SQL
my $digest = digest_of($node, 'copied');
like($digest,
	qr/^memory\.plan_limits:\ 13\ rows.*^memory_store\.outbox:\ [1-9]\d*\ rows.*^memory_store\.reservations:\ 2\ rows
		.*^memory_store\.subscription_plans:\ 3\ rows.*^memory_store\.subscriptions:\ 4\ rows/msx,
	 'dump: there is some of everything') or diag($digest);
my $usage = $node->safe_psql('copied',
	'SELECT * FROM memory.quota_usage ORDER BY 1, 2, 3, 4; SELECT * FROM memory.subscriptions ORDER BY 1');
for my $how (qw(plain custom data_only))
{
	my $file = "$dir/$how.dump";
	my $restored = "restored_$how";

	$node->command_ok([ 'pg_dump', ($how eq 'custom' ? '-Fc' : $how eq 'data_only' ? '--data-only' : ()), '-f', $file,
		$node->connstr('copied') ], "$how: pg_dump");
	$node->safe_psql('postgres', "CREATE DATABASE $restored TEMPLATE template0");
	$node->safe_psql($restored,
		"CREATE EXTENSION memory_ext; CREATE FUNCTION conversation(n integer) RETURNS uuid LANGUAGE sql AS \$\$
			SELECT lpad(n::text, 32, '0')::uuid \$\$") if $how eq 'data_only';
	$node->command_ok($how eq 'custom' ? [ 'pg_restore', '-j', 2, '--exit-on-error', '-d', $node->connstr($restored), $file ]
		: [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $file, $node->connstr($restored) ], "$how: restored");
	is(digest_of($node, $restored), $digest, "$how: the tables are the same");
	is($node->safe_psql($restored, 'SELECT * FROM memory.quota_usage ORDER BY 1, 2, 3, 4; SELECT * FROM memory.subscriptions ORDER BY 1'),
		$usage, "$how: the views are the same");
	like(($node->psql($restored, "SELECT memory.append('b', conversation(1), 'user', 'x')"))[2],
		qr/quota exceeded for account "b": 1 message requested, 0 of 3000 left/, "$how: limits are in force");
	is($node->safe_psql($restored,
		"SELECT memory.settle_usage('c', 'call', 500); SELECT memory.append('free', conversation(7), 'user', 'x');
			SELECT messages_lifetime,
			tokens_lifetime FROM memory_store.subscriptions WHERE subscription_id IN ('free', 'shared') ORDER BY subscription_id"),
		"\n2\n2|" . $node->safe_psql($restored,
			'SELECT sum(tokens) FROM memory.messages WHERE account_id = \'free\'') . "\n0|900", "$how: counting goes on where it was");
}

$node->stop;
done_testing();
