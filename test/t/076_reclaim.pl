# Maintenance gives disk space back: what compaction has freed is filled from the end of the files, and
# a plain VACUUM makes them short; writers at the same time lose nothing, old snapshots see the same.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('reclaim');
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
memory_ext.compact_after = 0
memory_ext.auto_dictionary = off
memory_ext.compression = 'none'
memory_ext.compact_compression = 'zstd:1'
CONF
$node->start;

# 1,000 conversations of one account, 200 of others: text that compresses well, 30 messages each
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT CASE WHEN n <= 1000 THEN 'a' ELSE 'account ' || n % 10 END, lpad(n::text, 32, '0')::uuid, 'user',
		repeat(md5(n::text), 2) || i, '2020-01-01Z'
	FROM generate_series(1, 1200) n, generate_series(1, 30) i;
-- 200 that are out of line before and after
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'large ' || n % 10, lpad((5000 + n)::text, 32, '0')::uuid, 'user',
		(SELECT string_agg(md5(n * 1000 + i || ' ' || k), '') FROM generate_series(1, 20) k) || repeat('x', 700), '2020-01-01Z'
	FROM generate_series(1, 200) n, generate_series(1, 20) i;
SQL
my $digest = "SELECT count(*), md5(string_agg(m::text, E'\\n' ORDER BY conversation_id, seq)) FROM memory.messages m
	WHERE account_id <> 'b'";
my $messages = $node->safe_psql('postgres', $digest);
my $blocks = sub {
	my ($table) = @_;
	return $node->safe_psql('postgres', qq{SELECT (pg_relation_size(oid) + pg_relation_size(reltoastrelid)) / 8192
		FROM pg_class WHERE oid = 'memory_store.$table'::regclass});
};
my $toast = sub {
	my ($database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT pg_relation_size(reltoastrelid) / 8192 FROM pg_class WHERE oid = 'memory_store.segments'::regclass");
};
my $indexes = sub {
	my ($table) = @_;
	return $node->safe_psql('postgres', "SELECT pg_indexes_size('memory_store.$table') / 8192");
};
my $maintain = sub {
	my ($database) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database // 'postgres', 'CALL memory.maintain()', stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $err;
};

# --- one maintain() and one VACUUM: segments
my $loaded = $blocks->('segments');
my $loaded_toast = $toast->();
like($maintain->(), qr/moved \d+ segments into free space/, 'what compaction has freed is filled at once');
my $compacted = $blocks->('segments');
$node->safe_psql('postgres', 'VACUUM memory_store.segments');
my $settled = $blocks->('segments');
cmp_ok($settled, '<', $loaded / 2, "VACUUM has shortened the file ($loaded, $compacted, $settled blocks)");
my $settled_toast = $toast->();
cmp_ok($settled_toast, '<', $loaded_toast * 0.7,
	"VACUUM has shortened the file of what is out of line ($loaded_toast, $settled_toast blocks)");
cmp_ok($settled_toast, '>', 0, 'some of it is out of line');
$node->safe_psql('postgres', 'VACUUM FULL memory_store.segments');
my $full = $blocks->('segments');
cmp_ok($settled, '<', $full * 1.1, "there is little that VACUUM FULL could do ($full blocks)");
is($node->safe_psql('postgres', $digest), $messages, 'all messages are there after VACUUM');
unlike($maintain->(), qr/into free space/, 'a file that is short is left alone');

# --- conversations, whose rows were all written twice, and their indexes
$node->safe_psql('postgres',
	"INSERT INTO memory.conversations (account_id, conversation_id, title)
		SELECT 'c', lpad((20000 + n)::text, 32, '0')::uuid, 'title ' || n FROM generate_series(1, 5000) n");
$node->safe_psql('postgres',
	"INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
		SELECT 'c', lpad((20000 + n)::text, 32, '0')::uuid, 'user', 'x' || n, '2020-01-01Z' FROM generate_series(1, 5000) n");
$messages = $node->safe_psql('postgres', $digest);
my ($twice, $index) = ($blocks->('conversations'), $indexes->('conversations'));
my $conversations = 'SELECT count(*), md5(string_agg(c::text, chr(10) ORDER BY conversation_id)) FROM memory.conversations c';
my $rows = $node->safe_psql('postgres', $conversations);
like($maintain->(), qr/moved \d+ conversations into free space/, 'conversations are moved, too');
$node->safe_psql('postgres', 'VACUUM memory_store.conversations');
cmp_ok($blocks->('conversations'), '<', $twice * 0.7, "VACUUM has shortened their file ($twice blocks)");
cmp_ok($indexes->('conversations'), '<', $index, "their indexes are smaller ($index blocks)");
is($node->safe_psql('postgres', $conversations), $rows, 'the tables are as they were');

# --- an old snapshot, and writers, beside the move: what is free was found by VACUUM
my $compact = <<'SQL';
DO $$
DECLARE
	b record := ('00000000-0000-0000-0000-000000000000'::uuid, ''::text, 0::bigint);
BEGIN
	LOOP
		b := memory_store.compact_batch(b.f1, b.f2);
		EXIT WHEN b.conversation_id IS NULL;
		b := (b.conversation_id, b.account_id, 0::bigint);
	END LOOP;
END $$;
SQL
$node->safe_psql('postgres', "SET memory_ext.compact_compression = 'none'; $compact");
$node->safe_psql('postgres', $compact);
$node->safe_psql('postgres', 'VACUUM memory_store.segments');
$loaded = $blocks->('segments');
my $old = $node->background_psql('postgres', on_error_stop => 1);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($old->query_safe($digest), $messages, 'a snapshot is taken');
my ($in, $out,
	$err) = ("SELECT memory.append('b', lpad((9000 + g % 50)::text, 32, '0')::uuid, 'user', 'x' || g) FROM generate_series(1, 2000) g;\n", '',
	'');
my $writer = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], \$in, \$out, \$err);
like($maintain->(), qr/moved \d+ segments into free space/, 'the end of the file is moved');
$writer->finish;
is($err, '', 'a writer beside it is not disturbed');
is($old->query_safe($digest), $messages, 'the old snapshot sees the same');
$old->query_safe('COMMIT');
$old->quit;
is($node->safe_psql('postgres', $digest), $messages, 'a new session reads the same messages');
$node->safe_psql('postgres', 'VACUUM memory_store.segments');
cmp_ok($blocks->('segments'), '<', $loaded / 2, "VACUUM has shortened the file ($loaded blocks)");
cmp_ok($toast->(), '<', $settled_toast * 1.3, 'VACUUM has shortened the file of what is out of line again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.verify()'), '0', 'verify finds nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory.messages WHERE account_id = 'b'"), '2000',
	'every message of the writer is there');

# --- few large values, scattered over the whole file: they move as a whole
$node->safe_psql('postgres', 'CREATE DATABASE scattered');
$node->safe_psql('scattered', <<'SQL');
CREATE EXTENSION memory_ext;
ALTER DATABASE scattered SET memory_ext.compact_compression = 'none';
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'small', lpad(n::text, 32, '0')::uuid, 'user', repeat('x', 4500) FROM generate_series(1, 600) n;
SELECT memory.seal();
DELETE FROM memory.conversations WHERE account_id = 'small' AND right(conversation_id::text, 1) IN ('3', '6', '9');
SQL
$node->safe_psql('scattered', 'VACUUM memory_store.segments');
$node->safe_psql('scattered', <<'SQL');
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'large', lpad((1000 + n)::text, 32, '0')::uuid, 'user', repeat('y', 90000) FROM generate_series(1, 12) n;
SELECT memory.seal();
SQL
$node->safe_psql('scattered', "DELETE FROM memory.conversations WHERE account_id = 'small'");
$node->safe_psql('scattered', 'VACUUM memory_store.segments');
my $file = $toast->('scattered');
$maintain->('scattered');
$node->safe_psql('scattered', 'VACUUM memory_store.segments');
my $live = $node->safe_psql('scattered',
	'SELECT ceil(sum(pg_column_size(body)) / 8192.0) FROM memory_store.segments WHERE memory_store.toast_value(body) IS NOT NULL');
cmp_ok($toast->('scattered'), '<', $live * 1.5, "the file has not much more than is in it ($file, then $live blocks)");
is($node->safe_psql('scattered', "SELECT count(*), min(length(content)) FROM memory.messages WHERE account_id = 'large'"), '12|90000',
	'all messages of the large account are there');

# --- a small database does not stay twice as large as it was
$node->safe_psql('postgres', 'CREATE DATABASE little');
$node->safe_psql('little', <<'SQL');
CREATE EXTENSION memory_ext;
ALTER DATABASE little SET memory_ext.compression = 'zstd:3';
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'a' || n % 10, lpad(n::text, 32, '0')::uuid, 'user', md5((n * 100 + i)::text), '2020-01-01Z'
		FROM generate_series(1, 300) n, generate_series(1, 12) i;
SQL
my $little = "SELECT pg_relation_size('memory_store.segments') / 8192";
my ($few) = $node->safe_psql('little', $little);
like($maintain->('little'), qr/compacted 300 segments\n.*moved \d+ segments into free space/s, 'a small file is settled, too');
$node->safe_psql('little', 'VACUUM memory_store.segments');
cmp_ok($node->safe_psql('little', $little), '<', $few * 1.2, "the file is as short as before ($few blocks)");
unlike($maintain->('little'), qr/into free space/, 'a second run moves nothing');
is($node->safe_psql('little', 'SELECT count(*) FROM memory.verify()'), '0', 'verify finds nothing in it');

# --- indexes are not waited for
$node->safe_psql('postgres',
	"CREATE TABLE before AS SELECT indexrelid, pg_relation_filenode(indexrelid) FROM pg_index
		WHERE indrelid = 'memory_store.segments'::regclass");
my $same = 'SELECT bool_and(pg_relation_filenode(indexrelid) = pg_relation_filenode) FROM before';
$old = $node->background_psql('postgres', on_error_stop => 1);
$old->query_safe("BEGIN; SELECT memory.append('b', lpad('9000', 32, '0')::uuid, 'user', 'open'),
	memory.seal('b', lpad('9000', 32, '0')::uuid)");
is($node->safe_psql('postgres', "SELECT memory_store.reclaim_end('segments')"), 'f', 'indexes are not waited for');
is($node->safe_psql('postgres', $same), 't', 'indexes are not made anew while somebody writes');
$old->query_safe('COMMIT');
$old->quit;
is($node->safe_psql('postgres', "SELECT memory_store.reclaim_end('segments')"), 't', 'the indexes are made anew');
is($node->safe_psql('postgres', $same), 'f', 'indexes are made anew when nobody writes');

# --- who may, and what is refused
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT memory_store.reclaim_batch('segments', 5, 3)");
like($stderr, qr/there are no blocks 5 to 3/, 'blocks must be in order');
($status, $stdout, $stderr) = $node->psql('postgres', "SELECT memory_store.reclaim_batch('segments', -1, 3)");
like($stderr, qr/there is no block -1/, 'numbers that are no blocks are refused');
for my $part ("'tail'", 'NULL')
{
	($status, $stdout, $stderr) = $node->psql('postgres', "SELECT memory_store.reclaim_begin($part)");
	like($stderr, qr/nothing can be moved in "/, "there is nothing to move in $part");
}
is($node->safe_psql('postgres', "SELECT * FROM memory_store.reclaim_batch('segments', 1000000, 2000000)"), '|0',
	'behind the end there is nothing');
for my $call ("reclaim_begin('segments')", "reclaim_batch('segments', 0, 1)", "reclaim_end('segments')")
{
	($status, $stdout, $stderr) = $node->psql('postgres', "SET memory_ext.account = 'a'; SELECT memory_store.$call");
	like($stderr, qr/confined/, "$call is refused in a confined session");
}

done_testing();
