# A publication of all tables, as it is made to move a server elsewhere: writers, maintenance and erasure go
# on, and whoever decodes what they wrote is told what cannot be decoded.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('publication', allows_streaming => 'logical');
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.seal_after = 0
memory_ext.compact_after = 0
memory_ext.purge_after = 0
memory_ext.auto_dictionary = off
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT memory.load_example_plans();
SELECT memory.subscribe('acme', 'team');
SELECT pg_create_logical_replication_slot('decoding', 'test_decoding');
SQL

# --- every table is written to
$node->safe_psql('postgres', <<'SQL');
SET memory_ext.usage_events = on;
SELECT memory.append('acme', '00000000-0000-0000-0000-000000000001', 'user', 'appended ' || i) FROM generate_series(1, 70) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'acme', lpad(n::text, 32, '0')::uuid, 'user', 'bulk ' || n || ' ' || i FROM generate_series(1, 20) n, generate_series(1, 10) i;
UPDATE memory.messages SET content = 'edited' WHERE account_id = 'acme' AND seq = 2;
DELETE FROM memory.messages WHERE account_id = 'acme' AND seq = 3;
DELETE FROM memory.conversations WHERE conversation_id = '00000000-0000-0000-0000-000000000002';
SELECT memory.record_usage('acme', 'model', 1, 0, 1, request_id => 'r1'), memory.record_usage('globex', 'model', 1, 0, 1);
SELECT memory_store.report_usage(1), memory_store.report_usage(1);
SQL
for my $step ('CALL memory.maintain()', "SELECT memory.record_usage('acme', 'model', 1, 0, 1)", "SELECT memory.forget('acme')",
	"SELECT memory.forget('globex')", 'CALL memory.maintain()')
{
	my ($status, undef, $err) = $node->psql('postgres', $step);
	is($status, 0, $step) or diag($err);
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.verify()'), '0', 'verify() finds nothing');
is($node->safe_psql('postgres',
	"SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('memory'::regnamespace, 'memory_store'::regnamespace)
	AND relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)"),
	'', 'every table says which row is meant');
cmp_ok($node->safe_psql('postgres',
	"SELECT count(*) FROM pg_logical_slot_get_changes('decoding', NULL, NULL) WHERE data LIKE '%memory_store.segments%'"), '>', 20,
	'what was written can be decoded');

# --- with a dictionary
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION plant() RETURNS void LANGUAGE sql AS $$
	INSERT INTO memory_store.dictionaries
		SELECT ('x' || left(encode(sha256(bytes), 'hex'), 8))::bit(32)::bigint, clock_timestamp(), 1, 1, 2, 1, true, NULL, bytes
		FROM convert_to('the index is scanned because the planner expects few rows', 'UTF8') bytes
$$;
SELECT plant();
SELECT memory.append('initech', '00000000-0000-0000-0000-000000000003', 'user',
	'the index is scanned because the planner expects few rows, ' || i) FROM generate_series(1, 9) i;
SELECT memory.seal('initech');
SQL
is($node->safe_psql('postgres', 'SELECT count(memory.dictionary_id(body)) FROM memory_store.segments'), '1',
	'a segment needs a dictionary');
my ($status, undef, $err) = $node->psql('postgres', "SELECT count(*) FROM pg_logical_slot_get_changes('decoding', NULL, NULL)");
is($status, 3, 'decoding does not have what the dictionary holds, and fails');
like($err,
	qr/ERROR:\ \ logical\ decoding\ cannot\ read\ dictionary\ \d+,\ which\ a\ transcript\ needs
		\nHINT:\ \ Leave\ the\ tables\ of\ memory_store\ out\ of\ the\ publication/x,
	'the error of decoding says what to leave out');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory.messages WHERE account_id = 'initech'"), '9', 'nobody else is disturbed');

$node->stop;
done_testing();
