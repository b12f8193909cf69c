# COPY in and out of the views: round trips to the byte, packing of interleaved
# conversations, bounded memory, and what is left of a COPY that fails.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('copy');
# few shared buffers, so that they weigh little in what a backend uses
$node->append_conf('postgresql.conf', "shared_buffers = 16MB\nlog_temp_files = 0\nmax_wal_size = 4GB\n");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $columns = conversation_columns();

sub new_database
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE template0");
	$node->safe_psql($name, 'CREATE EXTENSION memory_ext');
	return $name;
}

sub same_bytes
{
	my ($got, $expected, $name) = @_;
	my ($a, $b) = (slurp_file($got), slurp_file($expected));

	# the texts are too long to be printed
	return ok($a eq $b && length $a > 0, $name);
}

sub dump_views
{
	my ($database, $prefix, $format) = @_;

	$node->safe_psql($database, <<"SQL");
\\copy (SELECT $columns FROM memory.conversations ORDER BY conversation_id) TO '$dir/$prefix.conversations' ($format)
\\copy (@{[ view_messages() ]}) TO '$dir/$prefix.messages' ($format)
\\copy (@{[ view_conversations() ]}) TO '$dir/$prefix.derived' ($format)
SQL
	return;
}

sub messages_in
{
	return $node->safe_psql($_[0] // 'postgres', 'SELECT count(*) FROM memory.messages');
}

# --- the samples, as they are
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
my $loaded = $node->safe_psql('postgres', <<"SQL");
\\set QUIET off
\\copy memory.conversations ($columns) FROM '@{[ samples('conversations.csv') ]}' (FORMAT csv, HEADER)
\\copy memory.messages FROM '@{[ samples('messages.csv') ]}' (FORMAT csv, HEADER)
SQL
is($loaded, "COPY 43\nCOPY 449", 'the samples are loaded, and counted');
is(problems_of($node), '', 'the tables agree with each other');
dump_views('postgres', 'samples', 'FORMAT csv, HEADER');
same_bytes("$dir/samples.conversations", samples('conversations.csv'), 'conversations come out as they went in');
same_bytes("$dir/samples.messages", samples('messages.csv'), 'messages come out as they went in');

# --- and to other databases: with tails, segments, gaps and what is hard on a format
$node->safe_psql('postgres', <<'SQL');
SELECT memory.append('hard', '00000000-0000-0000-0000-000000000001', role, content, model, tokens, metadata, message_id, parent, created)
FROM (VALUES
	('user', '', NULL, 0, NULL::jsonb, '', NULL::bigint, '0001-01-01'::timestamptz),
	('\N', E'\\N\n\\.\n\t"",''\r\n', '', 1, '{}', '\.', 1, '4713-01-01 BC'),
	('NULL', 'NULL', 'NULL', 2147483647, '{"a": null, "ü": "\"\\"}', 'NULL', 1, '294276-12-31 23:59:59.999999+00'),
	('"', E'\u00a0\u2028😀\u0001', '"', NULL, '{"": ""}', NULL, 0, '2026-01-01 00:00:00.000001')
) v (role, content, model, tokens, metadata, message_id, parent, created);
SELECT memory.append('hard', '00000000-0000-0000-0000-000000000002', 'user', 'message ' || i) FROM generate_series(1, 70) i;
DELETE FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000002' AND seq % 7 = 3;
SELECT memory.update_conversation('hard', '00000000-0000-0000-0000-000000000002', head_seq => 20, archived => true);
SELECT memory.create_conversation('empty', '00000000-0000-0000-0000-000000000003', E'no "message"\n', '{"a": [1, 2]}');
SELECT memory.seal('acme');
SQL
is($node->safe_psql('postgres',
	'SELECT (SELECT count(*) FROM memory_store.tail) > 0 AND (SELECT count(*) FROM memory_store.segments) > 0'),
	't', 'there are tails and segments');

for (
	[ 'text', 'FORMAT text' ],
	[ 'binary', 'FORMAT binary' ],
	[ 'csv', 'FORMAT csv, HEADER' ],
	[ 'csv_forced', "FORMAT csv, FORCE_QUOTE *, DELIMITER ';', ENCODING 'UTF8'" ])
{
	my ($name, $format) = @$_;
	my $database = new_database("copy_$name");
	(my $in = $format) =~ s/ FORCE_QUOTE \*,//;

	# before 18, COPY takes a line \. for the end of its input, be it within quotes
	$node->safe_psql('postgres', <<'SQL') if $name eq 'csv';
SELECT memory.edit_message('hard', '00000000-0000-0000-0000-000000000001', 2, replace(content, E'\n\\.\n', E'\n\\..\n'))
FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000001' AND seq = 2;
SQL

	dump_views('postgres', "$name.1", $format);
	$node->safe_psql($database, <<"SQL");
\\copy memory.conversations ($columns) FROM '$dir/$name.1.conversations' ($in)
\\copy memory.messages FROM '$dir/$name.1.messages' ($in)
SQL
	dump_views($database, "$name.2", $format);
	same_bytes("$dir/$name.2.$_", "$dir/$name.1.$_", "$name: $_ are the same in another database")
	  for qw(conversations messages derived);
	is(problems_of($node, $database), '', "$name: the tables agree");
}
is($node->safe_psql('copy_csv', 'SELECT count(*) > 0 FROM memory_store.conversations WHERE branched AND head_seq < next_seq - 1'),
	't', 'a head that is not the last message survives');
is($node->safe_psql('copy_csv', <<'SQL'), "71\n71|20", 'the next message answers a head that is not the last message');
SELECT memory.append('hard', '00000000-0000-0000-0000-000000000002', 'user', 'next');
SELECT seq, parent_seq FROM memory.messages WHERE conversation_id = '00000000-0000-0000-0000-000000000002' AND content = 'next';
SQL

# with the derived columns, which are ignored
my $whole = new_database('copy_whole');
$node->safe_psql($whole, <<"SQL");
\\copy memory.conversations FROM '$dir/csv.1.derived' (FORMAT csv, HEADER)
\\copy memory.messages FROM '$dir/csv.1.messages' (FORMAT csv, HEADER)
SQL
dump_views($whole, 'whole', 'FORMAT csv, HEADER');
same_bytes("$dir/whole.$_", "$dir/csv.1.$_", "SELECT * of both views can be loaded: $_") for qw(derived messages);

# messages alone: their conversations are made
my $alone = new_database('copy_alone');
$node->safe_psql($alone, "\\copy memory.messages FROM '$dir/csv.1.messages' (FORMAT csv, HEADER)");
dump_views($alone, 'alone', 'FORMAT csv, HEADER');
same_bytes("$dir/alone.messages", "$dir/csv.1.messages", 'messages alone are the same');
is(problems_of($node, $alone), '', 'messages alone: the tables agree');
# content_bytes counts titles and metadata of conversations, too, and these have none
my $counters = 'SELECT conversation_id, account_id, message_count, token_count,
	content_bytes - COALESCE(octet_length(title), 0) - COALESCE(octet_length(metadata::text), 0)
	FROM memory.conversations WHERE message_count > 0 ORDER BY 1';
is($node->safe_psql($alone, $counters), $node->safe_psql('postgres', $counters), 'messages alone: the counters are the same');
like(
	($node->psql($alone, "\\copy memory.conversations ($columns) FROM '$dir/csv.1.conversations' (FORMAT csv, HEADER)"))[2],
	qr/conversation \S+ already exists/,
	'conversations after their messages are refused');
dump_views($alone, 'refused', 'FORMAT csv, HEADER');
same_bytes("$dir/refused.$_", "$dir/alone.$_", "and change nothing: $_") for qw(derived messages);

# a message that names no account belongs to its conversation's
$node->safe_psql($alone, <<"SQL");
\\copy memory.messages (conversation_id, role, content) FROM PROGRAM 'echo 00000000-0000-0000-0000-000000000001,user,hi' (FORMAT csv)
SQL
is($node->safe_psql($alone, "SELECT account_id, seq, parent_seq FROM memory.messages WHERE content = 'hi'"), 'hard|5|4',
	'a row without an account belongs to the account of its conversation');

# --- interleaved conversations are packed as well as sorted ones
my $interleaved = new_database('interleaved');
my $sorted = new_database('sorted');
my @rows = map { my $i = $_; map { [ $_, $i ] } 1 .. 50 } 1 .. 130;
my $line = sub { sprintf("account %d,%s,%d,user,message %d of %d\n", $_->[0] % 5, conversation($_->[0]), $_->[1], $_->[1], $_->[0]) };
write_file("$dir/interleaved.csv", map { $line->() } @rows);
write_file("$dir/sorted.csv", map { $line->() } sort { $a->[0] % 5 <=> $b->[0] % 5 || $a->[0] <=> $b->[0] } @rows);
write_file("$dir/shuffled.csv",
	map { $line->() } sort { $a->[0] * 7919 % 101 + $a->[1] * 104729 % 103 <=> $b->[0] * 7919 % 101 + $b->[1] * 104729 % 103 } @rows);
my $shuffled = new_database('shuffled');
for my $name ($interleaved, $sorted, $shuffled)
{
	$node->safe_psql($name, <<"SQL");
SET work_mem = '64kB';
\\copy memory.messages (account_id, conversation_id, seq, role, content) FROM '$dir/$name.csv' (FORMAT csv)
SQL
}
my $packed = 'SELECT (SELECT count(*) FROM memory_store.segments) AS segments, (SELECT count(*) FROM memory_store.tail) AS tail';
is($node->safe_psql($sorted, $packed), '150|0', 'sorted rows make three segments a conversation');
is($node->safe_psql($interleaved, $packed), '150|0', 'interleaved rows make as many segments');
is($node->safe_psql($shuffled, $packed), '150|0', 'rows in no order at all are packed as well');
is($node->safe_psql($_,
	'SELECT md5(string_agg(m::text, E\'\n\')) FROM (SELECT account_id, conversation_id, seq, parent_seq, content FROM memory.messages
		ORDER BY 1, 2, 3) m'),
	$node->safe_psql($sorted,
		'SELECT md5(string_agg(m::text, E\'\n\')) FROM (SELECT account_id, conversation_id, seq, parent_seq, content FROM memory.messages
			ORDER BY 1, 2, 3) m'),
	"$_: the messages are the same")
  for $interleaved, $shuffled;

# --- a million rows in little memory
my $large = new_database('large');
my $generate = write_file("$dir/generate.pl", <<'PERL');
my ($rows, $conversations, $text) = @ARGV;
for my $i (0 .. $rows - 1)
{
	my $c = $i % $conversations;
	printf "account %d,%08x-0000-0000-0000-%012x,user,message %d %s\n", $c % 20, $c, $c, $i, $text;
}
PERL

# The most that the session has ever used, in kB, of which shared memory can be 16 MB; Linux only.
sub peak_of
{
	my ($database, $sql) = @_;
	my $peak = q{SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s*(\d+) kB')};

	return split /\n/, $node->safe_psql($database, "$peak;\n$sql\n$peak;");
}

SKIP:
{
	skip 'the memory of a backend is only known on Linux', 8 unless -r '/proc/self/status';

	my ($before, $after) = peak_of($large, <<"SQL");
SET work_mem = '4MB';
\\copy memory.messages (account_id, conversation_id, role, content) FROM PROGRAM 'perl $generate 1000000 1000 of many' (FORMAT csv)
SQL
	cmp_ok($after - $before, '<', 60 * 1024, 'a million rows in 1000 conversations need less than 60 MB');
	note("$before kB before, $after kB after");
	is(messages_in($large), '1000000', 'all rows are there');
	is($node->safe_psql($large, $packed), '16000|0', 'the rows are in full segments');

	# rows of 8 kB, so that keeping any part of a row for each shows
	my $padding = 'x' x 8000;
	($before, $after) = peak_of($large, <<"SQL");
SET work_mem = '4MB';
\\copy memory.messages (account_id, conversation_id, role, content) FROM PROGRAM 'perl $generate 20000 20000 $padding' (FORMAT csv)
SQL
	cmp_ok($after - $before, '<', 60 * 1024, '20000 rows of 8 kB, most in conversations of their own, need less than 60 MB');
	note("$before kB before, $after kB after");

	# all of it out: the conversation at hand, and the rows that are fetched at once
	foreach my $format ('native', 'openai')
	{
		($before, $after) = peak_of($large, "\\copy (SELECT memory.export('$format')) TO '/dev/null'");
		cmp_ok($after - $before, '<', 40 * 1024, "exporting 20000 conversations of 200 MB as $format needs less than 40 MB");
		note("$before kB before, $after kB after");
	}

	# one conversation of 80 MB, and a statement that changes all of it
	my $one = new_database('one');
	($before, $after) = peak_of($one, <<"SQL");
SET work_mem = '4MB';
\\copy memory.messages (account_id, conversation_id, role, content) FROM PROGRAM 'perl $generate 10000 1 @{[ 'x' x 8000 ]}' (FORMAT csv)
UPDATE memory.messages SET model = 'm';
SQL
	cmp_ok($after - $before, '<', 60 * 1024, '10000 rows of 8 kB in one conversation, and their UPDATE, need less than 60 MB');
	note("$before kB before, $after kB after");
	is(problems_of($node, $one), '', 'the tables agree after it');
}

my $log = slurp_file($node->logfile);
like($log, qr/temporary file: path/, 'rows went to temporary files');
my $temp_files = 'SELECT count(*) FROM pg_ls_tmpdir()';
is($node->safe_psql('postgres', $temp_files), '0', 'the temporary files are gone');

# --- COPYs that fail leave nothing
my $failing = new_database('failing');
$node->safe_psql($failing, "SELECT memory.append('account 1', '@{[ conversation(1) ]}', 'user', 'before')");
$node->safe_psql($failing,
	"SELECT memory.delete_conversation('account 6', memory.create_conversation('account 6', '@{[ conversation(97) ]}'))");
my $before = digest_of($node, $failing);
my @good = map { sprintf("account %d,%s,user,%s\n", $_ % 7, conversation($_ % 7), 'text ' . 'x' x 200) } 1 .. 5000;

sub fails_with
{
	my ($rows, $error, $name) = @_;
	write_file("$dir/failing.csv", @$rows);
	my ($status, $out, $err) = $node->psql($failing, <<"SQL", on_error_stop => 0);
\\set VERBOSITY verbose
SET work_mem = '64kB';
\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/failing.csv' (FORMAT csv)
SELECT memory.append('usable', '@{[ conversation(99) ]}', 'user', 'after');
SELECT memory.delete_conversation('usable', '@{[ conversation(99) ]}');
SQL
	like($err, $error, "$name: the error");
	is($out, "1\n2", "$name: the session goes on");
	$node->safe_psql($failing,
		"DELETE FROM memory_store.conversations WHERE account_id = 'usable'; DELETE FROM memory_store.accounts WHERE account_id = 'usable';
			DELETE FROM memory_store.usage_daily WHERE account_id = 'usable'");
	is(digest_of($node, $failing), $before, "$name: nothing is left");
	is($node->safe_psql('postgres', $temp_files), '0', "$name: no temporary file is left");
	return;
}
fails_with([ @good, "account 1,,user,no conversation\n" ], qr/ERROR:\s+22004: .*\n.*\n?.*\n?CONTEXT:  COPY messages, line 5001/,
	'a bad row at the end');
fails_with([ @good, "account 1," . conversation(1) . ",,no role\n" ], qr/ERROR:\s+22004: .*[\s\S]*CONTEXT:  COPY messages, line 5001/,
	'a row that the store refuses');
fails_with([ @good, "account 6," . conversation(97) . ",user,deleted\n" ], qr/ERROR:\s+55000: .*[\s\S]*CONTEXT:  COPY messages, line 5001/,
	'a row that fails when it is written');
fails_with([ @good, "account 1\n" ], qr/ERROR:\s+22P04: missing data/, 'a line that is cut off');

# --- cancelled while it writes: account 3 is held, so that it waits after accounts 0 to 2
write_file("$dir/good.csv", @good);
my $holder = $node->background_psql($failing);
$holder->query_safe('BEGIN');
$holder->query_safe("SELECT memory.append('account 3', '@{[ conversation(3) ]}', 'user', 'held')");

my ($in, $out, $err) = ('', '', '');
my $copier = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr($failing) ], '<', \$in, '>', \$out, '2>', \$err,
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$in .= <<"SQL";
SET application_name = 'copier';
SET work_mem = '64kB';
\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/good.csv' (FORMAT csv)
SELECT memory.append('usable', '@{[ conversation(99) ]}', 'user', 'after');
SELECT memory.delete_conversation('usable', '@{[ conversation(99) ]}');
\\q
SQL
$copier->pump_nb;
ok($node->poll_query_until($failing,
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'copier' AND wait_event_type = 'Lock' AND query LIKE 'COPY %'"),
	'the COPY is in the middle of its writing');
cmp_ok($node->safe_psql('postgres', $temp_files), '>', 0, 'the rows of a large COPY are in temporary files');
is($node->safe_psql($failing, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'copier'"), 't',
	'the COPY can be cancelled');
$copier->finish;
like($err, qr/ERROR:  canceling statement due to user request/, 'cancel: the error says so');
is($out, "1\n2\n", 'cancel: the session goes on');
is($node->safe_psql('postgres', $temp_files), '0', 'cancel: no temporary file is left');

my ($status, $stdout, $stderr) = $node->psql($failing, <<"SQL", on_error_stop => 0);
SET work_mem = '64kB';
SET statement_timeout = '1s';
\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/good.csv' (FORMAT csv)
SELECT 'goes on';
SQL
like($stderr, qr/ERROR:  canceling statement due to statement timeout/, 'timeout: the error says so');
is($stdout, 'goes on', 'timeout: the session goes on');
is($node->safe_psql('postgres', $temp_files), '0', 'timeout: no temporary file is left');

# caught within a transaction, which goes on
($status, $stdout, $stderr) = $node->psql($failing, <<"SQL", on_error_stop => 0);
SET work_mem = '64kB';
BEGIN;
SAVEPOINT s;
SET LOCAL lock_timeout = '100ms';
\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/good.csv' (FORMAT csv)
ROLLBACK TO s;
\\copy memory.messages (account_id, conversation_id, role, content) FROM PROGRAM 'echo caught,@{[ conversation(98) ]},user,hi' (FORMAT csv)
COMMIT;
SELECT content FROM memory.messages WHERE account_id = 'caught';
SQL
like($stderr, qr/ERROR:  canceling statement due to lock timeout/, 'savepoint: the error says so');
is($stdout, 'hi', 'savepoint: the transaction goes on');
is($node->safe_psql('postgres', $temp_files), '0', 'savepoint: no temporary file is left');
$node->safe_psql($failing,
	"DELETE FROM memory_store.$_ WHERE account_id IN ('usable', 'caught')") for qw(conversations accounts tail usage_daily);

$holder->query_safe('ROLLBACK');
$holder->quit;
is(digest_of($node, $failing), $before, 'nothing is left of the statements that failed');

# the same file is good
$node->safe_psql($failing, "\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/good.csv' (FORMAT csv)");
is(messages_in($failing), 5001, 'the same file can be loaded after the failures');
is(problems_of($node, $failing), '', 'the tables agree');

$node->stop;
done_testing();
