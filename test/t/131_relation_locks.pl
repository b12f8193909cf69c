# Two statements on memory.messages or memory.conversations over the same two
# accounts, whose rows come crosswise: a, b and b, a.  A function between the
# rows stops each in the middle, at a gate (an advisory lock), so that both are
# under way at the same time; no time decides.
#
# Statements write at their end and take the accounts in order of their names,
# whatever the order of their rows: neither waits for the other in a circle.
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('relation_locks');
$node->append_conf('postgresql.conf', "deadlock_timeout = 100ms\n");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
-- passes when nobody holds the gate
CREATE FUNCTION gate(number integer, passed text) RETURNS text VOLATILE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(number);
	RETURN passed;
END $$;
CREATE FUNCTION conversation(account text, number integer) RETURNS uuid IMMUTABLE LANGUAGE sql
	AS $$ SELECT lpad(ascii(account) || lpad(number::text, 4, '0'), 32, '0')::uuid $$;
-- of each account one conversation for both sessions and one for each
SELECT memory.append(account, conversation(account, number), 'user', 'message ' || i)
FROM (VALUES ('a'), ('b')) a (account), generate_series(0, 2) number, generate_series(1, 4) i;
SQL

my $keeper = $node->background_psql('postgres');

sub start_session
{
	my ($number, $sql) = @_;
	my %session = (name => "session $number", out => '', err => '');
	local $ENV{PGAPPNAME} = $session{name};
	$session{run} = IPC::Run::start([ 'psql', '-XAt', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres'), '-c', $sql ],
		'>', \$session{out}, '2>', \$session{err}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# Until the session waits at the gate, or for another session's lock.
sub wait_until_it_waits
{
	my ($session, $for) = @_;
	my $event = $for eq 'gate' ? "wait_event = 'advisory'" : "wait_event <> 'advisory'";
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$session->{name}' AND wait_event_type = 'Lock' AND $event");
}

# What a session said: its command's tag, or the SQLSTATE.
sub result_of
{
	my ($session) = @_;
	$session->{run}->finish;
	return $session->{err} =~ /ERROR:  (\w{5})/ ? $1 : ($session->{out} =~ /^([A-Z]+ .*)$/m)[0] // "$session->{out}$session->{err}";
}

# The rows that a session's statement is about, in its order.  Only the second meets the gate.
sub rows_of
{
	my ($number) = @_;
	my @accounts = $number == 1 ? qw(a b) : qw(b a);
	return "(VALUES (1, '$accounts[0]'), (2, '$accounts[1]')) v (n, account)";
}

sub gated
{
	my ($number) = @_;
	return "CASE v.n WHEN 2 THEN gate($number, 'of session $number') ELSE 'of session $number' END";
}

sub insert_sql
{
	my ($number, $columns, $values, $conversation) = @_;
	return "INSERT INTO memory.messages (account_id, conversation_id, role, content$columns)
		SELECT v.account, conversation(v.account, $conversation), 'user', "
	  . gated($number) . "$values FROM " . rows_of($number);
}

sub copy_sql
{
	my ($number) = @_;
	my $file = write_file("$dir/$number.csv",
		map { $_ . ',' . sprintf('%032s', ord($_) . '0000') . ",user,of session $number\n" } $number == 1 ? qw(a b) : qw(b a));
	return "COPY memory.messages (account_id, conversation_id, role, content) FROM '$file' (FORMAT csv) WHERE account_id = '"
	  . ($number == 1 ? 'a' : 'b') . "' OR gate($number, content) IS NOT NULL";
}

my %statements = (
	'INSERT' => sub { insert_sql($_[0], '', '', 0) },
	'INSERT of numbered messages' => sub { insert_sql($_[0], ', seq', ', 100 + ' . $_[0], 0) },
	'INSERT into new conversations' => sub { insert_sql($_[0], ', seq', ', v.n', 10 + $_[0]) },
	'COPY' => \&copy_sql,
	'UPDATE' => sub { "UPDATE memory.messages m SET content = " . gated($_[0]) . ' FROM ' . rows_of($_[0])
		. " WHERE m.account_id = v.account AND m.conversation_id = conversation(v.account, 0) AND m.seq = $_[0]" },
	'DELETE' => sub { 'DELETE FROM memory.messages m USING ' . rows_of($_[0])
		. " WHERE m.account_id = v.account AND m.conversation_id = conversation(v.account, 0) AND m.seq = 2 + $_[0]
			AND " . gated($_[0]) . ' IS NOT NULL' },
	'INSERT of conversations' => sub { "INSERT INTO memory.conversations (account_id, conversation_id, title)
		SELECT v.account, conversation(v.account, 20 + $_[0]), " . gated($_[0]) . ' FROM ' . rows_of($_[0]) },
	'UPDATE of conversations' => sub { 'UPDATE memory.conversations c SET title = ' . gated($_[0]) . ' FROM ' . rows_of($_[0])
		. " WHERE c.account_id = v.account AND c.conversation_id = conversation(v.account, $_[0])" },
	'DELETE of conversations' => sub { 'DELETE FROM memory.conversations c USING ' . rows_of($_[0])
		. " WHERE c.account_id = v.account AND c.conversation_id = conversation(v.account, $_[0]) AND " . gated($_[0]) . ' IS NOT NULL' });

# Starts both, and waits until each has had its first row and stands at its gate.
sub start_both
{
	my ($statement) = @_;
	$keeper->query_safe("SELECT pg_advisory_lock($_)") for 1, 2;
	my @sessions = map { start_session($_, $statement->($_)) } 1, 2;
	ok(wait_until_it_waits($_, 'gate'), "$_->{name} is in the middle of its rows") for @sessions;
	return @sessions;
}

sub open_gate { return $keeper->query_safe("SELECT pg_advisory_unlock($_[0])") }

# --- both go on at the same time.  Where the first row takes its account's lock, this is the circle.
my @sessions = start_both($statements{INSERT});
open_gate($_) for 1, 2;
my @results = sort map { result_of($_) } @sessions;
if ($relations_are_tables)
{
	is("@results", 'INSERT 0 2 INSERT 0 2', 'INSERT without seq crosswise: both are written');
}
else
{
	is("@results", '40P01 INSERT 0 2', 'INSERT without seq crosswise: each row of a view takes its account, a deadlock');
}
is($node->safe_psql('postgres',
	"SELECT string_agg(account_id || seq, ' ' ORDER BY account_id, seq) FROM memory.messages WHERE content LIKE 'of session%'"),
	$relations_are_tables ? 'a5 a6 b5 b6' : 'a5 b5', 'rows without seq are numbered without a gap');

# --- both have their rows; the account that comes second is held.  Session 2 writes first: if it took
# the accounts in the order of its rows, it would be the first to have b, while session 1 has a.
for my $kind ('INSERT', 'INSERT of numbered messages', 'INSERT into new conversations', 'COPY', 'UPDATE', 'DELETE',
	'INSERT of conversations', 'UPDATE of conversations', 'DELETE of conversations')
{
	next if $kind eq 'INSERT' && !$relations_are_tables;    # the deadlock above
	my @both = start_both($statements{$kind});
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN');
	$holder->query_safe("SELECT memory.append('b', conversation('b', 99), 'user', 'held')");
	for my $number (2, 1)
	{
		open_gate($number);
		ok(wait_until_it_waits($both[ $number - 1 ], 'lock'), "$kind: session $number waits for an account");
	}
	$holder->query_safe('COMMIT');
	$holder->quit;
	my ($tag) = $kind =~ /^(\w+)/;
	$tag = $tag eq 'INSERT' ? 'INSERT 0 2' : "$tag 2";
	is(join(', ', map { result_of($_) } @both), "$tag, $tag", "$kind crosswise: both are written");
}

$keeper->quit;
is($node->safe_psql('postgres',
	"SELECT account_id, string_agg(seq || ' ' || content, ', ' ORDER BY seq) FROM memory.messages
		WHERE conversation_id = conversation(account_id, 0) AND seq < 3 GROUP BY 1 ORDER BY 1"),
	"a|1 of session 1, 2 of session 2\nb|1 of session 1, 2 of session 2", 'what they wrote is there');
is(problems_of($node), '', 'the tables of the store agree with each other');
$node->stop;
done_testing();
