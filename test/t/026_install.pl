# Installation into a database where a role that may create schemas has been busy before: the extension
# makes its own schemas, takes no other, and takes them along when it is dropped.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('install');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');

# A database where mallory may create schemas, and has run some statements.
sub database_of_mallory
{
	my ($name, $sql) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0; GRANT CREATE ON DATABASE $name TO mallory");
	$node->safe_psql($name, $sql, extra_params => [ '-U', 'mallory' ]);
	return $name;
}

# What the statement says, as a superuser, or as the given role.
sub says
{
	my ($database, $sql, $role) = @_;

	return ($node->psql($database, "\\set VERBOSITY verbose\n$sql", $role ? (extra_params => [ '-U', $role ]) : ()))[2];
}

my $trap = 'CREATE FUNCTION memory.grant_access(role text, level text) RETURNS void LANGUAGE plpgsql
	AS $$ BEGIN ALTER ROLE mallory SUPERUSER; END $$';

# --- a schema that is there already
for my $schema (qw(memory memory_store))
{
	my $database = database_of_mallory("made_$schema", "CREATE SCHEMA $schema; " . ($schema eq 'memory' ? $trap : ''));

	like(says($database, 'CREATE EXTENSION memory_ext'),
		qr/ERROR:  42P06: schema "$schema" already exists\nDETAIL:  memory_ext makes its schemas .*\nHINT:  See what is in it/,
		"a schema $schema that is there is refused");
	is($node->safe_psql($database, "SELECT count(*) FROM pg_extension WHERE extname = 'memory_ext'"), '0',
		'nothing is installed where a schema is there');
	like(says($database, 'CREATE EXTENSION memory_ext SCHEMA memory'), qr/ERROR: /, 'a schema that the statement names is refused, too');
	$node->safe_psql($database, "ALTER SCHEMA $schema RENAME TO was_mallorys");
	is(says($database, 'CREATE EXTENSION memory_ext'), '', 'out of the way, it is none');
	is($node->safe_psql($database,
		"SELECT string_agg(nspowner::regrole::text, ' ') FROM pg_namespace WHERE nspname IN ('memory', 'memory_store')"),
		join(' ', ($node->safe_psql($database, 'SELECT current_user')) x 2), 'the schemas are the superuser\'s');
}

# --- a schema of mallory's does not become the extension's
my $database = database_of_mallory('others',
	'CREATE SCHEMA lair; CREATE FUNCTION lair.count(bigint) RETURNS bigint LANGUAGE sql AS \'SELECT 0::bigint\'');
like(says($database, 'CREATE EXTENSION memory_ext SCHEMA lair'), qr/must be installed in schema "pg_catalog"/, 'no schema can be named');
is(says($database, 'SET search_path = lair, public; CREATE EXTENSION memory_ext'), '', 'no schema is taken from the search_path');
is($node->safe_psql($database,
	"SELECT string_agg(i.identity, ' ' ORDER BY i.identity) FROM pg_depend d, pg_identify_object(d.refclassid, d.refobjid, 0) i
	WHERE d.classid = 'pg_extension'::regclass AND d.objid = (SELECT oid FROM pg_extension WHERE extname = 'memory_ext')
	AND i.type = 'schema' AND i.identity <> 'pg_catalog'"),
	'', 'the extension depends on no schema');
is($node->safe_psql($database,
	"SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace n JOIN pg_depend d ON d.classid = 'pg_namespace'::regclass
		AND d.objid = n.oid AND d.deptype = 'e'"),
	'memory memory_store', 'the schemas are members of the extension');
is($node->safe_psql($database,
	"SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
		AND e.extname = 'memory_ext', pg_identify_object(d.classid, d.objid, d.objsubid) i
	WHERE d.deptype = 'e' AND i.schema NOT IN ('memory', 'memory_store')"), '0', 'all that the extension has is in its schemas');

for my $statement ('DROP SCHEMA memory CASCADE', 'ALTER SCHEMA memory RENAME TO mine', $trap, 'CREATE VIEW memory.protection AS SELECT 1')
{
	like(says($database, $statement, 'mallory'), qr/ERROR:  42501: /, substr($statement, 0, 30) . ' is not for mallory');
}
like(says($database, 'DROP SCHEMA memory CASCADE'), qr/ERROR:  2BP01: cannot drop schema memory because extension memory_ext requires it/,
	'the schema alone cannot be dropped');

# --- the protection is not what mallory has made of its name
$node->safe_psql('postgres', "GRANT ALL ON SCHEMA public TO mallory");
for my $name ('public.memory_ext_protection', 'public.protection', 'lair.protection')
{
	$node->safe_psql($database, 'GRANT CREATE ON SCHEMA public TO mallory');
	$node->safe_psql($database, "CREATE VIEW $name AS SELECT ''::text AS purpose, 0::bigint AS conversations",
		extra_params => [ '-U', 'mallory' ]);
}
$node->safe_psql($database, 'SET search_path = public, lair; SELECT memory.protect(); SELECT memory.protect()');
$node->safe_psql($database, 'DROP VIEW public.memory_ext_protection, public.protection, lair.protection',
	extra_params => [ '-U', 'mallory' ]);
like(says($database, 'DROP EXTENSION memory_ext'), qr/ERROR:  2BP01: .*\nDETAIL:  view memory\.protection depends on /,
	'a protected extension is not dropped');
$node->safe_psql($database, 'SELECT memory.unprotect()');

# --- it goes with all it has, and is installed anew
$node->safe_psql($database, "CREATE ROLE app LOGIN; SELECT memory.grant_access('app', 'operator'); DROP EXTENSION memory_ext");
is($node->safe_psql($database, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'memory%'"), '0',
	'the schemas go with the extension');
is($node->safe_psql($database, "SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'app'::regrole"),
	'0', 'what was granted goes with the extension');
is(says($database, 'CREATE EXTENSION memory_ext'), '', 'the extension can be installed again');

$node->stop;
done_testing();
