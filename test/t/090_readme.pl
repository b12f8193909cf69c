# README.md: every example runs and prints what it says, and the reference has
# all that there is, and nothing else.
#
# A ```sql block runs in psql, each in a session of its own, in the database
# chat; a ```sh block in bash, in a scratch folder, unless it builds or
# installs.  A ```text block that follows is what the one before prints; one
# with an ERROR says that it fails.  Blanks at the end of lines do not count.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $readme = slurp("$root/README.md");
my $scratch = PostgreSQL::Test::Utils::tempdir;

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->start;

$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
$ENV{PGTZ} = 'UTC';
$ENV{PGDATESTYLE} = 'ISO';
$ENV{PGCLIENTENCODING} = 'UTF8';
$ENV{PSQLRC} = '/dev/null';
$ENV{PAGER} = $ENV{PSQL_PAGER} = 'cat';
delete @ENV{qw(PGDATABASE PGUSER PGOPTIONS)};
symlink "$root/test", "$scratch/test" or die "$scratch/test: $!";

sub slurp
{
	my ($file) = @_;
	open(my $in, '<:raw', $file) or die "$file: $!";
	local $/;
	return scalar <$in>;
}

sub trimmed
{
	my ($text) = @_;
	$text =~ s/[ \t]+$//mg;
	$text =~ s/\s+\z//;
	return $text;
}

# What one list has and the other has not, a line each; '' when they agree.
sub difference
{
	my ($documented, $actual) = @_;
	my %documented = map { $_ => 1 } @$documented;
	my %actual = map { $_ => 1 } @$actual;
	return join "\n", (map { "not in the README: $_" } grep { !$documented{$_} } sort keys %actual),
	  (map { "only in the README: $_" } grep { !$actual{$_} } sort keys %documented);
}

# --- the examples

my @blocks;
while ($readme =~ /^```(\w+)\n(.*?)^```$/msg)
{
	my ($language, $text) = ($1, $2);
	if ($language eq 'text')
	{
		die "output without an example:\n$text" if !@blocks || defined $blocks[-1]{output};
		$blocks[-1]{output} = $text;
		next;
	}
	my $line = 2 + (substr($readme, 0, $-[0]) =~ tr/\n//);
	push @blocks, { language => $language, text => $text, line => $line };
}
is(join(' ', sort keys %{ { map { $_->{language} => 1 } @blocks } }),
	'sh sql', 'blocks are sql, sh or text');

my $ran = 0;
foreach my $block (@blocks)
{
	next if $block->{language} eq 'sh' && $block->{text} =~ /^\s*(make|apt-get|sudo)\b/m;

	my $fails = ($block->{output} // '') =~ /^ERROR:/m;
	my $output = '';
	my @command =
	  $block->{language} eq 'sql'
	  ? qw(psql -X -v ON_ERROR_STOP=1 -d chat)
	  : ('bash', '-e', '-c', 'cd "$0" && . /dev/stdin', $scratch);
	IPC::Run::run(\@command, '<', \$block->{text}, '>', \$output, '2>&1');
	my $status = $? >> 8;
	$ran++;

	my $name = "line $block->{line}";
	is($status, $fails ? 3 : 0, "$name: " . ($fails ? 'fails' : 'runs')) or diag($output);
	is(trimmed($output), trimmed($block->{output}), "$name: prints what it says")
	  if defined $block->{output};
}
cmp_ok($ran, '>', 0, 'there are examples');

# --- the reference

my ($reference) = $readme =~ /^## Reference\n(.*?)^## Limits\n/ms;
ok(defined $reference, 'there is a reference');

sub lines_of
{
	my ($sql) = @_;
	return split /\n/, $node->safe_psql('chat', $sql);
}

# The rows of the first table below a heading, each an array of cells.
sub table_below
{
	my ($heading) = @_;
	my ($part) = $reference =~ /^#+ \Q$heading\E\n(.*?)(?=^#|\z)/ms;
	return () if !defined $part;
	my ($table) = $part =~ /((?:^\|.*\n)+)/m;
	my (undef, undef, @rows) = split /\n/, $table // '';
	return map { [ map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, s/^\|//r ] } @rows;
}

sub code
{
	return $_[0] =~ /^`([^`]+)`$/ ? $1 : $_[0];
}

# Signatures as the README writes them, with the lowest level that may call.
# What only the server calls is left out here.
$node->safe_psql('chat', join '', map {
	"CREATE ROLE readme_$_; SELECT memory.grant_access('readme_$_', '$_');"
} qw(reader writer operator));
my @signatures = lines_of(<<'SQL');
WITH argument AS (
	SELECT p.oid, u.n, p.proargnames[u.n] AS name, COALESCE(p.proargmodes[u.n], 'i') AS mode,
		replace(format_type(u.type, NULL), 'timestamp with time zone', 'timestamptz') AS type,
		regexp_replace(pg_get_function_arg_default(p.oid, u.n::int), '::.*', '') AS value
	FROM pg_proc p, unnest(COALESCE(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY u (type, n)
), list AS (
	SELECT oid, string_agg(concat_ws(' ', NULLIF(name, ''), type, '= ' || value), ', ' ORDER BY n)
			FILTER (WHERE mode = 'i') AS input,
		string_agg(concat_ws(' ', name, type), ', ' ORDER BY n) FILTER (WHERE mode = 'o') AS output
	FROM argument GROUP BY oid
)
SELECT format('memory.%s(%s)%s %s', p.proname, l.input,
		CASE WHEN p.prokind <> 'p' THEN ' → ' || CASE WHEN p.proretset THEN 'setof ' ELSE '' END
			|| COALESCE('(' || l.output || ')',
				replace(format_type(p.prorettype, NULL), 'timestamp with time zone', 'timestamptz'))
		END,
		CASE WHEN has_function_privilege('readme_reader', p.oid, 'EXECUTE') THEN 'reader'
			WHEN has_function_privilege('readme_writer', p.oid, 'EXECUTE') THEN 'writer'
			WHEN has_function_privilege('readme_operator', p.oid, 'EXECUTE') THEN 'operator'
			ELSE 'owner' END)
FROM pg_proc p LEFT JOIN list l USING (oid)
WHERE p.pronamespace = 'memory'::regnamespace
	AND NOT p.prorettype = ANY ('{internal,cstring}'::regtype[])
	AND NOT p.proargtypes::oid[] && '{internal,cstring}'::regtype[]::oid[]
	AND NOT EXISTS (SELECT FROM pg_type t WHERE p.oid = t.typsend)
ORDER BY 1
SQL
my @documented;
foreach my $heading (qw(Writing Reading Storage Usage Quotas Transfer Access Transcripts))
{
	push @documented, map { code($_->[0]) . " $_->[1]" } table_below($heading);
}
is(difference(\@documented, \@signatures), '', 'functions, their arguments and levels');

my %named = map { $_ => 1 } $reference =~ /\bmemory\.([a-z_][a-z_0-9]*)/g;
my @there = lines_of(<<'SQL');
SELECT proname FROM pg_proc WHERE pronamespace = 'memory'::regnamespace
UNION SELECT relname FROM pg_class WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('r', 'v', 'm', 'f')
UNION SELECT typname FROM pg_type t WHERE typnamespace = 'memory'::regnamespace AND typelem = 0
	AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
ORDER BY 1
SQL
is(join(' ', grep { !$named{$_} } @there), '', 'the reference names everything in schema memory');

my %there = map { $_ => 1 } @there;
my %mentioned = map { $_ => 1 } $readme =~ /\bmemory\.([a-z_][a-z_0-9]*)/g;
is(join(' ', grep { !$there{$_} } sort keys %mentioned), '', 'and the README nothing that is not there');
my @operators =
  lines_of("SELECT oprname FROM pg_operator WHERE oprnamespace = 'memory'::regnamespace");
foreach my $operator (@operators)
{
	my $written = "OPERATOR(memory.$operator)" =~ s/\|/\\|/gr;
	like($reference, qr/\Q$written\E/, "operator $operator");
}

foreach my $relation (lines_of(<<'SQL'))
SELECT CASE relkind WHEN 'c' THEN 'Type' WHEN 'v' THEN 'View' ELSE 'Table' END || ' ' || relname
FROM pg_class WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('r', 'v', 'm', 'f', 'c') ORDER BY 1
SQL
{
	my ($kind, $name) = split / /, $relation;
	my @columns = lines_of(<<"SQL");
SELECT attname || ' ' || replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz')
FROM pg_attribute WHERE attrelid = 'memory.$name'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
SQL
	my @documented = map { code($_->[0]) . " $_->[1]" } table_below("$kind `memory.$name`");
	is(join("\n", @documented), join("\n", @columns), "columns of $name");
}

# in a database of its own: the examples set some for theirs
$node->safe_psql('postgres', 'CREATE DATABASE readme_settings TEMPLATE template0');
my @settings = split /\n/, $node->safe_psql('readme_settings', <<'SQL');
LOAD 'memory_ext';
SELECT name || ' ' || COALESCE(NULLIF(current_setting(name), ''), 'empty') || ' ' || context
FROM pg_settings WHERE name LIKE 'memory\_ext.%' ORDER BY name
SQL
my @rows = map { join ' ', map { code($_) } @$_[ 0 .. 2 ] } table_below('Settings of memory_ext');
is(difference(\@rows, \@settings), '', 'settings, their defaults and contexts');
my %settings = map { /^memory_ext\.(\w+)/ ? ($1 => 1) : () } @settings;
is(join(' ', grep { !$settings{$_} } $readme =~ /\bmemory_ext\.(\w+)/g), '', 'no other setting is named');

my @levels = $readme =~ /^\| level \| may \|\n\|.*\n((?:\|.*\n)+)/m ? $1 =~ /^\| `(\w+)` \|/mg : ();
is(difference(\@levels, [ lines_of('SELECT DISTINCT level FROM memory_store.grants') ]), '', 'levels of access');

# Every SQLSTATE that the C files raise.
my ($share) = $node->config_data('--sharedir');
my %sqlstate = map { /^(\w{5})\s+\w\s+(ERRCODE_\w+)/ ? ($2 => $1) : () } split /\n/, slurp("$share/errcodes.txt");
my %documented = map { $_ => 1 } map { split /, / } map { $_->[0] } table_below('Errors');
my %raised;
foreach my $file (glob "$root/src/*.c $root/src/*/*.c")
{
	my $source = slurp($file);
	while ($source =~ /\berrcode\(([^()]*(?:\([^()]*\)[^()]*)*)\)/g)
	{
		$raised{ $sqlstate{$_} // $_ } = 1 foreach $1 =~ /(ERRCODE_\w+)/g;
		$raised{$_} = 1 foreach $1 =~ /MAKE_SQLSTATE\(([^)]*)\)/ ? $1 =~ s/[', ]//gr : ();
	}
}
cmp_ok(scalar keys %raised, '>', 10, 'SQLSTATEs were found in the source');
is(join(' ', grep { !$documented{$_} } sort keys %raised), '', 'every SQLSTATE is in the table of errors');

$node->stop;
done_testing();
