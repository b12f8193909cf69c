# No name or operator of a statement is looked up by a caller's search_path: in
# the C files' SQL, which mostly runs with the owner's rights, and in functions
# of the install script that have no search_path of their own.
#
# What is looked up without showing it is looked for here: IN, IS DISTINCT FROM,
# NULLIF, BETWEEN, LIKE, joins by USING and CASE with an operand all stand for
# operators.
use strict;
use warnings;

use File::Find;
use FindBin;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my (@c_files, @sql_files);
find({
		no_chdir => 1,
		wanted => sub {
			push @c_files, $_ if /\.c$/;
			push @sql_files, $_ if /\.sql$/;
		}
	},
	"$root/src");

my %hidden = (
	'IN' => qr/\bIN \((?!\d)/,
	'IS DISTINCT FROM' => qr/\bIS (?:NOT )?DISTINCT FROM\b/,
	'NULLIF' => qr/\bNULLIF ?\(/,
	'BETWEEN' => qr/\bBETWEEN\b/,
	'LIKE' => qr/\b(?:I?LIKE|SIMILAR TO)\b/,
	'USING' => qr/\bUSING \(|\bNATURAL\b/,
	'CASE with an operand' => qr/\bCASE (?!WHEN\b)/,
	'an operator' => qr{ (?:<>|<=|>=|<|>|\|\||->>?|\#>>?|[~%/]|[-+](?!\d)|\*(?! FROM\b)) });

# Assignments look like comparisons, so "=" is wrong only behind what no assignment follows.
my $compared = qr/\b(?:WHERE|AND|OR|ON|WHEN|HAVING|NOT)\b [\w.(]*[\w.] ?= /;

sub slurp
{
	my ($file) = @_;
	open(my $in, '<', $file) or die "$file: $!";
	local $/;
	return scalar <$in>;
}

# What is wrong with a statement.
sub problems
{
	my ($sql) = @_;
	$sql =~ s/\s+/ /g;
	$sql =~ s/OPERATOR\(pg_catalog\.[^()]+\)/OPERATOR/g;
	$sql =~ s/'[^']*'/''/g;
	my @found = grep { $sql =~ $hidden{$_} } sort keys %hidden;
	push @found, 'a comparison' if $sql =~ $compared;
	# with several arguments it is the parser's own, whatever the search_path
	push @found, 'unnest()' if $sql =~ /(?<![.\w])unnest\([^(),]*\)/;
	push @found, "$1()" if $sql =~ /(?<![.\w])(count|sum|max|min|now|clock_timestamp|concat_ws|format|nextval
		|current_setting|round|to_char|array_position|jsonb_\w+)\(/x;
	return @found;
}

sub check_text
{
	my ($file, $sql, $place) = @_;
	(my $name = $file) =~ s{^\Q$root\E/}{};
	return map { "$name: $_ in \"" . substr($place, 0, 60) . '"' } problems($sql);
}

is_deeply([ problems("SELECT 1 WHERE a OPERATOR(pg_catalog.=) ANY (SELECT b FROM c) AND d IS NULL") ], [],
	'a statement with qualified operators passes');
is_deeply([ problems("SELECT 1 WHERE a$_") ], [ 'an operator' ],
	"an unqualified operator is found:$_") for ' <> b', " || 'x'", ' - 1', ' ->> \'k\'';
is_deeply([ problems('SELECT * FROM unnest($1, $2) u (a, b)') ], [], 'unnest with several arguments passes');
for my $sql ('FROM unnest($1)', 'a IN (SELECT b', 'a IS DISTINCT FROM b', 'NULLIF(a, 0)', 'CASE a WHEN 0', 'WHERE a = 1', 'now()')
{
	is(scalar(my @found = problems($sql)), 1, "it is found: $sql");
}

# Neighbouring literals of C, and names of macros between them, are one text.
my $statements = 0;
my @wrong;
for my $file (@c_files)
{
	my $text = slurp($file);
	$text =~ s{/\*.*?\*/}{}gs;
	$text =~ s/\\\n//g;
	while ($text =~ /((?:"(?:[^"\\\n]|\\.)*"(?:\s*[A-Z_]{2,}(?:\([^()]*\))?)*\s*)+)/g)
	{
		my $joined = join(' ', $1 =~ /"((?:[^"\\\n]|\\.)*)"/g);
		next if $joined !~ /\b(?:SELECT|FROM|WHERE|SET|VALUES|AND|JOIN|RETURNING)\b/;
		$statements++;
		push @wrong, check_text($file, $joined, $joined);
	}
}
cmp_ok($statements, '>', 150, "the C files have many statements: $statements");
is(join("\n", @wrong), '', 'the C files qualify what they name');

my $bodies = 0;
@wrong = ();
for my $file (@sql_files)
{
	my $text = slurp($file);
	while ($text =~ /CREATE (?:FUNCTION|PROCEDURE) ([\w.]+)([^;]*?)AS \$\$(.*?)\$\$/gs)
	{
		my ($name, $head, $body) = ($1, $2, $3);
		next if $head =~ /SET search_path = pg_catalog, pg_temp/;
		$bodies++;
		$body =~ s/--.*//g;
		push @wrong, check_text($file, $body, $name);
	}
}
cmp_ok($bodies, '>', 2, "there are functions without a search_path: $bodies");
is(join("\n", @wrong), '', 'every function has its search_path');

done_testing();
