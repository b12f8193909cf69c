# CSV as other programs write it: every character, line ends of Windows, a byte order mark, headers
# that are checked, columns in another order or left out; and rows come out as they went in.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('csv');
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $n = 0;

sub new_database
{
	my $database = 'csv_' . ++$n;
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION memory_ext');
	return $database;
}

sub dump_csv
{
	my ($database, $name, $options) = @_;
	$node->safe_psql($database, <<"SQL");
\\copy (@{[ view_conversations() ]}) TO '$dir/$name.conversations' (FORMAT csv, $options)
\\copy (@{[ view_messages() ]}) TO '$dir/$name.messages' (FORMAT csv, $options)
SQL
	return map { slurp_file("$dir/$name.$_") } qw(conversations messages);
}

# The records of a CSV text, with another end.
sub end_lines
{
	my ($text, $end) = @_;
	my $result = '';
	while ($text =~ /\G((?:[^"\n]|"(?:[^"]|"")*")*)\n/g)
	{
		$result .= $1 . $end;
	}
	return $result;
}

# --- all of Unicode, and what is hard on a format

my $source = new_database();
$node->safe_psql($source, <<'SQL');
SELECT memory.append('unicode', '00000000-0000-0000-0000-000000000001', 'user', string_agg(chr(c), '' ORDER BY c))
FROM generate_series(1, 1114111) c WHERE c NOT BETWEEN 55296 AND 57343 GROUP BY c / 4096 ORDER BY c / 4096;
INSERT INTO memory.conversations (conversation_id, account_id, title, metadata) VALUES
	('00000000-0000-0000-0000-000000000002', 'hard', '', '{"": [null, "\n\"'',\\", 1.50]}'),
	('00000000-0000-0000-0000-000000000003', E' "quotes", \n,commas', NULL, '{}');
INSERT INTO memory.messages (conversation_id, account_id, role, content, model, tokens, message_id, metadata)
SELECT '00000000-0000-0000-0000-000000000002', 'hard', r, c, m, 0, i, '{"a": "\r\n"}' FROM (VALUES
	('user', '', NULL, ''), ('NULL', 'NULL', 'NULL', NULL), ('"', '"', '""', '"'''), (' ', E' \t ', ',', ',,'),
	(E'\n', E'\n', E'\n\n', E'\n'), (E'\r', E'\r', E'a\rb', E'\r\n'), ('\N', E'\\N\\.', '\', '\n'), ('ü', E'\u00a0\u2028\u2029\u0085', '€',
		'😀')
) v (r, c, m, i);
SQL
is($node->safe_psql($source, "SELECT sum(length(content)) FROM memory.messages WHERE account_id = 'unicode'"), 1114111 - 2048,
	'all characters are stored');
my ($conversations, $messages) = dump_csv($source, 'source', 'HEADER');

sub same_as_source
{
	my ($database, $what) = @_;
	my ($c, $m) = dump_csv($database, 'copy', 'HEADER');
	ok($c eq $conversations, "$what: the conversations are the same to the byte");
	ok($m eq $messages, "$what: the messages are the same to the byte");
	is(problems_of($node, $database), '', "$what: the tables agree");
	return;
}

sub load
{
	my ($database, $options, $c, $m) = @_;
	write_file("$dir/in.conversations", $c);
	write_file("$dir/in.messages", $m);
	return $node->psql($database, <<"SQL", on_error_stop => 1);
\\copy memory.conversations FROM '$dir/in.conversations' (FORMAT csv, $options)
\\copy memory.messages FROM '$dir/in.messages' (FORMAT csv, $options)
SQL
}

my $plain = new_database();
load($plain, 'HEADER MATCH', $conversations, $messages);
same_as_source($plain, 'header match');

# --- lines of Windows: those within quotes stay as they are

my $windows = new_database();
load($windows, 'HEADER MATCH', end_lines($conversations, "\r\n"), end_lines($messages, "\r\n"));
same_as_source($windows, 'CR LF');

my $mac = new_database();
load($mac, 'HEADER', end_lines($conversations, "\r"), end_lines($messages, "\r"));
same_as_source($mac, 'CR');

# --- a byte order mark: a header hides it, unless it is compared; the README says what to do then

my $bom = "\xEF\xBB\xBF";
my $marked = new_database();
load($marked, 'HEADER', $bom . $conversations, $bom . $messages);
same_as_source($marked, 'byte order mark');
my $matched = new_database();
like((load($matched, 'HEADER MATCH', $bom . $conversations, $bom . $messages))[2], qr/column name mismatch in header line field 1/,
	'a byte order mark is refused where the header must match');
my $strip = q{sed "1s/^\xEF\xBB\xBF//"};
$node->safe_psql($matched, <<"SQL");
\\copy memory.conversations FROM PROGRAM '$strip $dir/in.conversations' (FORMAT csv, HEADER MATCH)
\\copy memory.messages FROM PROGRAM '$strip $dir/in.messages' (FORMAT csv, HEADER MATCH)
SQL
same_as_source($matched, 'byte order mark taken off');

# --- headers that do not match, columns that are left out

my $partial = new_database();
my $other = "account_id,conversation_id,role,content\nz,00000000-0000-0000-0000-000000000009,user,hi\n";
write_file("$dir/other.csv", $other);
like(($node->psql($partial, "\\copy memory.messages FROM '$dir/other.csv' (FORMAT csv, HEADER MATCH)"))[2],
	qr/wrong number of fields in header line/, 'a file with too few columns is refused');
like(($node->psql($partial,
	"\\copy memory.messages (conversation_id, account_id, role, content) FROM '$dir/other.csv' (FORMAT csv, HEADER MATCH)"))[2],
	qr/column name mismatch in header line field 1: got "account_id", expected "conversation_id"/,
		'a file with columns in another order is refused');
$node->safe_psql($partial,
	"\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/other.csv' (FORMAT csv, HEADER MATCH)");
is($node->safe_psql($partial, "SELECT seq, parent_seq, content, model IS NULL, message_id IS NULL, metadata IS NULL FROM memory.messages"),
	'1|0|hi|t|t|t', 'the others are filled in');
is($node->safe_psql($partial, 'SELECT title IS NULL, archived, message_count FROM memory.conversations'), 't|f|1',
	'the conversation is made');

# NULL against empty, as far as the columns know both
write_file("$dir/null.csv", qq{00000000-0000-0000-0000-00000000000a,z,""\n00000000-0000-0000-0000-00000000000b,z,\n});
$node->safe_psql($partial, "\\copy memory.conversations (conversation_id, account_id, title) FROM '$dir/null.csv' (FORMAT csv)");
is($node->safe_psql($partial,
	"SELECT title FROM memory.conversations WHERE conversation_id >= '00000000-0000-0000-0000-00000000000a' AND title IS NOT NULL"), '',
	'an empty title');
is($node->safe_psql($partial, 'SELECT count(*) FROM memory.conversations WHERE title IS NULL'), '2', 'is not NULL');

$node->stop;
done_testing();
