# Dumps of a database whose segments are compacted and need a dictionary, with retention and
# protection: every form of a dump brings back the same messages, revisions, settings and dictionaries,
# and what was restored can be compacted, erased and protected as before.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('dump_dictionary');
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.dictionary_min_accounts = 1
memory_ext.compact_after = 0
memory_ext.compact_compression = 'zstd:9'
memory_ext.dictionary_min_size = '1MB'
CONF
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', 'CREATE DATABASE source TEMPLATE template0');
$node->safe_psql('source', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE FUNCTION public.say(n integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg((string_to_array('the index is scanned because planner expects few rows and statistics say otherwise'
		|| ' vacuum should run before analyze table grows quickly replication slot keeps segment until standby has read it', ' '))
		[1 + abs(hashint4(n * 31 + i)) % 30], ' ') FROM generate_series(1, 14) i $$;
CREATE FUNCTION public.c(a integer, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(to_char(a, 'FM0000') || to_char(n, 'FM0000'), 32, '0')::uuid $$;
INSERT INTO memory.messages (account_id, conversation_id, role, content, model, metadata, created_at)
	SELECT 'account ' || a, c(a, n), 'user', say(a * 10000 + n * 100 + i), 'model ' || i % 3, CASE
		WHEN i % 7 = 0 THEN '{"a": "\"\\ü"}'::jsonb END, '2020-01-01Z'
	FROM generate_series(10, 29) a, generate_series(1, 6) n, generate_series(1, 110) i;
-- a large one, which does without the dictionary; one that branches; and tombstones of both kinds
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account 10', c(10, 50), 'user', say(i), '2020-01-01Z' FROM generate_series(1, 4000) i;
SELECT memory.append('account 10', c(10, 1), 'assistant', 'another', parent_seq => 7), memory.delete_message('account 10', c(10, 2), 9),
	memory.delete_conversation('account 10', c(10, 3)),
	memory.edit_message('account 10', c(10, 4), 3, 'edited');
SELECT memory.set_retention(NULL, '100 years'), memory.set_retention('account 11', '200 years 3 days');
CALL memory.maintain();
-- the next dictionary has not replaced it everywhere yet; and a tail
UPDATE memory_store.dictionaries SET stale_at = '2020-01-01Z', is_current = false;
SELECT dictionary_id IS NOT NULL FROM memory.train_dictionary(2 * 1024 * 1024, min_gain => -100);
SELECT memory.append('account 12', c(12, 1), 'user', say(i)) FROM generate_series(1, 70) i;
SELECT memory.protect();
SQL
is($node->safe_psql('source', <<'SQL'), 't|t|t|t|t|t|2', 'there is some of everything');
SELECT bool_or(memory.dictionary_id(body) IS NOT NULL
	AND memory.compression(body) LIKE 'zstd:9@%'), bool_or(memory.dictionary_id(body) IS NULL AND memory.raw_bytes(body) > 300000),
	count(DISTINCT memory.dictionary_id(body)) = 2, (SELECT count(*) > 0 FROM memory_store.tail), (SELECT count(*) > 0
		FROM memory_store.tombstones),
	(SELECT count(*) > 0 FROM memory_store.conversations WHERE branched), (SELECT count(*) FROM memory_store.dictionaries)
FROM memory_store.segments
SQL

# What is to come back besides the five tables and the views: settings, dictionaries and what is known of them.
sub settings_of
{
	my ($database) = @_;
	return join "\n", map { $node->safe_psql($database,
		"SELECT t::text FROM memory_store.$_ t ORDER BY t::text COLLATE \"C\"") } qw(retention dictionaries dictionary_accounts trainings);
}

my $digest = digest_of($node, 'source');
my $views = views_of($node, 'source');
my $settings = settings_of('source');
like($settings, qr/^\("account 11","200 years 3 days"\)$/m, 'the source has its settings');

sub check_restored
{
	my ($database) = @_;
	is(digest_of($node, $database), $digest, "$database: the tables are the same, revisions included");
	ok(views_of($node, $database) eq $views, "$database: so are the views");
	ok(settings_of($database) eq $settings, "$database: settings and dictionaries are the same");
	is($node->safe_psql($database, 'SELECT * FROM memory.verify()'), '', "$database: verify() finds nothing");
	return;
}

sub run_ok
{
	my ($name, @command) = @_;
	return $node->command_ok(\@command, $name);
}

sub create
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	return $node->connstr($database);
}
my @psql = qw(psql -X -q -v ON_ERROR_STOP=1);
my $source = $node->connstr('source');

run_ok('pg_dump', 'pg_dump', '-f', "$dir/plain.sql", $source);
run_ok('psql', @psql, '-f', "$dir/plain.sql", create('plain'));
check_restored('plain');

run_ok('pg_dump -Fc', 'pg_dump', '-Fc', '-f', "$dir/custom", $source);
run_ok('pg_restore -j 2', 'pg_restore', '--exit-on-error', '-j', 2, '-d', create('custom'), "$dir/custom");
check_restored('custom');

run_ok('pg_dump -Fd -j 2', 'pg_dump', '-Fd', '-j', 2, '-f', "$dir/directory", $source);
run_ok('pg_restore -j 2', 'pg_restore', '--exit-on-error', '-j', 2, '-d', create('directory'), "$dir/directory");
check_restored('directory');

run_ok('pg_dump --inserts', 'pg_dump', '--inserts', '--rows-per-insert=100', '-f', "$dir/inserts.sql", $source);
run_ok('psql', @psql, '-f', "$dir/inserts.sql", create('inserts'));
check_restored('inserts');

# the schema first, which has no rows, then the data
run_ok('pg_dump --schema-only', 'pg_dump', '--schema-only', '-f', "$dir/schema.sql", $source);
run_ok('psql', @psql, '-f', "$dir/schema.sql", create('parts'));
is($node->safe_psql('parts',
	'SELECT (SELECT count(*) FROM memory.messages), (SELECT count(*) FROM memory_store.dictionaries), (SELECT count(*)
		FROM memory_store.retention), (SELECT conversations FROM memory.protection)'),
	'0|0|0|0', 'the schema has no data');
run_ok('pg_dump --data-only', 'pg_dump', '--data-only', '-f', "$dir/data.sql", $source);
run_ok('psql', @psql, '-f', "$dir/data.sql", $node->connstr('parts'));
check_restored('parts');

# --- a restored database goes on
for my $database (qw(plain parts))
{
	like(($node->psql($database, 'DROP EXTENSION memory_ext'))[2], qr/cannot drop extension memory_ext because other objects depend on it/,
		"$database: DROP EXTENSION is refused");
	is($node->safe_psql($database, 'SELECT count(memory.dictionary_id(body)) FROM memory_store.segments'), '0',
		"$database: text has no dictionary");
	my ($status, $out, $err) = $node->psql($database, 'CALL memory.maintain()');
	like($err, qr/compacted \d+ segments\n.*dropped 1 dictionaries/s,
		"$database: segments are compacted with the current dictionary, and the stale one is dropped");
	is($node->safe_psql($database, 'SELECT count(*), bool_and(is_current), bool_and(segments > 100) FROM memory.dictionaries'), '1|t|t',
		"$database: all segments need the current dictionary");
	ok(views_of($node, $database) eq $views, "$database: the views are the same");
	is($node->safe_psql($database, "SELECT jsonb_array_length(memory.forget('account 15') -> 'stale_dictionaries')"), '1',
		"$database: forget() knows whose text a dictionary holds");
	is($node->safe_psql($database, 'SELECT * FROM memory.verify()'), '', "$database: all is well");
}

# --- what is protected goes when it is asked for
$node->safe_psql('plain', 'SELECT memory.unprotect(); DROP EXTENSION memory_ext');
is($node->safe_psql('plain', "SELECT to_regclass('memory_store.segments') IS NULL, to_regtype('memory.transcript') IS NULL"), 't|t',
	'what is no longer protected is dropped');
$node->safe_psql('parts', 'DROP EXTENSION memory_ext CASCADE');
is($node->safe_psql('parts', "SELECT to_regclass('memory.protection') IS NULL, to_regclass('memory_store.segments') IS NULL"), 't|t',
	'CASCADE takes all');

$node->stop;
done_testing();
