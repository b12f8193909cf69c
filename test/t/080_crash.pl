# The whole server is killed (kill -9, the postmaster and all its processes) at random moments while
# clients append, COPY, edit, delete, seal, compact and forget.  After each restart, what a client was told
# is so: every acknowledged message is there, once; what was erased is gone; verify() finds nothing.
#
# ROUNDS in the environment sets how often; CRASH_SEED repeats the moments of an earlier run, more or less.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

plan skip_all => 'finds the server\'s processes in /proc' unless -r '/proc/self/stat';

my $rounds = $ENV{ROUNDS} || 8;
my $seed = $ENV{CRASH_SEED} || int(rand(2**31));
srand($seed);
note("CRASH_SEED=$seed");

my $node = new_server('crash');
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.segment_messages = 8
memory_ext.seal_after = 0
memory_ext.compact_after = 0
memory_ext.compact_compression = 'zstd:9'
memory_ext.purge_after = 0
max_wal_size = 64MB
checkpoint_timeout = 30s
log_statement = none
CONF
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $pgdata = $node->data_dir;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE FUNCTION c(a integer, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(to_char(a, 'FM000000') || to_char(n, 'FM000000'), 32, '0')::uuid $$;
-- a dictionary of an account's text, as training makes one
CREATE FUNCTION plant(account text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	bytes bytea := convert_to(account || ': the index is scanned because the planner expects few rows', 'UTF8');
BEGIN
	LOCK TABLE memory_store.dictionaries IN SHARE ROW EXCLUSIVE MODE;
	UPDATE memory_store.dictionaries SET is_current = false WHERE is_current;
	INSERT INTO memory_store.dictionaries
		VALUES (('x' || left(encode(sha256(bytes), 'hex'), 8))::bit(32)::bigint, clock_timestamp(), 1, 1, 2, 1, true, NULL, bytes);
	INSERT INTO memory_store.dictionary_accounts SELECT dictionary_id, account FROM memory_store.dictionaries WHERE is_current;
END $$;
-- what clients were told; loaded when the server is up again
CREATE TABLE told (kind text, conversation_id uuid, seq bigint, what text);
CREATE INDEX ON told (conversation_id, seq);
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'editor', c(8, 1), 'user', '0' FROM generate_series(1, 30) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'editor', c(8, 2), 'user', 'to be deleted: ' || i FROM generate_series(1, 20000) i;
SQL

# --- what the clients do, in order, until they lose their connection; each line of output is a promise kept
my $edits = 0;
my $deletes = 0;

sub append_script
{
	my ($round, $client) = @_;
	return map {
		my $c = "c($client, " . ($_ % 5) . ')';
		my $text = "$client.$round.$_: the index is scanned because the planner expects few rows";
		"SELECT 'message', $c, memory.append('writer $client', $c, 'user', '$text'), '$text';\n"
	} 1 .. 4000;
}

sub copy_script
{
	my ($round) = @_;
	return map {
		my $n = $_;
		my $c = '0' x 20 . sprintf('%06d%06d', 7, $n % 3);
		"COPY memory.messages (account_id, conversation_id, role, content) FROM STDIN (FORMAT csv);\n"
		  . join('', map { "copier,$c,user,copy $round.$n row $_\n" } 1 .. 20)
		  . "\\.\n\\echo copy|||$round.$n\n"
	} 1 .. 4000;
}

sub edit_script
{
	my ($round) = @_;
	return map {
		my $seq = 1 + $_ % 30;
		("SELECT 'edit', c(8, 1), $seq, $_ FROM memory.edit_message('editor', c(8, 1), $seq, '$_');\n")
	} $edits + 1 .. $edits + 2000;
}

sub delete_script
{
	return map {
		("SELECT 'delete', c(8, 2), $_, '' FROM memory.delete_message('editor', c(8, 2), $_);\n")
	} $deletes + 1 .. $deletes + 1500;
}

sub forget_script
{
	my ($round) = @_;
	return map {
		my $account = "forgotten $round.$_";
		"SELECT count(*) > 9 FROM (SELECT memory.append('$account', c(9, " . ($round * 1000 + $_)
			. "), 'user', 'words of $account ' || i) FROM generate_series(1, 9) i) x;\n"
		  . "SELECT plant('$account') IS NULL;\n"
		  . "SELECT 'forget', NULL, NULL, memory.forget('$account') ->> 'account_id';\n"
	} 1 .. 900;
}

sub maintain_script
{
	return ("CALL memory.maintain();\n", "SELECT memory.seal() < 0;\n") x 500;
}

sub start_client
{
	my ($round, $name, @script) = @_;
	my $file = write_file("$dir/$name.sql", "SET application_name = 'client $name';\nSET client_min_messages = error;\n", @script);
	my ($out, $err) = ('', '');
	return {
		name => $name,
		out => \$out,
		err => \$err,
		run => IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $file ], '<', \'', '>', \$out,
			'2>', \$err)
	};
}

# --- the end of the server

# The state and the parent of a process; () if there is none.
sub process
{
	my ($pid) = @_;
	open(my $in, '<', "/proc/$pid/stat") or return ();
	my $stat = <$in> // '';
	return $stat =~ /\) (\S) (\d+)/ ? ($1, $2) : ();
}

sub alive
{
	my ($state) = process($_[0]);
	return defined $state && $state !~ /[ZX]/;
}

sub kill_server
{
	my $postmaster;
	for (1 .. 600)
	{
		($postmaster) = -e "$pgdata/postmaster.pid" ? slurp_file("$pgdata/postmaster.pid") =~ /^(\d+)\n/ : ();
		last if defined $postmaster && alive($postmaster);
		usleep(100_000);
	}
	kill STOP => $postmaster;    # it starts no other
	my @children = grep { ((process($_))[1] // 0) == $postmaster } map { m{(\d+)$} } glob '/proc/[0-9]*';
	kill KILL => @children, $postmaster;
	$node->kill9;
	for (1 .. 1800)
	{
		last unless grep { alive($_) } $postmaster, @children;
		usleep(100_000);
	}
	# while nobody has reaped it, the next one takes it for a server; in a container that may be for ever
	for (1 .. 50)
	{
		last unless kill 0 => $postmaster;
		usleep(100_000);
	}
	unlink "$pgdata/postmaster.pid" if !alive($postmaster) && kill(0 => $postmaster);
	return scalar @children;
}

# --- rounds
my %told;
for my $round (1 .. $rounds)
{
	my @clients = (
		(map { start_client($round, "append $_", append_script($round, $_)) } 1 .. 2),
		start_client($round, 'copy', copy_script($round)),
		start_client($round, 'edit', edit_script($round)),
		start_client($round, 'delete', delete_script($round)),
		start_client($round, 'forget', forget_script($round)),
		start_client($round, 'maintain', maintain_script($round)));
	$node->poll_query_until('postgres',
		"SELECT count(*) = " . @clients . " FROM pg_stat_activity WHERE application_name LIKE 'client %' AND query !~ 'SET'")
	  or die 'the clients do not connect';
	usleep(50_000 + int(rand(500_000)));
	my $processes = kill_server();
	cmp_ok($processes, '>', @clients, "round $round: the server and its $processes processes are killed");
	my @trouble;
	for my $client (@clients)
	{
		$client->{run}->finish;
		push @trouble, "$client->{name}: ${$client->{err}}"
		  
		  if ${ $client->{err} } !~ /server closed the connection|connection to server|terminating connection/;
	}
	is("@trouble", '', "round $round: the clients worked until then");

	# every third time, once more while it recovers
	if ($round % 3 == 0)
	{
		system_or_bail('pg_ctl', '-W', '-s', '-D', $node->data_dir, '-l', $node->logfile, 'start');
		usleep(int(rand(60_000)));
		kill_server();
	}
	$node->start;

	my @lines = grep { /\|/ } map { split /\n/, ${ $_->{out} } } @clients;
	for (@lines)
	{
		my ($kind, undef, $seq, $what) = split /\|/, $_, 4;
		$told{$kind}++;
		$edits = $what if $kind eq 'edit' && $what > $edits;
		$deletes = $seq if $kind eq 'delete' && $seq > $deletes;
	}
	write_file("$dir/told", map { "$_\n" } @lines);
	$node->safe_psql('postgres', "\\copy told FROM '$dir/told' (DELIMITER '|', NULL '')");

	is($node->safe_psql('postgres', 'SELECT v::text FROM memory.verify() v UNION ALL SELECT u::text FROM memory.usage_drift u'), '',
		"round $round: verify() finds nothing, and usage has not drifted");
	is($node->safe_psql('postgres', <<'SQL'), '', "round $round: all that was acknowledged is so, once");
SELECT 'lost', t.* FROM told t LEFT JOIN memory.messages m USING (conversation_id, seq) WHERE kind = 'message'
	AND m.content IS DISTINCT FROM t.what
UNION ALL
SELECT 'twice', NULL, NULL, count(*), content FROM memory.messages WHERE account_id LIKE 'writer %' OR account_id = 'copier'
	GROUP BY content HAVING count(*) > 1
UNION ALL
SELECT 'copied by halves', NULL, NULL, rows, copy FROM told t
	FULL JOIN (SELECT substring(content, 'copy (\S+)') AS copy, count(*) AS rows FROM memory.messages WHERE account_id = 'copier'
		GROUP BY 1) c ON c.copy = t.what
	WHERE coalesce(kind = 'copy', true) AND rows IS DISTINCT FROM 20
UNION ALL
SELECT 'edit lost', NULL, conversation_id, seq, content FROM memory.messages m
	JOIN (SELECT conversation_id, seq, max(what::bigint) AS last FROM told WHERE kind = 'edit' GROUP BY 1, 2) t USING (conversation_id, seq)
	WHERE content::bigint < last
UNION ALL
SELECT 'not deleted', t.* FROM told t JOIN memory.messages USING (conversation_id, seq) WHERE kind = 'delete'
UNION ALL
SELECT 'not forgotten', NULL, NULL, count(*), account_id FROM told t JOIN (
	SELECT account_id FROM memory_store.accounts UNION ALL SELECT account_id FROM memory_store.conversations
	UNION ALL SELECT account_id FROM memory_store.segments UNION ALL SELECT account_id FROM memory_store.tail
	UNION ALL SELECT account_id FROM memory_store.dictionary_accounts) a ON a.account_id = t.what WHERE kind = 'forget' GROUP BY account_id
UNION ALL
SELECT 'a dictionary of forgotten text', NULL, NULL, dictionary_id, NULL FROM memory_store.dictionaries d
	WHERE stale_at IS NULL AND EXISTS (SELECT FROM told WHERE kind = 'forget' AND convert_from(body, 'UTF8') LIKE what || ':%')
LIMIT 10
SQL
	# at most one of each client was done without its knowing
	is($node->safe_psql('postgres', <<"SQL"), '', "round $round: hardly anything else is there");
SELECT 'unknown messages', account_id, unknown FROM (SELECT account_id, count(*) - (SELECT count(*) FROM told t WHERE kind = 'message'
	AND t.conversation_id = ANY (array_agg(DISTINCT m.conversation_id))) AS unknown
	FROM memory.messages m WHERE account_id LIKE 'writer %' GROUP BY 1) x WHERE unknown > $round
UNION ALL
SELECT 'copies', NULL, count(DISTINCT substring(content, 'copy (\\S+)')) FROM memory.messages WHERE account_id = 'copier'
	HAVING count(DISTINCT substring(content, 'copy (\\S+)')) > $round + (SELECT count(*) FROM told WHERE kind = 'copy')
UNION ALL
SELECT 'deleted', NULL, count(*) FROM memory.messages WHERE conversation_id = c(8, 2)
	HAVING 20000 - count(*) > $round + (SELECT count(*) FROM told WHERE kind = 'delete')
SQL
	# the one that may have been done
	$edits += 1;
	$deletes += 1;
}

# --- in the end
note("$_: $told{$_}") for sort keys %told;
cmp_ok($told{$_} // 0, '>=', $rounds, "clients were told: $_") for qw(message copy edit delete forget);
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM memory_store.segments'), '>', 10, 'the clients\' messages are in segments, too');
is(problems_of($node), '', 'the tables agree with each other');
$node->safe_psql('postgres', 'CALL memory.maintain()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory_store.dictionaries WHERE stale_at IS NOT NULL'), '0', 'maintenance goes on');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing');

$node->stop;
done_testing();
