# Maintenance gives disk space back: what compaction has freed is filled from the end of the file, and
# a plain VACUUM makes it short; writers at the same time lose nothing, old snapshots see the same.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('settle');
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
SQL
my $digest = "SELECT count(*), md5(string_agg(m::text, E'\\n' ORDER BY conversation_id, seq)) FROM memory.messages m WHERE account_id <> 'b'";
my $messages = $node->safe_psql('postgres', $digest);
my $blocks = sub {
	return $node->safe_psql('postgres', q{SELECT (pg_relation_size('memory_store.segments')
		+ pg_relation_size(reltoastrelid)) / 8192 FROM pg_class WHERE oid = 'memory_store.segments'::regclass});
};
my $maintain = sub {
	my ($out, $err) = ('', '');
	$node->psql('postgres', 'CALL memory.maintain()', stdout => \$out, stderr => \$err, on_error_stop => 1);
	return $err;
};

my $loaded = $blocks->();
unlike($maintain->(), qr/into free space/, 'before a VACUUM nothing is known to be free');
my $compacted = $blocks->();
cmp_ok($compacted, '>=', $loaded, 'compaction by itself makes no file shorter');
$node->safe_psql('postgres', 'VACUUM memory_store.segments');

# an old snapshot, and writers, beside the move
my $old = $node->background_psql('postgres', on_error_stop => 1);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($old->query_safe($digest), $messages, 'a snapshot is taken');
my ($in, $out, $err) = ("SELECT memory.append('b', lpad((9000 + g % 50)::text, 32, '0')::uuid, 'user', 'x' || g) FROM generate_series(1, 2000) g;\n", '', '');
my $writer = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], \$in, \$out, \$err);
like($maintain->(), qr/moved \d+ segments into free space/, 'the end of the file is moved');
$writer->finish;
is($err, '', 'a writer beside it is not disturbed');
is($old->query_safe($digest), $messages, 'the old snapshot sees the same');
$old->query_safe('COMMIT');
$old->quit;
is($node->safe_psql('postgres', $digest), $messages, 'and so does a new one');

$node->safe_psql('postgres', 'VACUUM memory_store.segments');
my $settled = $blocks->();
cmp_ok($settled, '<', $compacted / 2, "VACUUM has shortened the file ($loaded, $compacted, $settled blocks)");
unlike($maintain->(), qr/into free space/, 'what is short is left alone');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.verify()'), '0', 'verify finds nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM memory.messages WHERE account_id = 'b'"), '2000', 'every message of the writer is there');

# who may, and what is refused
my ($status, $stdout, $stderr) = $node->psql('postgres', 'SELECT memory.settle_batch(5, 3)');
like($stderr, qr/there are no blocks 5 to 3/, 'blocks must be in order');
is($node->safe_psql('postgres', 'SELECT * FROM memory.settle_batch(1000000, 2000000)'), '||0', 'behind the end there is nothing');
($status, $stdout, $stderr) = $node->psql('postgres', "SET memory_ext.account = 'a'; SELECT memory.settle_batch(NULL, NULL)");
like($stderr, qr/confined/, 'not for a confined session');

done_testing();
