# ALTER EXTENSION UPDATE: whoever walks through the upgrade scripts, from the oldest version that can be
# installed, must arrive at what CREATE EXTENSION makes: the same functions, tables, types, triggers,
# privileges, comments.
#
# The scripts are those of the installation, and install scripts of old versions in test/upgrade/.  Because
# a comparison that sees nothing finds no difference either, this proves first that it sees each kind.
use strict;
use warnings;

use File::Copy;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('upgrade');
$node->start;
my $folder = $node->config_data('--sharedir') . '/extension';
chomp $folder;

# Every property of the extension's objects that its scripts decide, a line each; no OID and no attnum.
my $catalog = <<'SQL';
SET search_path = pg_catalog;
WITH member AS (
	SELECT d.classid, d.objid, i.type, i.identity, pg_describe_object(d.classid, d.objid, 0) AS name
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'memory_ext', pg_identify_object(d.classid, d.objid, 0) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
), relation AS (
	SELECT c.*, c.oid::regclass::text AS name FROM pg_class c
	WHERE EXISTS (SELECT FROM member WHERE classid = 'pg_class'::regclass AND objid = c.oid)
		OR EXISTS (SELECT FROM member JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass AND typrelid = c.oid)
		OR EXISTS (SELECT FROM member JOIN pg_index i ON indrelid = objid WHERE classid = 'pg_class'::regclass AND indexrelid = c.oid)
), line(what, name, value) AS (
	SELECT 'extension', extname, concat_ws(' ', extversion, extnamespace::regnamespace, extrelocatable) FROM pg_extension
		WHERE extname = 'memory_ext'
	UNION ALL
	SELECT 'dumped', c::regclass::text, condition FROM pg_extension, unnest(extconfig, extcondition) u(c, condition)
		WHERE extname = 'memory_ext'
	UNION ALL
	SELECT 'member', type || ' ' || identity, '' FROM member
	UNION ALL
	SELECT 'comment', m.name, description FROM member m JOIN pg_description d ON (d.classoid, d.objoid) = (m.classid, m.objid)
		AND objsubid = 0
	UNION ALL
	SELECT 'initial privileges', m.name || ' ' || objsubid, initprivs::text FROM member m JOIN pg_init_privs p
		ON (p.classoid, p.objoid) = (m.classid, m.objid)
	UNION ALL
	SELECT 'schema', nspname, concat_ws(' ', nspowner::regrole, nspacl) FROM pg_namespace WHERE oid IN (SELECT objid FROM member
		WHERE classid = 'pg_namespace'::regclass) OR nspname = 'memory'
	UNION ALL
	SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', CASE prokind WHEN 'a' THEN 'aggregate'
		ELSE pg_get_functiondef(p.oid) END, proowner::regrole, proacl, prokind, proparallel, provolatile)
		FROM pg_proc p JOIN member ON classid = 'pg_proc'::regclass AND objid = p.oid
	UNION ALL
	SELECT 'aggregate', aggfnoid::regprocedure::text,
		(to_jsonb(a) - '{aggfnoid,aggsortop,aggtranstype,aggmtranstype}'::text[])::text || aggtranstype::regtype
		FROM pg_aggregate a JOIN member ON classid = 'pg_proc'::regclass AND objid = a.aggfnoid
	UNION ALL
	SELECT 'relation', c.name, concat_ws(' ', relkind, relpersistence, relowner::regrole, relacl, reloptions, relrowsecurity,
		relforcerowsecurity, relreplident,
		CASE WHEN relkind = 'i' THEN pg_get_indexdef(oid) WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid)
			WHEN relkind = 'f' THEN (SELECT srvname || ftoptions::text FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
				WHERE ftrelid = c.oid) END) FROM relation c
	UNION ALL
	SELECT 'column', c.name || '.' || attname, concat_ws(' ', row_number() OVER (PARTITION BY attrelid
		ORDER BY attnum), format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation,
		attstorage, attcompression, coalesce(nullif(attstattarget, -1)::text, 'default'), attidentity, attgenerated, (SELECT string_agg(o,
			',' ORDER BY o) FROM unnest(attoptions) o
			WHERE o LIKE 'n\_distinct%'), attacl, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
		FROM relation c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped LEFT JOIN pg_attrdef
			ON (adrelid, adnum) = (attrelid, attnum)
	UNION ALL
	SELECT 'constraint', concat_ws(' ', conrelid::regclass, conname), concat_ws(' ', pg_get_constraintdef(k.oid), convalidated)
		FROM pg_constraint k JOIN relation c ON conrelid = c.oid
	UNION ALL
	SELECT 'trigger', concat_ws(' ', tgrelid::regclass, tgname), concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled) FROM pg_trigger t
		JOIN relation c ON tgrelid = c.oid WHERE NOT tgisinternal
	UNION ALL
	SELECT 'rule', concat_ws(' ', ev_class::regclass, rulename), concat_ws(' ', pg_get_ruledef(r.oid), ev_enabled) FROM pg_rewrite r
		JOIN relation c ON ev_class = c.oid
	UNION ALL
	SELECT 'policy', concat_ws(' ', polrelid::regclass, polname), concat_ws(' ', polcmd, polpermissive, pg_get_expr(polqual, polrelid),
		pg_get_expr(polwithcheck, polrelid)) FROM pg_policy JOIN relation c ON polrelid = c.oid
	UNION ALL
	SELECT 'type', t.oid::regtype::text, concat_ws(' ', typlen, typbyval, typtype, typcategory, typispreferred, typdelim, typinput,
		typoutput, typreceive, typsend, typmodin, typmodout, typanalyze, typalign, typstorage,
		typnotnull, typcollation::regcollation, typdefault, typowner::regrole, typacl) FROM pg_type t JOIN member
			ON classid = 'pg_type'::regclass AND objid = t.oid
	UNION ALL
	SELECT 'label', concat_ws(' ', enumtypid::regtype, enumlabel), row_number() OVER (PARTITION BY enumtypid ORDER BY enumsortorder)::text
		FROM pg_enum JOIN member ON classid = 'pg_type'::regclass AND objid = enumtypid
	UNION ALL
	SELECT 'cast', m.name, concat_ws(' ', castfunc::regprocedure, castcontext, castmethod) FROM pg_cast c JOIN member m
		ON classid = 'pg_cast'::regclass AND objid = c.oid
	UNION ALL
	SELECT 'operator', o.oid::regoperator::text, concat_ws(' ', oprcode, oprresult::regtype, oprcanmerge, oprcanhash, oprcom::regoperator,
		oprnegate::regoperator, oprrest, oprjoin)
		FROM pg_operator o JOIN member ON classid = 'pg_operator'::regclass AND objid = o.oid
)
SELECT what || ' ' || name || ': ' || coalesce(replace(value, E'\n', ' '), '') FROM line;
-- rows that scripts insert, of tables that are not dumped
SELECT query_to_xml('SELECT ' || quote_literal('row of ' || c.oid::regclass || ': ')
	|| ' || t::text AS l FROM ' || c.oid::regclass || ' t ORDER BY 1',
	false, true, '')::text
FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' JOIN pg_extension e
	ON e.oid = d.refobjid
WHERE extname = 'memory_ext' AND relkind = 'r' AND NOT c.oid = ANY (extconfig) ORDER BY c.relname;
SQL

# The catalog as it is after some statements, which are undone.
sub catalog_of
{
	my ($database, $statements) = @_;
	return map { s/\s+$//r } grep { /\S/ } split /\n/, $node->safe_psql($database, 'BEGIN;' . ($statements // '') . ";$catalog ROLLBACK");
}

# What one has and the other has not, a line each.
sub differences
{
	my ($expected, $found) = @_;
	my %expected = map { $_ => 1 } @$expected;
	my %found = map { $_ => 1 } @$found;
	return ((map { "- $_" } grep { !$found{$_} } sort keys %expected), (map { "+ $_" } grep { !$expected{$_} } sort keys %found));
}

sub create
{
	my ($database, $version) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION memory_ext' . (defined $version ? " VERSION '$version'" : ''));
	return;
}

# --- the comparison itself
create('fresh');
create('other');
my @fresh = catalog_of('fresh');
my @other = catalog_of('other');
cmp_ok(scalar @fresh, '>', 300, 'a catalog has many lines');
is(join("\n", differences(\@fresh, \@other)), '', 'two fresh installations are the same');

for (
	[ 'a function\'s cost', 'ALTER FUNCTION memory_store.seal_idle(integer) COST 7',
		qr/^\+ function memory_store\.seal_idle\(integer\): .*COST 7/m ],
	[ 'its volatility', 'ALTER FUNCTION memory_store.seal_idle(integer) STABLE', qr/^\+ function memory_store\.seal_idle/m ],
	[ 'its rights', 'ALTER FUNCTION memory_store.seal_idle(integer) SECURITY INVOKER', qr/^\+ function memory_store\.seal_idle/m ],
	[ 'its settings', 'ALTER FUNCTION memory_store.seal_idle(integer) SET search_path = public',
		qr/^\+ function memory_store\.seal_idle.*search_path/m ],
	[ 'its body', 'CREATE OR REPLACE FUNCTION memory.unprotect() RETURNS void LANGUAGE sql AS $$ SELECT 1 $$',
		qr/^\+ function memory\.unprotect/m ],
	[ 'its symbol',
		q{CREATE OR REPLACE FUNCTION memory_store.purge() RETURNS bigint AS '$libdir/memory_ext', 'memory_drop_dictionaries'
			LANGUAGE C VOLATILE STRICT SECURITY DEFINER},
		qr/^\+ function memory_store\.purge.*memory_drop_dictionaries/m ],
	[ 'a default of an argument',
		q{CREATE OR REPLACE FUNCTION memory_store.seal_idle(max_conversations integer DEFAULT 101) RETURNS bigint
			AS '$libdir/memory_ext', 'memory_seal_idle'
			LANGUAGE C VOLATILE SECURITY DEFINER},
		qr/^\+ function memory_store\.seal_idle.*DEFAULT 101/m ],
	[ 'a procedure', 'CREATE OR REPLACE PROCEDURE memory.maintain(batch_size integer DEFAULT 100,
		phase text DEFAULT NULL) LANGUAGE plpgsql AS $$ BEGIN END $$',
		qr/^\+ function memory\.maintain/m ],
	[ 'a function that is missing', 'ALTER EXTENSION memory_ext DROP FUNCTION memory_store.purge(); DROP FUNCTION memory_store.purge()',
		qr/^- member function memory_store\.purge\(\)/m ],
	[ 'one that is not a member', 'ALTER EXTENSION memory_ext DROP FUNCTION memory_store.purge()',
		qr/^- member function memory_store\.purge\(\)/m ],
	[ 'one too many',
		'CREATE FUNCTION memory.extra() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; ALTER EXTENSION memory_ext ADD FUNCTION memory.extra()',
		qr/^\+ member function memory\.extra\(\)/m ],
	[ 'privileges of a function', 'GRANT EXECUTE ON FUNCTION memory_store.purge() TO PUBLIC', qr/^\+ function memory_store\.purge/m ],
	[ 'of a table', 'GRANT SELECT ON memory_store.tail TO PUBLIC', qr/^\+ relation memory_store\.tail/m ],
	[ 'of a column', 'GRANT SELECT (seq) ON memory_store.tail TO PUBLIC', qr/^\+ column memory_store\.tail\.seq/m ],
	[ 'of a schema', 'GRANT USAGE ON SCHEMA memory_store TO PUBLIC', qr/^\+ schema memory_store/m ],
	[ 'of the schema that CREATE EXTENSION made', 'GRANT USAGE ON SCHEMA memory TO PUBLIC', qr/^\+ schema memory:/m ],
	[ 'of a type', 'GRANT USAGE ON TYPE memory.transcript TO PUBLIC', qr/^\+ type memory\.transcript/m ],
	[ 'a comment', q{COMMENT ON FUNCTION memory_store.purge() IS 'x'}, qr/^\+ comment function memory_store\.purge\(\): x/m ],
	[ 'a comment on a column', q{COMMENT ON COLUMN memory_store.tail.seq IS 'x'}, qr/^\+ column memory_store\.tail\.seq: .* x$/m ],
	[ 'a column', 'ALTER TABLE memory_store.tail ADD COLUMN extra integer DEFAULT 3',
		qr/^\+ column memory_store\.tail\.extra: .*integer.* 3/m ],
	[ 'its type', 'ALTER TABLE memory_store.tombstones ALTER COLUMN message_id TYPE varchar(10)',
		qr/^\+ column memory_store\.tombstones\.message_id: .*character varying\(10\)/m ],
	[ 'its NOT NULL', 'ALTER TABLE memory_store.tombstones ALTER COLUMN deleted_at DROP NOT NULL',
		qr/^\+ column memory_store\.tombstones\.deleted_at/m ],
	[ 'its storage', 'ALTER TABLE memory_store.dictionaries ALTER COLUMN body SET STORAGE EXTENDED',
		qr/^\+ column memory_store\.dictionaries\.body/m ],
	[ 'its statistics', 'ALTER TABLE memory_store.tail ALTER COLUMN content SET STATISTICS 100',
		qr/^\+ column memory_store\.tail\.content/m ],
	[ 'options of a table', 'ALTER TABLE memory_store.accounts SET (fillfactor = 90)',
		qr/^\+ relation memory_store\.accounts: .*fillfactor=90/m ],
	[ 'an index', 'DROP INDEX memory_store.conversations_recent', qr/^- relation memory_store\.conversations_recent/m ],
	[ 'one too many', 'CREATE INDEX extra ON memory_store.tail (created_at)', qr/^\+ relation memory_store\.extra/m ],
	[ 'a constraint', 'ALTER TABLE memory_store.tail ADD CONSTRAINT extra CHECK (seq > 0)', qr/^\+ constraint memory_store\.tail extra/m ],
	[ 'a view',
		'CREATE OR REPLACE VIEW memory.dictionaries AS
			SELECT dictionary_id, is_current, stale_at, created_at, octet_length(body) AS dictionary_bytes, samples, sample_bytes,
			1::numeric AS gain, 1::bigint AS segments FROM memory_store.dictionaries', qr/^\+ relation memory\.dictionaries/m ],
	[ 'an option of a view', 'ALTER VIEW memory.storage RESET (security_barrier)', qr/^\+ relation memory\.storage/m ],
	[ 'an option of a foreign table', q{ALTER FOREIGN TABLE memory.messages OPTIONS (SET relation 'conversations')},
		qr/^\+ relation memory\.messages/m ],
	[ 'a trigger', 'DROP TRIGGER changed ON memory.plans', qr/^- trigger memory\.plans changed/m ],
	[ 'a composite type', 'ALTER TYPE memory.message ADD ATTRIBUTE extra text', qr/^\+ column memory\.message\.extra/m ],
	[ 'a type', q{UPDATE pg_type SET typstorage = 'x' WHERE oid = 'memory.transcript'::regtype}, qr/^\+ type memory\.transcript/m ],
	[ 'a cast', q{UPDATE pg_cast SET castcontext = 'i' WHERE castsource = 'memory.transcript'::regtype},
		qr/^\+ cast cast from memory\.transcript/m ],
	[ 'an aggregate', q{UPDATE pg_aggregate SET aggfinalmodify = 'w' WHERE aggfnoid::regproc::text = 'memory.transcript_agg'},
		qr/^\+ aggregate memory\.transcript_agg/m ],
	[ 'what a dump takes along',
		q{UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] WHERE extname = 'memory_ext'},
		qr/^- dumped memory_store\./m ],
	[ 'a row', q{DELETE FROM memory_store.grants WHERE privilege = 'SELECT ON memory.messages'},
		qr/^- .*row of memory_store\.grants: .*SELECT ON memory\.messages/m ])
{
	my ($what, $statements, $expected) = @$_;
	@other = catalog_of('other', $statements);
	like(join("\n", differences(\@fresh, \@other)), $expected, "the comparison sees $what");
}
@other = catalog_of('other');
is(join("\n", differences(\@fresh, \@other)), '', 'the comparison sees no difference when all was undone');

# --- the upgrades
# The path from one version to another, as PostgreSQL would take it, a version at a time.
sub walk
{
	my ($database, $from, $to) = @_;
	my $path = $node->safe_psql('postgres',
		"SELECT path FROM pg_extension_update_paths('memory_ext') WHERE source = '$from' AND target = '$to'");
	isnt($path, '', "there is a path from $from to $to") or return;
	for my $version (grep { $_ ne $from } split /--/, $path)
	{
		$node->safe_psql($database, "ALTER EXTENSION memory_ext UPDATE TO '$version'");
		is($node->safe_psql($database, "SELECT extversion FROM pg_extension WHERE extname = 'memory_ext'"), $version,
			"the extension is upgraded to $version");
	}
	return;
}

sub fill
{
	my ($database) = @_;
	return $node->safe_psql($database, <<'SQL');
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'message ' || i) FROM generate_series(1, 100) i;
SELECT memory.append('bob', '00000000-0000-0000-0000-000000000002', 'user', 'message ' || i) FROM generate_series(1, 3) i;
SQL
}

my $writable = -w $folder;
for my $file (glob "$FindBin::RealBin/../upgrade/memory_ext--*.sql")
{
	(my $name = $file) =~ s{.*/}{};
	copy($file, "$folder/$name") or die "$folder/$name: $!" if $writable && !-e "$folder/$name";
}
my $current = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'memory_ext'");
my @old = grep { $_ ne $current } map { /memory_ext--((?:(?!--).)+)\.sql$/ ? $1 : () } glob "$folder/memory_ext--*.sql";
my $n = 0;
for my $version (sort @old)
{
	my $database = 'old_' . ++$n;
	create($database, $version);
	fill($database);
	my $views = views_of($node, $database);
	walk($database, $version, $current);
	my @upgraded = catalog_of($database);
	is(join("\n", differences(\@fresh, \@upgraded)), '', "$version upgraded is what is installed anew");
	is(views_of($node, $database), $views, "$version: the data is the same");
	is(problems_of($node, $database), '', "$version: the tables agree");
	is($node->safe_psql($database, 'SELECT * FROM memory.verify()'), '', "$version: verify() finds nothing");
}
my @scripts = map { s{.*/}{}r } glob "$folder/memory_ext--*--*.sql";
ok(!@scripts || @old, 'where there are upgrade scripts, there is an old version to begin from') or diag("@scripts");

# --- one made for this test: the walk is walked, and what its script does is seen
SKIP:
{
	skip "$folder is not writable", 7 unless $writable;
	write_file("$folder/memory_ext--$current--testing.sql",
		"\\echo Use \"ALTER EXTENSION memory_ext UPDATE\" to load this file. \\quit\n",
		"ALTER TABLE memory_store.accounts ADD COLUMN IF NOT EXISTS note text;\n");
	write_file("$folder/memory_ext--testing--testing2.sql", "COMMENT ON FUNCTION memory_store.purge() IS 'of testing2';\n");
	fill('other');
	my $views = views_of($node, 'other');
	walk('other', $current, 'testing2');
	@other = catalog_of('other');
	my $differences = join "\n", differences(\@fresh, \@other);
	like($differences, qr/^\+ column memory_store\.accounts\.note: /m, 'the first script\'s column is seen');
	like($differences, qr/^\+ comment function memory_store\.purge\(\): of testing2$/m, 'the second script\'s comment is seen');
	is(scalar(() = $differences =~ /^[-+] /mg), 5, 'nothing but the version differs otherwise') or diag($differences);
	is(views_of($node, 'other'), $views, 'the data is the same');
	unlink "$folder/memory_ext--$current--testing.sql", "$folder/memory_ext--testing--testing2.sql";
}

$node->stop;
done_testing();
