# Dictionaries in a running server: parallel workers and roles without rights read with them, prepared
# transactions keep them over a restart, a standby has them, maintenance can be cancelled and goes on
# where it was, and many writers, trainings, erasures and compactions at once lose nothing.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('dictionary', allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.dictionary_min_accounts = 1
max_prepared_transactions = 5
memory_ext.compact_after = 0
memory_ext.compact_compression = 'zstd:9'
CONF
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE FUNCTION say(n integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg((string_to_array('the index is scanned because planner expects few rows and statistics say otherwise'
		|| ' vacuum should run before analyze table grows quickly replication slot keeps segment until standby has read it', ' '))
		[1 + abs(hashint4(n * 31 + i)) % 30], ' ') FROM generate_series(1, 14) i $$;
CREATE FUNCTION c(a integer, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(to_char(a, 'FM0000') || to_char(n, 'FM0000'), 32, '0')::uuid $$;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || a, c(a, n), 'user', say(a * 10000 + n * 100 + i), '2020-01-01Z'
	FROM generate_series(10, 29) a, generate_series(1, 11) n, generate_series(1, 64) i;
SQL
my $digest = "SELECT count(*), md5(string_agg(m::text, E'\\n' ORDER BY conversation_id, seq)) FROM memory.messages m
	WHERE account_id LIKE 'account %'";
my $messages = $node->safe_psql('postgres', $digest);

# --- trained, compacted
is($node->safe_psql('postgres', 'SELECT dictionary_id IS NOT NULL, accounts FROM memory.train_dictionary(2 * 1024 * 1024)'), 't|20',
	'a dictionary is trained');
$node->safe_psql('postgres', 'CALL memory.maintain()');
is($node->safe_psql('postgres', 'SELECT count(*), count(memory.dictionary_id(body)) FROM memory_store.segments'), '220|220',
	'all segments need the dictionary');
is($node->safe_psql('postgres', $digest), $messages, 'a new session reads with it');

is($node->safe_psql('postgres', <<'SQL'), "14080\n1", 'a session looks up the dictionary once');
SET max_parallel_workers_per_gather = 0;
BEGIN;
SELECT count(content) FROM memory.messages;
SELECT seq_scan + idx_scan FROM pg_stat_xact_all_tables WHERE relid = 'memory_store.dictionaries'::regclass;
COMMIT;
SQL

# --- parallel workers: the leader leaves all rows to them, and nobody has read the dictionary before
my $parallel = <<'SQL';
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
SET max_parallel_workers_per_gather = 2;
ALTER TABLE memory_store.segments SET (parallel_workers = 2);
SQL
my $unpacked = 'SELECT count(*), sum(length(m.content)), sum(hashtext(m.content)) FROM memory_store.segments s, memory.unpack(s.body) m';
like($node->safe_psql('postgres', "$parallel EXPLAIN (COSTS off) $unpacked"), qr/Gather.*Function Scan on unpack m/s,
	'unpack() has a parallel plan');
like($node->safe_psql('postgres', "$parallel EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) $unpacked"),
	qr/Workers Launched: [12]\b/, 'workers run the parallel plan');
is($node->safe_psql('postgres', "$parallel $unpacked"), $node->safe_psql('postgres', "SET max_parallel_workers_per_gather = 0; $unpacked"),
	'the parallel plan gives the same as a serial one');
like($node->safe_psql('postgres', "$parallel EXPLAIN (COSTS off) SELECT count(*) FROM memory.messages"), qr/Gather/,
	'the relation has a parallel plan');
is($node->safe_psql('postgres', "$parallel SELECT count(*), sum(length(content)), sum(hashtext(content)) FROM memory.messages"),
	$node->safe_psql('postgres', $unpacked), 'the relation\'s parallel plan gives the same messages');
# one that is not there, found by a worker
$node->safe_psql('postgres', <<'SQL');
CREATE CAST (bytea AS memory.transcript) WITHOUT FUNCTION;
CREATE CAST (memory.transcript AS bytea) WITHOUT FUNCTION;
CREATE TABLE lost AS SELECT overlay(body::bytea PLACING '\x4d000000' FROM 9)::memory.transcript AS body FROM memory_store.segments;
DROP CAST (bytea AS memory.transcript);
DROP CAST (memory.transcript AS bytea);
SQL
my ($status, $out, $err) = $node->psql('postgres',
	"\\set VERBOSITY verbose\n$parallel SELECT count(*) FROM lost s, memory.unpack(s.body) m");
like($err, qr/ERROR:  XX001: transcript needs dictionary 77, which is not in this database\nHINT:.*\nCONTEXT:  .*parallel worker/s,
	'a worker names the dictionary that is missing');
$node->safe_psql('postgres', 'DROP TABLE lost');

# --- a role that may read, and no more
$node->safe_psql('postgres', "CREATE ROLE reading LOGIN; SELECT memory.grant_access('reading', 'reader')");
is($node->safe_psql('postgres', "SET ROLE reading; $digest"), $messages, 'a reader has no right on the table, and reads');
is($node->safe_psql('postgres',
	"SET max_parallel_workers_per_gather = 2; $parallel SET ROLE reading; SELECT count(*) FROM memory.messages"), '14080',
	'a reader without a right on the table reads in parallel, too');
($status, $out, $err) = $node->psql('postgres',
	'SET ROLE reading; SELECT count(*) FROM memory.messages; SELECT body FROM memory_store.dictionaries');
like($out . $err, qr/^14080\n?.*permission denied for (schema|table)/s,
	'the dictionary itself is not for readers, not even after it was used');

# --- prepared transactions
$node->safe_psql('postgres', <<'SQL');
SELECT memory.append('two', c(50, n), 'user', say(n)) FROM generate_series(1, 3) n;
BEGIN;
SELECT memory.seal('two');
PREPARE TRANSACTION 'seal';
SELECT memory.append('three', c(51, 1), 'user', say(i), created_at => '2020-01-01Z') FROM generate_series(1, 3) i;
SET memory_ext.use_dictionary = off;
SELECT memory.seal('three');
SET memory_ext.use_dictionary = on;
BEGIN;
SELECT segments FROM memory_store.compact_batch(c(51, 0), '');
PREPARE TRANSACTION 'compact';
SELECT memory.forget('account 10');
SQL
is($node->safe_psql('postgres', 'SELECT is_current, stale_at IS NOT NULL FROM memory.dictionaries'), 'f|t', 'the dictionary is stale');
sub drop_waits
{
	my ($name) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = '200ms'; SELECT memory_store.drop_dictionaries()");
	like($err, qr/canceling statement due to lock timeout/, $name);
	return;
}
drop_waits('who drops a dictionary waits for prepared transactions');
$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '2', 'prepared transactions outlive a restart');
drop_waits('and keep it over that');
$node->safe_psql('postgres', "COMMIT PREPARED 'seal'");
drop_waits('each of them');
$node->safe_psql('postgres', "COMMIT PREPARED 'compact'");
is($node->safe_psql('postgres', 'SELECT memory_store.drop_dictionaries()'), '0',
	'after COMMIT PREPARED the dictionary is seen to be needed');
is($node->safe_psql('postgres',
	"SELECT count(*), count(DISTINCT memory.dictionary_id(body)), count(memory.dictionary_id(body)) FROM memory_store.segments
		WHERE account_id IN ('two', 'three')"),
	'4|1|4', 'what the prepared transactions wrote needs the dictionary');
is($node->safe_psql('postgres',
	"SELECT string_agg(content, '+' ORDER BY conversation_id, seq) FROM memory.messages WHERE account_id IN ('two', 'three')"),
	$node->safe_psql('postgres',
		"SELECT string_agg(say(i), '+' ORDER BY n, i) FROM (SELECT 50, i FROM generate_series(1, 3) i UNION ALL SELECT 51, i
			FROM generate_series(1, 3) i) x (n, i)"),
	'the messages of the prepared transactions are there');
$node->safe_psql('postgres', 'CALL memory.maintain()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory_store.dictionaries'), '0', 'maintain() drops it when nobody needs it');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'all is well');
$messages = $node->safe_psql('postgres', $digest);
is($messages =~ s/\|.*//r, 19 * 11 * 64, 'the other accounts\' messages are there');

# --- a maintenance that is cancelled has done its batches, and the next one does the rest
is($node->safe_psql('postgres', 'SELECT dictionary_id IS NOT NULL FROM memory.train_dictionary(2 * 1024 * 1024)'), 't',
	'another dictionary is trained');
my $compacted = 'SELECT count(memory.dictionary_id(body)) FROM memory_store.segments';
# somebody holds the account whose conversations come from the 45th on
$node->safe_psql('postgres', "BEGIN; SELECT memory.append('account 15', c(15, 99), 'user', 'x'); PREPARE TRANSACTION 'holder'");
my ($in, $maintain_err) = ('', '');
my $maintain = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SET application_name = \'maintain\'', '-c', 'CALL memory.maintain()' ],
	'<', \$in, '>', \my $maintain_out, '2>', \$maintain_err);
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'maintain' AND wait_event_type = 'Lock'")
  or die 'maintain() does not wait';
my $done = $node->safe_psql('postgres', $compacted);
cmp_ok($done, '>', 0, 'batches before the one that waits are committed');
cmp_ok($done, '<', 19 * 11, 'the others are yet to come');
is($node->safe_psql('postgres', $digest), $messages, 'everything can be read meanwhile');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'maintain'");
$maintain->finish;
like($maintain_err, qr/ERROR:  canceling statement due to user request/, 'the maintenance is cancelled');
is($node->safe_psql('postgres', $compacted), $done, 'what was committed before the cancellation stays');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'all is well');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'holder'");
($status, $out, $err) = $node->psql('postgres', 'CALL memory.maintain()');
like($err, qr/INFO:  compacted (\d+) segments/, 'another maintenance compacts more');
is($err =~ /compacted (\d+) segments/ ? $1 + $done : 'nothing', $node->safe_psql('postgres', $compacted),
	'another maintenance goes on where the first was');
is($node->safe_psql('postgres', $digest), $messages, 'no message has changed');

# --- a standby
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('dictionary_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', "SELECT memory.append('account 11', c(11, 2), 'user', 'after the backup')");
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $digest), $node->safe_psql('postgres', $digest), 'a standby reads what needs a dictionary');
is($standby->safe_psql('postgres',
	"SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
		SET min_parallel_table_scan_size = 0; SET parallel_leader_participation = off; $unpacked"),
	$node->safe_psql('postgres', $unpacked), 'a standby reads what needs a dictionary, also in parallel');
is($standby->safe_psql('postgres', <<'SQL'), 't', 'a standby compresses with the dictionary');
SELECT memory.compression(memory.recompress(body, 'zstd:3@' || memory.dictionary_id(body))) = 'zstd:3@' || memory.dictionary_id(body)
	FROM memory_store.segments LIMIT 1
SQL
is($standby->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing on the standby');
# another one takes its place there as well
$node->safe_psql('postgres', "SELECT memory.forget('account 12')");
$node->safe_psql('postgres', "SET memory_ext.dictionary_min_size = '1MB'; CALL memory.maintain()");
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT is_current, segments > 0 FROM memory.dictionaries'), 't|t', 'the next dictionary arrives');
is($standby->safe_psql('postgres', $digest), $node->safe_psql('postgres', $digest), 'what needs the next dictionary arrives with it');
$standby->stop;

# --- all at once
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE acknowledged (conversation_id uuid, seq bigint, content text);
CREATE SEQUENCE trainings;
-- a dictionary of the text of an account that is there for this, as training makes one
CREATE PROCEDURE plant() LANGUAGE plpgsql AS $$
DECLARE
	n bigint := nextval('trainings');
	bytes bytea := convert_to('dictionary ' || n || (SELECT string_agg(say(i), ' ') FROM generate_series(1, 40) i), 'UTF8');
BEGIN
	PERFORM memory.append('trained ' || n, c(9000, n::integer), 'user', 'x');
	COMMIT;
	-- training takes this lock as well, in its way
	LOCK TABLE memory_store.dictionaries IN SHARE ROW EXCLUSIVE MODE;
	UPDATE memory_store.dictionaries SET is_current = false WHERE is_current;
	INSERT INTO memory_store.dictionaries
		VALUES (('x' || left(encode(sha256(bytes), 'hex'), 8))::bit(32)::bigint, clock_timestamp(), 1, 1, 2, 1, true, NULL, bytes);
	INSERT INTO memory_store.dictionary_accounts SELECT dictionary_id, 'trained ' || n FROM memory_store.dictionaries WHERE is_current;
	COMMIT;
	PERFORM pg_sleep(0.02);
	PERFORM memory.forget('trained ' || n);
END $$;
SQL
my %scripts = (
	'append@60' => <<'SQL',
\set c random(1, 8)
BEGIN;
SET LOCAL memory_ext.segment_messages = 4;
INSERT INTO acknowledged SELECT c(60, :c), memory.append('busy ' || :c % 3, c(60, :c), 'user', say(:c) || ' ' || :client_id),
	say(:c) || ' ' || :client_id;
COMMIT;
SQL
	'bulk@10' => <<'SQL',
\set c random(1, 8)
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL memory_ext.segment_messages = 4;
WITH new AS (INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'busy ' || :c % 3, c(60, :c), 'user', say(i) FROM generate_series(1, 6) i RETURNING conversation_id, seq, content)
INSERT INTO acknowledged SELECT * FROM new;
COMMIT;
SQL
	'edit@10' => <<'SQL',
\set c random(1, 8)
\set s random(1, 40)
UPDATE memory.messages SET model = 'm' WHERE account_id = 'busy ' || :c % 3 AND conversation_id = c(60, :c) AND seq = :s;
SQL
	'read@10' => "\\set c random(1, 8)\nSELECT count(content) FROM memory.messages WHERE conversation_id = c(60, :c);\n",
	'plant@6' => "CALL plant();\n",
	'maintain@6' => "CALL memory.maintain();\n",
);
my @files = map {
	my ($name, $weight) = split /@/;
	('-f', write_file("$dir/$name.sql", $scripts{$_}) . "\@$weight");
} sort keys %scripts;
my $offset = -s $node->logfile;
$node->command_checks_all(
	[ 'pgbench', '-n', '-c', 6, '-j', 2, '-t', 120, '--random-seed=1', '--max-tries=1000', @files, $node->connstr('postgres') ],
	0, [qr{transactions actually processed: 720/}], [qr{^}], 'all clients reach their end');
my $log = slurp_file($node->logfile, $offset);
unlike($log, qr/ERROR:  (?!could not serialize access)/, 'the clients had no error but those that are tried again');
is($node->safe_psql('postgres', <<'SQL'), '0|t', 'no acknowledged message is lost');
SELECT count(*) FILTER (WHERE m.content IS DISTINCT FROM a.content), count(*) > 300 FROM acknowledged a LEFT
	JOIN memory.messages m USING (conversation_id, seq)
SQL
is($node->safe_psql('postgres',
	"SELECT count(*) - (SELECT count(*) FROM acknowledged) FROM memory.messages WHERE account_id LIKE 'busy %'"), '0',
	'no message is there that was not acknowledged');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing');
is(problems_of($node), '', 'the check by hand finds nothing');
is($node->safe_psql('postgres', 'SELECT * FROM memory.usage_drift'), '', 'usage has not drifted');
$node->safe_psql('postgres', 'CALL memory.maintain()');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory_store.dictionaries WHERE stale_at IS NOT NULL"), '0',
	'all dictionaries that were stale are dropped in the end');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'no dictionary that is needed is missing');
cmp_ok($node->safe_psql('postgres', "SELECT last_value FROM trainings"), '>', 10, 'there were many dictionaries');

$node->stop;
done_testing();
