# What goes through the store by key, in batches, reads what lies behind the key and no more: a batch at
# the end of the walk costs as much as one at its beginning.  Blocks and rows are counted, no time is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use List::Util qw(sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conversations = 6000;

my $node = new_server('walks');
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.dictionary_min_accounts = 1
autovacuum = off
memory_ext.auto_dictionary = off
memory_ext.segment_messages = 4
memory_ext.compact_after = 0
memory_ext.seal_after = 0
memory_ext.usage_events = on
CONF
$node->start;

# conversations of four short messages, each with a segment
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION memory_ext;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || n % 500, md5(n::text)::uuid, 'user', 'message ' || i || ' of ' || n || ' about the weather in Tallinn', '2020-01-01Z'
	FROM generate_series(1, $conversations) n, generate_series(1, 4) i;
-- blocks of the store's tables, and of what belongs to them, that this session has read
CREATE FUNCTION blocks() RETURNS bigint LANGUAGE sql AS \$\$
	WITH t AS (SELECT oid, reltoastrelid FROM pg_class
		WHERE relnamespace = 'memory_store'::regnamespace AND relkind = 'r'),
		r AS (SELECT oid FROM t UNION SELECT reltoastrelid FROM t WHERE reltoastrelid <> 0)
	SELECT sum(pg_stat_get_xact_blocks_fetched(a.oid))::bigint
	FROM (SELECT oid FROM r UNION SELECT indexrelid FROM pg_index JOIN r ON indrelid = r.oid) a \$\$;
CREATE TABLE batches (n integer GENERATED ALWAYS AS IDENTITY, blocks bigint NOT NULL);
-- notes what each batch reads; it gets the key to go on behind and returns the next, NULL at the end
CREATE PROCEDURE walk(batch text, key text) LANGUAGE plpgsql AS \$\$
DECLARE
	before bigint;
BEGIN
	TRUNCATE batches RESTART IDENTITY;
	COMMIT;
	LOOP
		before := blocks();
		EXECUTE batch INTO key USING key;
		EXIT WHEN key IS NULL;
		INSERT INTO batches (blocks) VALUES (blocks() - before);
		COMMIT;
	END LOOP;
END \$\$;
SQL

# So many batches, of which the last ones read about as much as the first.
sub is_even
{
	my ($name, $expected, $batch, $key) = @_;

	$node->safe_psql('postgres', "CALL walk(\$batch\$$batch\$batch\$, '$key')");
	my @blocks = split /\n/, $node->safe_psql('postgres', 'SELECT blocks FROM batches ORDER BY n');
	is(scalar(@blocks), $expected, "$name: so many batches");
	# the very first one prepares statements, the very last one may be short
	my ($first, $last) = (sum(@blocks[ 1 .. 5 ]), sum(@blocks[ -6 .. -2 ]));
	cmp_ok($last, '<', 1.3 * $first + 20, "$name: the last batches read no more than the first ($first, $last blocks)");
	return;
}

# Of a step that returns keys of conversations; of one that returns how many it has done.
sub by_key
{
	my ($function, $rest) = @_;
	return "SELECT conversation_id || ' ' || account_id FROM memory_store.$function(left(\$1, 36)::uuid, substr(\$1, 38), $rest)";
}

sub by_count
{
	return "SELECT \$1 WHERE memory_store.$_[0]";
}

my $nil = '00000000-0000-0000-0000-000000000000 ';

# --- compaction, while the planner knows nothing of the tables and when it does; however they are joined
my $settings = sub { $node->safe_psql('postgres', "ALTER DATABASE postgres $_") for @_ };
is_even('compaction', $conversations / 50, by_key('compact_batch', '50, false'), $nil);
$node->safe_psql('postgres', 'VACUUM ANALYZE');
$settings->('SET enable_nestloop = off', 'SET enable_hashjoin = off', q{SET memory_ext.compact_compression = 'zstd:5'});
is_even('compaction by a merge join', $conversations / 50, by_key('compact_batch', '50, false'), $nil);
$settings->('RESET ALL');

# --- what a stale dictionary has compressed; forgetting one account makes it stale
$node->safe_psql('postgres', <<'SQL');
SET memory_ext.auto_dictionary = on;
SET memory_ext.dictionary_min_size = '1MB';
SET memory_ext.dictionary_min_gain = 0;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'other ' || n % 50, md5('other ' || n)::uuid, 'user',
		(SELECT string_agg((string_to_array('the index is scanned because planner expects few rows and statistics say '
			'otherwise vacuum should run before analyze table grows quickly', ' '))[1 + abs(hashint4(n * 1000 + i * 100 + k)) % 22], ' ')
			FROM generate_series(1, 30) k), '2020-01-01Z'
	FROM generate_series(1, 2000) n, generate_series(1, 4) i;
SELECT memory.forget('other 0');
SQL
is_even('stale dictionaries', 1960 / 20, by_key('compact_batch', '20, true'), $nil);

# --- idle tails, alone and among others, which are passed once and not by each batch
my $tails = sub {
	my ($from, $to, $when) = @_;
	$node->safe_psql('postgres',
		"SELECT count(memory.append('account ' || n % 500, md5(n::text)::uuid, 'user', 'one more of ' || n, created_at => $when))
			FROM generate_series($from, $to) n");
};
$tails->(1, 1000, q{'2020-01-01Z'});
is_even('idle tails', 50, by_key('seal_batch', 20), $nil);
$tails->(1, 2000, q{CASE WHEN n % 4 = 0 THEN '2020-01-01Z' ELSE now() END});
$settings->(q{SET memory_ext.seal_after = '1h'});
is_even('idle tails among others', 50, by_key('seal_batch', 10), $nil);

# --- calls, months, usage events: by account and by subscription
$node->safe_psql('postgres', <<'SQL');
SELECT count(memory.record_usage('account ' || n % 500, 'model', 10)) FROM generate_series(1, 5000) n;
INSERT INTO memory.plans (plan_id, is_default) VALUES ('basic', true);
INSERT INTO memory_store.subscriptions (subscription_id, plan_id, starts_at, time_zone, hour_start, hour_end, day_start, day_end,
	month_start, month_end)
	SELECT 'account ' || n, 'basic', d, 'UTC', d, d + interval '1 hour', d, d + interval '1 day', d, d + interval '1 month'
	FROM generate_series(0, 499) n, LATERAL (SELECT date_trunc('month', now()) - interval '1 month' AS d) m;
INSERT INTO memory_store.usage_reported VALUES ('2020-01-01', '');
INSERT INTO memory_store.usage_daily (account_id, day, model, messages)
	SELECT a.account_id, d::date, '', 1 FROM memory_store.accounts a, generate_series('2020-01-01'::timestamptz, '2020-02-20', '1 day') d
	ON CONFLICT DO NOTHING;
SQL
is_even('recorded calls', 25, by_count('roll_up_usage(20) > 0'), '');
is_even('months that have ended', 25, by_count('close_periods(20) > 0'), '');
is_even('usage events', 27, by_count('report_usage(20) = 20'), '');
my $usage = $node->safe_psql('postgres', q{SELECT pg_relation_size('memory_store.usage_daily') / 8192});
my $most = $node->safe_psql('postgres', 'SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY blocks) FROM batches');
cmp_ok($most, '<', $usage / 2 + 200, "usage events: a batch reads its accounts' days ($most of $usage blocks)");

# --- an export's batches: each row of a conversation is read so many times, however small the batches are
my $dir = PostgreSQL::Test::Utils::tempdir;
chmod 0777, $dir;
$settings->('SET enable_nestloop = off', 'SET enable_hashjoin = off');
my $rows_of_export = sub {
	my ($name, $batch_size, $arguments) = @_;
	my $reset = "SELECT pg_stat_reset_single_table_counters(c.oid) FROM pg_class c
		WHERE c.oid IN ('memory_store.conversations'::regclass, 'memory_store.segments'::regclass)";

	# whoever was here before reports what he has read when he ends
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'});
	$node->safe_psql('postgres', $reset);
	$node->safe_psql('postgres', "CALL memory.export_file('$dir/$name.$batch_size', $arguments, batch_size => $batch_size)");
	# a worker reports when it ends
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'memory_ext%')});
	return $node->safe_psql('postgres',
		q{SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables
			WHERE relid IN ('memory_store.conversations'::regclass, 'memory_store.segments'::regclass)});
};
for my $export ([ 'all', "format => 'native'" ], [ 'since', "since => '2000-01-01'" ], [ 'account', "account_id => 'account 7'" ])
{
	my ($name, $arguments) = @$export;
	my $large = $rows_of_export->($name, 100_000, $arguments);
	my $small = $rows_of_export->($name, $name eq 'account' ? 1 : 100, $arguments);
	cmp_ok($large, '>', 0, "export of $name: rows are counted");
	cmp_ok($small, '<', 1.5 * $large, "export of $name: small batches read no more rows than a large one ($small, $large)");
}

$settings->('RESET ALL');

# --- rows that are moved: each is found by its key
for my $part ('segments', 'conversations')
{
	my $blocks = $node->safe_psql('postgres', "SELECT pg_relation_size('memory_store.$part') / 8192");
	$node->safe_psql('postgres',
		"CALL walk(\$batch\$SELECT next_block::text FROM memory_store.reclaim_batch('$part', \$1::bigint, $blocks)\$batch\$, '0')");
	my $batches = $node->safe_psql('postgres', 'SELECT count(*) FROM batches');
	my $read = $node->safe_psql('postgres', 'SELECT sum(blocks) FROM batches');
	my $rows = $node->safe_psql('postgres', "SELECT count(*) FROM memory_store.$part");
	cmp_ok($batches, '>', 1, "blocks of $part: several batches");
	cmp_ok($read, '<', 40 * $rows, "blocks of $part: none is searched through for each row ($read blocks, $rows rows)");
}

is(problems_of($node), '', 'the tables agree with each other');
$node->stop;
done_testing();
