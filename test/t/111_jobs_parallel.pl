# Several workers on one account, and other writers beside them: what a batch makes ready before it
# has the account's lock is right under it, whatever others have stored meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = new_server('parallel');
$node->append_conf('postgresql.conf', "max_worker_processes = 6\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');

sub document
{
	my ($n, $account, $messages) = @_;
	my $list = join ', ', map { sprintf '{"role": "user", "content": "%s", "model": "m-%s", "created_at": "2024-01-01T00:%02d:00Z"}', "$n.$_",
		$n, $_ % 60 } 1 .. $messages // 3;
	return sprintf qq({"conversation_id": "%s", "account_id": "%s", "messages": [%s]}\n), conversation($n), $account, $list;
}

sub problems
{
	return problems_of($node) . $node->safe_psql('postgres',
		'SELECT v::text FROM memory.verify() v UNION ALL SELECT u::text FROM memory.usage_drift u');
}

# --- others store some of the batch's conversations while it waits for the account

my $file = write_file("$dir/lines", map { document($_, 'x') } 1 .. 100);
{
	my ($in, $out, $err) = ('', '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	$in .= "BEGIN;\n";
	# 10 is the same, 20 has less, 30 something else, 40 is also another account's, 50 is deleted, 60 has another branch
	$in .= sprintf "SELECT memory.import_document(NULL, '%s');\n", $_ =~ s/\n//r
	  for document(10, 'x'), document(20, 'x', 1), document(30, 'x') =~ s/30\.2/other/r, document(40, 'y'), document(50, 'x'), document(60,
		'x', 2);
	$in .= sprintf "SELECT memory.delete_conversation('x', '%s');\n", conversation(50);
	$in .= sprintf "SELECT memory.append('x', '%s', 'user', '60.3');\n\\echo ready\n", conversation(60);
	$run->pump until $out =~ /ready/ || $err ne '';
	is($err, '', 'another session writes');
	my $job = $node->safe_psql('postgres', "CALL memory.import_file('$file', on_error => 'skip', wait => false)");
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'memory_ext job $job' AND wait_event_type = 'Lock'")
	  or die 'the worker does not wait';
	$in .= "COMMIT;\n\\q\n";
	$run->finish;
	$node->poll_query_until('postgres', "SELECT state = 'finished' FROM memory.jobs WHERE job_id = $job") or die 'the job does not end';
	is($node->safe_psql('postgres',
		"SELECT documents, imported, extended, unchanged, rejected, messages FROM memory.jobs WHERE job_id = $job"),
		'100|95|1|2|2|287', 'what others have stored meanwhile is seen');
	is($node->safe_psql('postgres', "SELECT document, reason FROM memory.job_errors WHERE job_id = $job ORDER BY 1"),
		"30|conflict\n50|deleted", 'what contradicts others\' messages is refused');
	is($node->safe_psql('postgres', "SELECT count(*), sum(message_count) FROM memory.conversations WHERE account_id = 'x'"), '99|297',
		'each is there once');
	is(problems(), '', 'all is well');
	$job = $node->safe_psql('postgres', "CALL memory.import_file('$file', on_error => 'skip')");
	is($node->safe_psql('postgres', "SELECT unchanged, rejected FROM memory.jobs WHERE job_id = $job"), '98|2',
		'another import finds nothing new');
	is($node->safe_psql('postgres', "SELECT count(DISTINCT revision) FROM memory.recent_conversations('x', max_conversations => NULL)"),
		$node->safe_psql('postgres',
			"SELECT count(DISTINCT revision) FROM memory_store.conversations WHERE account_id = 'x' AND deleted_at IS NULL"),
				'each conversation is listed once');
}

# --- a conversation that two accounts' documents name, in one batch

{
	my $both = write_file("$dir/both", (map { document($_, 'x') } 201 .. 250), document(225, 'z'));
	$node->safe_psql('postgres', "CALL memory.import_file('$both')");
	is($node->safe_psql('postgres',
		"SELECT account_id, message_count FROM memory.conversations WHERE conversation_id = '" . conversation(225) . "' ORDER BY 1"), "x|3\nz|3",
		'is two conversations');
	is(problems(), '', 'all is well');
}

# --- one account, several workers, beside a writer: revisions come in the order of commits

{
	my $large = write_file("$dir/large", map { document($_, 'one', 1 + $_ % 100) } 1001 .. 3000);
	my ($in, $out, $err) = ('', '', '');
	my $writer = write_file("$dir/writer.sql", "SELECT memory.append('one', '" . conversation(9999) . "', 'user', 'beside');\n");
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '1', '-t', '300', '-f', $writer, $node->connstr('postgres') ], '<', \undef, '>',
		\$out, '2>', \$err);
	# a reader that goes on from the last revision it has seen must meet every conversation
	$node->safe_psql('postgres',
		'CREATE TABLE seen (conversation_id uuid, revision bigint); CREATE TABLE cursor (revision bigint); INSERT INTO cursor VALUES (0)');
	my $job = $node->safe_psql('postgres', "CALL memory.import_file('$large', workers => 3, batch_size => 60, wait => false)");
	my $read = <<'SQL';
WITH new AS (INSERT INTO seen SELECT conversation_id, revision FROM memory_store.conversations
	WHERE account_id = 'one' AND revision > (SELECT revision FROM cursor) RETURNING revision)
UPDATE cursor SET revision = GREATEST(revision, (SELECT max(revision) FROM new))
SQL
	my $state;
	do
	{
		$state = $node->safe_psql('postgres', "SELECT state FROM memory.jobs WHERE job_id = $job");
		$node->safe_psql('postgres', $read);
	} until ($state eq 'finished' || $state eq 'failed');
	$bench->finish;
	$node->safe_psql('postgres', $read);
	is($state, 'finished', 'three workers and a writer on one account finish');
	is($node->safe_psql('postgres', "SELECT imported FROM memory.jobs WHERE job_id = $job"), '2000', 'all is imported');
	is($node->safe_psql('postgres',
		"SELECT count(*) FROM memory_store.conversations c WHERE account_id = 'one' AND NOT EXISTS (SELECT FROM seen s
			WHERE (s.conversation_id, s.revision) = (c.conversation_id, c.revision))"),
		'0', 'who follows the revisions has missed nothing');
	is(problems(), '', 'all is well');
}

# --- a database's defaults for its sessions are not the workers'

{
	my $file = write_file("$dir/defaults", map { document($_, 'defaults', 1 + $_ % 60) } 5001 .. 7000);
	$node->safe_psql('postgres', "ALTER DATABASE postgres SET $_")
	  for "default_transaction_isolation = 'serializable'", "lock_timeout = '1ms'", 'default_transaction_read_only = on';
	my (undef, undef, $err) = $node->psql('postgres',
		"SET default_transaction_read_only = off; CALL memory.import_file('$file', workers => 3, batch_size => 20)");
	$node->safe_psql('postgres', 'BEGIN READ WRITE; ALTER DATABASE postgres RESET ALL; COMMIT');
	like($err, qr/2000 documents, 2000 imported/,
		'workers wait for locks and see what others stored, whatever the database sets for its sessions');
	is(problems(), '', 'all is well');
}

# --- plans: what is made ready is charged under the lock, all of it or nothing

{
	$node->safe_psql('postgres', <<'SQL');
INSERT INTO memory.plans (plan_id) VALUES ('small');
INSERT INTO memory.plan_limits (plan_id, meter, limit_value, period) VALUES ('small', 'conversations', 150, 'current');
SELECT memory.subscribe('s', 'small');
SELECT memory.set_subscription(a, 's') FROM unnest('{p,q}'::text[]) a;
SQL
	my $fits = write_file("$dir/fits", map { document($_, $_ % 2 ? 'p' : 'q') } 4001 .. 4100);
	my $more = write_file("$dir/more", map { document($_, $_ % 2 ? 'p' : 'q') } 4101 .. 4200);
	is(($node->psql('postgres', "CALL memory.import_file('$fits', workers => 2, batch_size => 30)"))[0], 0,
		'an import within the limit succeeds');
	like(($node->psql('postgres', "CALL memory.import_file('$more')"))[2], qr/has failed: .*conversations/,
		'an import beyond the limit fails');
	is($node->safe_psql('postgres', "SELECT count(*) FROM memory.conversations WHERE account_id IN ('p', 'q')"), '100',
		'an import beyond the limit stores nothing');
	is($node->safe_psql('postgres', "SELECT used FROM memory.quota_usage WHERE subscription_id = 's' AND meter = 'conversations'"), '100',
		'a document over the quota uses nothing');
	is(problems(), '', 'all is well');
}

$node->stop;
done_testing();
