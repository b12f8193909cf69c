# The manual, README.md and doc/*.md: every example runs and prints what it
# says, every link leads somewhere, and the reference has all that there is, and
# nothing else.
#
# A ```sql block runs in psql, each in a session of its own, in the database
# chat; a ```sh block in bash, in a scratch folder, unless it builds or
# installs.  A ```js block is part of a client: Node checks its syntax, where
# there is one.  A ```text block that follows is what the one before prints; one
# with an ERROR says that it fails.  Blanks at the end of lines do not count.
#
# README.md makes the database chat itself.  Each page gets one of its own, with
# the extension in it, but for those of @in_order, which build on each other.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my @in_order = map { "doc/$_.md" }
  qw(tutorial storing import-export redis storage quotas metering transcript security operations);
my %continues = map { $_ => 1 } @in_order[ 1 .. $#in_order ];
my %is_in_order = map { $_ => 1 } @in_order;
my @alone = grep { !$is_in_order{$_} } map { s{^\Q$root\E/}{}r } sort glob "$root/doc/*.md";
my @pages = ('README.md', @alone, @in_order);
my %page = map { $_ => slurp("$root/$_") } @pages;
my $manual = join '', @page{@pages};
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
	return join "\n", (map { "not in the manual: $_" } grep { !$documented{$_} } sort keys %actual),
	  (map { "only in the manual: $_" } grep { !$actual{$_} } sort keys %documented);
}

# --- the examples

# The blocks of a page; a block of output belongs to the one before it.
sub blocks_of
{
	my ($text) = @_;
	my @blocks;
	while ($text =~ /^```(\w*)\n(.*?)^```$/msg)
	{
		my ($language, $code) = ($1, $2);
		my $line = 2 + (substr($text, 0, $-[0]) =~ tr/\n//);
		if ($language eq 'text')
		{
			die "line $line: output without an example" if !@blocks || defined $blocks[-1]{output};
			$blocks[-1]{output} = $code;
			next;
		}
		push @blocks, { language => $language, text => $code, line => $line };
	}
	return @blocks;
}

sub run_block
{
	my ($page, $block) = @_;
	my $fails = ($block->{output} // '') =~ /^ERROR:/m;
	my $output = '';
	my @command =
	    $block->{language} eq 'sql' ? qw(psql -X -v ON_ERROR_STOP=1 -d chat)
	  : $block->{language} eq 'js' ? ('bash', '-e', '-c', 'cat > "$0/example.mjs" && node --check "$0/example.mjs"', $scratch)
	  : ('bash', '-e', '-c', 'cd "$0" && . /dev/stdin', $scratch);
	IPC::Run::run(\@command, '<', \$block->{text}, '>', \$output, '2>&1');
	my $status = $? >> 8;

	my $name = "$page, line $block->{line}";
	is($status, $fails ? 3 : 0, "$name: " . ($fails ? 'fails' : 'runs')) or diag($output);
	is(trimmed($output), trimmed($block->{output}), "$name: prints what it says")
	  if defined $block->{output};
	return;
}

my $has_node = system('node --version >/dev/null 2>&1') == 0;
my %languages;
my $ran = 0;
foreach my $name (@pages)
{
	my @blocks = blocks_of($page{$name});
	$languages{ $_->{language} } = 1 foreach @blocks;
	@blocks = grep { $_->{language} ne 'js' || $has_node } @blocks;
	@blocks = grep { $_->{language} ne 'sh' || $_->{text} !~ /^\s*(make|apt-get|sudo)\b/m } @blocks;
	if (@blocks && $name ne 'README.md' && !$continues{$name})
	{
		$node->safe_psql('postgres', 'DROP DATABASE chat WITH (FORCE)');
		$node->safe_psql('postgres', "CREATE DATABASE chat TEMPLATE template0 ENCODING 'UTF8'");
		$node->safe_psql('chat', 'CREATE EXTENSION memory_ext');
	}
	run_block($name, $_) foreach @blocks;
	$ran += @blocks;
}
is(join(' ', sort keys %languages), 'js sh sql', 'blocks are sql, sh, js or text');
cmp_ok($ran, '>', 0, 'there are examples');

# --- the links

# The anchors of a page, as GitHub makes them of its headings.
sub anchors_of
{
	my ($text) = @_;
	$text =~ s/^```.*?^```$//msg;
	my (%count, %anchor);
	foreach my $heading ($text =~ /^#+ (.*)$/mg)
	{
		my $slug = lc($heading =~ s/[^\w\- ]//gr) =~ s/ /-/gr;
		my $same = $count{$slug}++;
		$anchor{ $same ? "$slug-$same" : $slug } = 1;
	}
	return \%anchor;
}

# The links of a page within the project that lead nowhere.
sub dead_links
{
	my ($name, $text) = @_;
	my $folder = $name =~ m{^(.*/)} ? $1 : '';
	my @dead;
	foreach my $link ($text =~ /\]\(([^()\s]+)\)/g)
	{
		next if $link =~ /^\w+:/;
		my ($file, $anchor) = split /#/, $link;
		my $path = $file eq '' ? $name : "$folder$file";
		push @dead, $link
		  if !-e "$root/$path" || defined $anchor && !anchors_of(slurp("$root/$path"))->{$anchor};
	}
	return @dead;
}

foreach my $file (sort glob join ' ', map { "$root/$_*.md" } '',
	qw(doc/ src/ src/*/ clients/ clients/*/ test/ test/*/ test/*/*/))
{
	my $name = $file =~ s{^\Q$root\E/}{}r;
	is(join(' ', dead_links($name, slurp($file))), '', "$name: every link leads somewhere");
}

# Files that the guides to the sources name in code.
foreach my $name ('src/README.md', 'src/store/README.md', 'doc/architecture.md')
{
	my $folder = $name =~ m{^(src/.*/)} ? $1 : 'src/';
	my @files = slurp("$root/$name") =~ /`([\w\/]+\.(?:c|h|sql))`/g;
	is(join(' ', grep { !-e "$root/$folder$_" && !-e "$root/src/$_" } @files), '', "$name: the files exist");
}
my %rooms = map { $_ => 1 } slurp("$root/src/README.md") =~ m{^\| `(\w+)/` \|}mg;
is(difference([ keys %rooms ], [ map { s{.*/}{}r } grep { -d } glob "$root/src/*" ]), '', 'src/README.md has every room');

my %linked = map { ($_ => 1) } $page{'README.md'} =~ m{\]\((doc/[^()#\s]+)}g;
is(join(' ', grep { m{^doc/} && !$linked{$_} } @pages), '', 'README.md leads to every page');

# --- the reference

my $reference = $page{'doc/reference.md'};
ok(defined $reference, 'there is a reference');

sub lines_of
{
	my ($sql) = @_;
	return split /\n/, $node->safe_psql('chat', $sql);
}

# The rows of a table, without its head, each an array of cells.
sub rows_of
{
	my ($table) = @_;
	my (undef, undef, @rows) = split /\n/, $table // '';
	return map { [ map { s/^\s+|\s+$//gr } split /(?<!\\)\|/, s/^\|//r ] } @rows;
}

# Those of the first table below a heading of the reference.
sub table_below
{
	my ($heading) = @_;
	my ($part) = $reference =~ /^#+ \Q$heading\E\n(.*?)(?=^#|\z)/ms;
	return () if !defined $part;
	my ($table) = $part =~ /((?:^\|.*\n)+)/m;
	return rows_of($table);
}

# Those of all tables of a page whose head begins with this cell.
sub tables_of
{
	my ($text, $head) = @_;
	return map { rows_of($_) } $text =~ /((?:^\| \Q$head\E \|.*\n)(?:^\|.*\n)+)/mg;
}

sub code
{
	return $_[0] =~ /^`([^`]+)`$/ ? $1 : $_[0];
}

# Signatures as the reference writes them, with the lowest level that may call.
# What only the server calls is left out here.
$node->safe_psql('chat', join '', map {
	"CREATE ROLE readme_$_; SELECT memory.grant_access('readme_$_', '$_');"
} qw(reader writer operator));
my @signatures = lines_of(<<'SQL');
WITH argument AS (
	SELECT p.oid, p.prokind, u.n, p.proargnames[u.n] AS name, COALESCE(p.proargmodes[u.n], 'i') AS mode,
		replace(format_type(u.type, NULL), 'timestamp with time zone', 'timestamptz') AS type,
		regexp_replace(pg_get_function_arg_default(p.oid, u.n::int), '::.*', '') AS value
	FROM pg_proc p, unnest(COALESCE(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY u (type, n)
), list AS (
	SELECT oid, string_agg(concat_ws(' ', NULLIF(name, ''), type, '= ' || value), ', ' ORDER BY n)
			FILTER (WHERE mode = 'i' OR mode = 'b' AND prokind <> 'p') AS input,
		string_agg(concat_ws(' ', name, type), ', ' ORDER BY n) FILTER (WHERE mode = 'o' OR mode = 'b' AND prokind <> 'p')
			AS output
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
my @documented = map { code($_->[0]) . " $_->[1]" } tables_of($reference, 'function');
is(difference(\@documented, \@signatures), '', 'the reference has the functions, their arguments and levels');

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
my %mentioned = map { $_ => 1 } $manual =~ /\bmemory\.([a-z_][a-z_0-9]*)/g;
is(join(' ', grep { !$there{$_} } sort keys %mentioned), '', 'the manual mentions nothing that is not there');
my @operators =
  lines_of("SELECT oprname FROM pg_operator WHERE oprnamespace = 'memory'::regnamespace");
foreach my $operator (@operators)
{
	my $written = "OPERATOR(memory.$operator)" =~ s/\|/\\|/gr;
	like($reference, qr/\Q$written\E/, "the reference has operator $operator");
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
my @rows = map { join ' ', map { code($_) } @$_[ 0 .. 2 ] } tables_of($reference, 'setting');
is(difference(\@rows, \@settings), '', 'the reference has the settings, their defaults and contexts');
my %settings = map { /^memory_ext\.(\w+)/ ? ($1 => 1) : () } @settings;
is(join(' ', grep { !$settings{$_} } $manual =~ /\bmemory_ext\.(\w+)/g), '', 'no other setting is named');

my @levels = $page{'doc/security.md'} =~ /^\| level \| may \|\n\|.*\n((?:\|.*\n)+)/m ? $1 =~ /^\| `(\w+)` \|/mg : ();
is(difference(\@levels, [ lines_of('SELECT DISTINCT level FROM memory_store.grants') ]), '', 'the manual has the levels of access');

# Every SQLSTATE that the C files raise.
my ($share) = $node->config_data('--sharedir');
my %sqlstate = map { /^(\w{5})\s+\w\s+(ERRCODE_\w+)/ ? ($2 => $1) : () } split /\n/, slurp("$share/errcodes.txt");
my %documented = map { $_ => 1 } map { split /, / } map { $_->[0] } tables_of($page{'doc/errors.md'}, 'SQLSTATE');
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
