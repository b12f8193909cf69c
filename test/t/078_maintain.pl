# What maintain() reads is in proportion to what has changed since the last time, not to what is stored.
# Rows are counted, no time is.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('maintain');
# training looks at a sample of the conversations' pages, which of few is all
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
memory_ext.auto_dictionary = off
memory_ext.compact_after = 0
memory_ext.seal_after = 0
memory_ext.segment_messages = 4
CONF
$node->start;

sub make_store
{
	my ($database, $conversations) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, <<"SQL");
CREATE EXTENSION memory_ext;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || n % 50, md5(n::text)::uuid, 'user', 'message ' || i || ' of ' || n || ' about the weather in Tallinn', '2020-01-01Z'
	FROM generate_series(1, $conversations) n, generate_series(1, 4) i;
-- rows of the store that this session has read
CREATE FUNCTION rows_read() RETURNS bigint LANGUAGE sql AS \$\$
	WITH t AS (SELECT oid FROM pg_class WHERE relnamespace = 'memory_store'::regnamespace AND relkind = 'r')
	SELECT sum(pg_stat_get_xact_tuples_returned(a.oid) + pg_stat_get_xact_tuples_fetched(a.oid))::bigint
	FROM (SELECT oid FROM t UNION SELECT indexrelid FROM pg_index JOIN t ON indrelid = t.oid) a \$\$;
CREATE TABLE result (rows bigint NOT NULL);
CREATE PROCEDURE measure(statement text) LANGUAGE plpgsql AS \$\$
DECLARE
	before bigint := rows_read();
BEGIN
	EXECUTE statement;
	INSERT INTO result VALUES (rows_read() - before);
END \$\$;
CREATE PROCEDURE maintain() LANGUAGE plpgsql AS \$\$
DECLARE
	before bigint := rows_read();
BEGIN
	CALL memory.maintain();
	INSERT INTO result VALUES (rows_read() - before);
END \$\$;
SQL
	return;
}

# The rows that a step reads, in each store.
sub measured
{
	my ($call) = @_;
	my %rows;

	for my $database ('small', 'large')
	{
		$node->safe_psql($database, "TRUNCATE result; CALL $call");
		$rows{$database} = $node->safe_psql($database, 'SELECT rows FROM result');
	}
	note("$call: $rows{small} and $rows{large} rows");
	return %rows;
}

make_store('small', 500);
make_store('large', 5000);
my %rows = measured('maintain()');
cmp_ok($rows{large}, '>', 5 * $rows{small}, 'the first time everything is looked at');

%rows = measured('maintain()');
cmp_ok($rows{large}, '<', $rows{small} + 50, "nothing has changed ($rows{small} and $rows{large} rows)");

# 60 messages to 20 conversations
for my $database ('small', 'large')
{
	$node->safe_psql($database,
		"SELECT count(memory.append('account ' || n, md5(n::text)::uuid, 'user', 'one more of ' || i, created_at => '2020-01-01Z'))
			FROM generate_series(1, 20) n, generate_series(1, 3) i");
}
%rows = measured('maintain()');
cmp_ok($rows{large}, '<', 1.5 * $rows{small} + 50, "20 conversations have changed ($rows{small} and $rows{large} rows)");
is($node->safe_psql('large', 'SELECT count(*) FROM memory_store.segments WHERE compact IS NULL'), 0,
	'all segments of the conversations that have changed are compact');

# forgetting an account of ten conversations, in either store, and what is left to do then
for my $database ('small', 'large')
{
	$node->safe_psql($database,
		q{INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
			SELECT 'who leaves', md5('left ' || n)::uuid, 'user', 'x' || n, '2020-01-01Z' FROM generate_series(1, 10) n});
}
measured('maintain()');
%rows = measured(q{measure('SELECT memory.forget(''who leaves'')')});
cmp_ok($rows{large}, '<', $rows{small} + 50, "an account is forgotten ($rows{small} and $rows{large} rows)");

# another compression is wanted: everything is looked at, once; and again when it is taken back
for my $level (5, 7)
{
	$node->safe_psql($_, "ALTER DATABASE $_ SET memory_ext.compact_compression = 'zstd:$level'") for 'small', 'large';
	measured('maintain()');
	is($node->safe_psql('large', "SELECT string_agg(DISTINCT memory.compression(body), ', ') FROM memory_store.segments"), "zstd:$level",
		"all is compressed as zstd:$level");
	%rows = measured('maintain()');
	cmp_ok($rows{large}, '<', $rows{small} + 50, "where nothing has changed, no more rows are read ($rows{small} and $rows{large} rows)");
}

# what does not rest when everything is looked at is found when it does
$node->safe_psql('large', "SELECT memory.append('account 1', md5('1')::uuid, 'user', 'just now')");
$node->safe_psql('large', q{ALTER DATABASE large SET memory_ext.compact_compression = 'zstd:9'});
$node->safe_psql('large', q{SET memory_ext.compact_after = '1h'; CALL memory.maintain()});
cmp_ok($node->safe_psql('large', 'SELECT count(*) FROM memory_store.segments WHERE compact IS NULL'), '>', 0,
	'what does not rest has lost its mark');
$node->safe_psql('large', 'CALL memory.maintain()');
is($node->safe_psql('large', "SELECT string_agg(DISTINCT memory.compression(body), ', ') FROM memory_store.segments"), 'zstd:9',
	'a conversation that rests is compacted');
is($node->safe_psql('large', 'SELECT count(*) FROM memory_store.segments WHERE compact IS NULL'), 0,
	'the conversation\'s segments are marked as compact');

# a few batches with other settings, and no more: the next maintain() finds what they have left
$node->safe_psql('large',
	q{SET memory_ext.compact_compression = 'zstd:3'; SELECT segments
		FROM memory_store.compact_batch('00000000-0000-0000-0000-000000000000', '', 100)});
is($node->safe_psql('large',
	"SELECT string_agg(DISTINCT memory.compression(body), ', ' ORDER BY memory.compression(body)) FROM memory_store.segments"),
	'zstd:3, zstd:9', 'segments can be compressed in two ways at a time');
$node->safe_psql('large', 'CALL memory.maintain()');
is($node->safe_psql('large', "SELECT string_agg(DISTINCT memory.compression(body), ', ') FROM memory_store.segments"), 'zstd:9',
	'maintain() compresses all in one way again');

is(problems_of($node, $_), '', "the tables agree with each other: $_") for 'small', 'large';
# An empty store has nothing for any phase; training is measured by the pages of a table that has none.
$node->safe_psql('postgres', 'CREATE DATABASE empty');
is($node->safe_psql('empty', <<'SQL'), '', 'no phase fails in an empty store');
CREATE EXTENSION memory_ext;
SET memory_ext.auto_dictionary = on;
CALL memory.maintain();
SELECT phase, state FROM memory.maintenance WHERE state <> 'done';
SQL

$node->stop;
done_testing();
