# Imports by background workers: whatever ends in the middle, each document is there once after
# memory.resume_job; jobs can be cancelled, waited for and refused.
#
# A worker is stopped at a known place by a session that holds the lock of an account: the
# documents of account 'a held' wait for it.
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

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = new_server('jobs');
$node->append_conf('postgresql.conf', "restart_after_crash = on\nmax_worker_processes = 6\nlog_min_messages = info\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE loader LOGIN;
CREATE ROLE other LOGIN;
SELECT memory.grant_access(r, 'writer') FROM unnest('{loader,other}'::name[]) r;
GRANT pg_read_server_files TO loader;
SQL

# --- documents: the n-th has n % 3 + 1 messages

sub document
{
	my ($n, $account) = @_;
	my @messages = map { qq({"role": "user", "content": "$n.$_: the index is scanned [{\\"because\\"}] of few rows"}) } 0 .. $n % 3;
	return sprintf('{"conversation_id": "%s", "account_id": "%s", "messages": [%s]}', conversation($n), $account, join(', ', @messages));
}

# So many documents; one in the middle is of account 'a held'.
sub documents
{
	my ($count, $first) = @_;
	$first //= 1;
	return map { document($_, $_ == $first + int($count / 2) ? 'a held' : 'account ' . int($_ / 100)) } $first .. $first + $count - 1;
}

# What a query says must come to be so.
sub wait_for
{
	my ($sql, $what) = @_;
	$node->poll_query_until('postgres', $sql) or die "never: $what";
	return;
}

# '' if the documents first to last are there, each message once, and nothing else.
sub differences
{
	my ($first, $last) = @_;
	return $node->safe_psql('postgres', <<"SQL");
SELECT coalesce(n, m.n2), c, messages FROM (
	SELECT n, lpad(to_hex(n), 8, '0') || '-0000-0000-0000-' || lpad(to_hex(n), 12, '0') AS id FROM generate_series($first, $last) n) e
FULL JOIN (
	SELECT conversation_id::text AS id, 0 AS n2, count(*) AS messages, string_agg(split_part(content, ':', 1), ',' ORDER BY seq) AS c
	FROM memory.messages GROUP BY 1) m USING (id)
WHERE c IS DISTINCT FROM (SELECT string_agg(n || '.' || i, ',' ORDER BY i) FROM generate_series(0, n % 3) i)
LIMIT 5
SQL
}

sub problems
{
	return $node->safe_psql('postgres', 'SELECT v::text FROM memory.verify() v UNION ALL SELECT u::text FROM memory.usage_drift u');
}

sub clear
{
	$node->safe_psql('postgres', 'SELECT memory.forget(account_id) FROM memory_store.accounts');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.messages'), '0', 'the store is empty again');
	return;
}

# A session that runs a statement and keeps its transaction open.
sub open_session
{
	my ($sql) = @_;
	my ($in, $out, $err) = ("$sql;\n\\echo ready\n", '', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	$run->pump until $out =~ /ready/ || $err ne '';
	die $err if $err ne '';
	return { run => $run, in => \$in, out => \$out, err => \$err };
}

sub hold_account
{
	return open_session("BEGIN; SELECT memory.append('a held', '" . conversation(999_999) . "', 'user', 'x')");
}

sub let_go
{
	my ($session) = @_;
	${ $session->{in} } = "ROLLBACK;\n\\q\n";
	eval { $session->{run}->finish };    # after a crash it has no server
	return;
}

# Starts a job that does not wait; its id.
sub start_job
{
	my ($call) = @_;
	return $node->safe_psql('postgres', "CALL $call");
}

sub state_of
{
	my ($job) = @_;
	return $node->safe_psql('postgres', "SELECT state FROM memory.jobs WHERE job_id = $job");
}

sub worker_waits
{
	my ($job) = @_;
	wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND application_name = 'memory_ext job $job'
		AND wait_event_type = 'Lock'",
		"a worker of job $job waits for the account");
	return;
}

# --- every shape of file, by one worker and by several

my @small = documents(500);
my %shapes = (
	'lines' => join("\n", @small) . "\n",
	'lines without an end' => join("\r\n", @small),
	'an array' => '[' . join(', ', @small) . ']',
	'an array over lines' => "\xef\xbb\xbf[\n" . join(",\n", map { s/, "messages"/,\n "messages"/r } @small) . "\n]\n",
	'one behind the other' => join('', @small),
	'without bytes' => '');
foreach my $shape (sort keys %shapes)
{
	my $file = write_file("$dir/shape", $shapes{$shape});
	my $documents = $shape eq 'without bytes' ? 0 : 500;
	foreach my $workers (1, 3)
	{
		my ($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$file', workers => $workers, batch_size => 7)");
		is($status, 0, "$shape, $workers workers") or diag($err);
		like($err, qr/INFO:  job $out is finished: $documents documents/, 'a notice says that the job has ended');
		is($node->safe_psql('postgres',
			"SELECT state, documents, imported + unchanged, rejected, bytes = total_bytes, percent FROM memory.jobs WHERE job_id = $out"),
			"finished|$documents|$documents|0|t|100.0", 'the job is finished');
		is(differences(1, $documents), '', 'all documents are there');
		is($node->safe_psql('postgres', "SELECT imported FROM memory.jobs WHERE job_id = $out"), $workers == 1 ? $documents : 0,
			'the documents are imported once, then unchanged');
	}
	is(problems(), '', 'no check finds a problem after the imports');
	clear();
}

# --- a worker is killed, which restarts the server; the server is killed; in the middle of a file

my $count = 3000;
my %large = (
	lines => write_file("$dir/lines", map { "$_\n" } documents($count)),
	array => write_file("$dir/array", "[\n" . join(",\n", documents($count)) . "\n]\n"));
foreach my $case ([ 'lines', 1 ], [ 'lines', 2 ], [ 'array', 2 ])
{
	my ($shape, $workers) = @$case;
	foreach my $victim ('worker', 'server')
	{
		my $session = hold_account();
		my $job = start_job("memory.import_file('$large{$shape}', workers => $workers, batch_size => 50, wait => false)");
		worker_waits($job);
		# with two workers the other one goes on to the file's end
		wait_for("SELECT documents = $count - 50 FROM memory.jobs WHERE job_id = $job", 'the other worker is done') if $workers == 2;
		my $done = $node->safe_psql('postgres', "SELECT documents FROM memory.jobs WHERE job_id = $job");
		cmp_ok($done, '<', $count, "$shape, $workers workers, the $victim is killed after $done documents");
		cmp_ok($done, '>', 0, 'some documents were done before it was killed');
		my ($pid) = split /\n/, $node->safe_psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND wait_event_type = 'Lock'");
		if ($victim eq 'worker')
		{
			my $log = -s $node->logfile;
			kill KILL => $pid;
			$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
			# a psql that connects before that dies with what it was to read unread
			$node->wait_for_log(qr/database system is ready to accept connections/, $log);
		}
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		let_go($session);
		is(state_of($job), 'interrupted', 'the job is interrupted');
		is($node->safe_psql('postgres', "SELECT documents FROM memory.jobs WHERE job_id = $job"), $done, 'what was done is done');
		is($node->safe_psql('postgres', "SELECT count(DISTINCT conversation_id) FROM memory.messages"), $done,
			'what is counted as done is stored');
		my ($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($job)");
		is($status, 0, 'it is resumed') or diag($err);
		is($node->safe_psql('postgres', "SELECT state, documents, imported, unchanged FROM memory.jobs WHERE job_id = $job"),
			"finished|$count|$count|0", 'each document was imported once');
		is(differences(1, $count), '', 'all documents are there after the restart');
		is(problems(), '', 'no check finds a problem after the resumption');
		my $again = start_job("memory.import_file('$large{$shape}')");
		is($node->safe_psql('postgres', "SELECT documents, unchanged FROM memory.jobs WHERE job_id = $again"), "$count|$count",
			'another import changes nothing');
		clear();
	}
}

# --- cancelled by a function, and by cancelling who waits

{
	my $session = hold_account();
	my $job = start_job("memory.import_file('$large{lines}', batch_size => 50, wait => false)");
	worker_waits($job);
	like(($node->psql('postgres', "CALL memory.resume_job($job)"))[2], qr/ERROR:  job $job is being worked on/,
		'a running job is not resumed');
	is($node->safe_psql('postgres', "SELECT memory.cancel_job($job)"), 't', 'a job is cancelled');
	is(state_of($job), 'running', 'a cancelled job is at work until its batch is stored');
	let_go($session);
	wait_for("SELECT state = 'cancelled' FROM memory.jobs WHERE job_id = $job", 'cancelled');
	my $done = $node->safe_psql('postgres', "SELECT documents FROM memory.jobs WHERE job_id = $job");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.conversations'), $done, 'what is stored is counted');
	cmp_ok($done, '<', $count, 'not all was stored before the cancellation');
	is($node->safe_psql('postgres', "SELECT memory.cancel_job($job)"), 'f', 'a cancelled job cannot be cancelled again');
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($job, workers => 2)");
	is($status, 0, 'it is resumed, with two workers') or diag($err);
	is($node->safe_psql('postgres', "SELECT state, documents, imported, workers FROM memory.jobs WHERE job_id = $job"),
		"finished|$count|$count|2", 'the resumed job works to its end');
	is(differences(1, $count), '', 'all documents are there');
	like(($node->psql('postgres', "CALL memory.resume_job($job)"))[2], qr/ERROR:  job $job is finished/, 'a finished job is not resumed');
	clear();
}

foreach my $how ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $session = hold_account();
	my ($out, $err) = ('', '');
	my $caller = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=caller', '-c',
		"CALL memory.import_file('$large{lines}', batch_size => 50)" ],
		'<', \undef, '>', \$out, '2>', \$err);
	wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND wait_event_type = 'Lock'",
		'a worker waits');
	my $job = $node->safe_psql('postgres', 'SELECT max(job_id) FROM memory.jobs');
	# the progress line comes every few seconds
	$caller->pump until $err =~ /INFO/;
	like($err, qr/^INFO:  job $job: [0-9.]+ %, [1-9][0-9]* documents, [0-9]+ messages\/s, [0-9.]+ MB\/s, .* left$/m, 'progress is told');
	$node->safe_psql('postgres', "SELECT $how(pid) FROM pg_stat_activity WHERE application_name = 'caller'");
	$caller->finish;
	wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'memory_ext job'", 'the worker ends with its caller');
	is(state_of($job), 'interrupted', "$how: the job is interrupted");
	let_go($session);
	is($node->safe_psql('postgres', "SELECT memory.cancel_job($job)"), 't', 'nobody works on it, so it is cancelled');
	is(state_of($job), 'cancelled', 'the job is cancelled at once');
	is(($node->psql('postgres', "CALL memory.resume_job($job)"))[0], 0, 'a job that has lost its workers is resumed');
	is(differences(1, $count), '', 'all documents are there');
	clear();
}

# --- neither shutdown nor DROP DATABASE waits for a worker

$node->safe_psql('postgres', 'CREATE DATABASE doomed TEMPLATE template0');
$node->safe_psql('doomed', 'CREATE EXTENSION memory_ext');
{
	my ($in, $out, $err) = ("BEGIN; SELECT memory.append('a held', gen_random_uuid(), 'user', 'x');\n\\echo ready\n", '', '');
	my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('doomed') ], '<', \$in, '>', \$out, '2>', \$err);
	$holder->pump until $out =~ /ready/;
	$node->safe_psql('doomed', "CALL memory.import_file('$large{lines}', batch_size => 50, wait => false)");
	wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND wait_event_type = 'Lock'",
		'a worker waits');
	$node->safe_psql('postgres', 'DROP DATABASE doomed WITH (FORCE)');
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'memory_ext job'"), '0',
		'DROP DATABASE (FORCE) ends the worker');
	eval { $holder->finish };
	my $session = hold_account();
	my $job = start_job("memory.import_file('$large{lines}', batch_size => 50, wait => false)");
	worker_waits($job);
	$node->stop('fast');
	$node->start;
	let_go($session);
	is(state_of($job), 'interrupted', 'a shutdown interrupts the job');
	$node->safe_psql('postgres', "CALL memory.resume_job($job)");
	is(differences(1, $count), '', 'a job that was terminated goes on behind what it has done');
	clear();
}

# --- documents that are rejected

my $bad = write_file("$dir/bad", map { "$_\n" } document(1, 'a'), '{"conversation_id": "x", "account_id": "a", "messages": 3}',
	document(2, 'a'), '{"conversation_id": }', document(3, 'a'));
{
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$bad', 'native')");
	isnt($status, 0, 'on_error stop: the job fails');
	like($err, qr/ERROR:  job \d+ has failed: document 2 is rejected: .*DETAIL:  Reason bad_value, at \$\.messages, line 2, byte \d+/s,
		'on_error stop: the error says why');
	my ($job) = $err =~ /job (\d+) has failed/;
	is($node->safe_psql('postgres',
		"SELECT state, sqlstate, error LIKE 'document 2 is rejected%', documents FROM memory.jobs WHERE job_id = $job"), 'failed|22023|t|0',
		'on_error stop: memory.jobs says why');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.conversations'), '0', 'the batch is not stored');
	is(($node->psql('postgres', "CALL memory.resume_job($job)"))[0], 3, 'resumed, it fails again');
	($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($job, on_error => 'skip')");
	is($status, 0, 'a failed job goes on with on_error skip') or diag($err);
	is($node->safe_psql('postgres', "SELECT state, documents, imported, rejected FROM memory.jobs WHERE job_id = $job"), 'finished|5|3|2',
		'counts in are counts out');
	is($node->safe_psql('postgres', "SELECT document, line, reason, excerpt FROM memory.job_errors WHERE job_id = $job ORDER BY document"),
		qq(2|2|bad_value|{"conversation_id": "x", "account_id": "a", "messages": 3}\n4|4|bad_json|{"conversation_id": }),
		'the rejected ones are noted');
	is(differences(1, 3), '', 'the others are there');
	clear();
}

# --- who may

my %refused = (
	"memory.import_file('$bad')" => [ 'other', qr/permission denied to read a file on the server.*pg_read_server_files.*import_stage/s ],
	"memory.import_file('relative')" => [ 'loader', qr/path "relative" is not absolute/ ],
	"memory.import_file('$dir')" => [ 'loader', qr/is not a regular file/ ],
	"memory.import_file('$dir/nothing')" => [ 'loader', qr/could not stat file/ ],
	"memory.import_file('$bad', workers => 0)" => [ 'loader', qr/workers must be from 1 to 64, it is 0/ ],
	"memory.import_file('$bad', batch_size => 0)" => [ 'loader', qr/batch_size must be from 1 to 1000000, it is 0/ ],
	"memory.import_file('$bad', on_error => 'ask')" => [ 'loader', qr/unrecognized on_error "ask"/ ],
	"memory.import_file('$bad', 'word')" => [ 'loader', qr/unknown format "word"/ ],
	"memory.import_file(NULL)" => [ 'loader', qr/path must not be null/ ],
	"memory.resume_job(4711)" => [ 'loader', qr/job 4711 does not exist/ ],
	"memory.resume_job(NULL)" => [ 'loader', qr/job_id must not be null/ ]);
foreach my $call (sort keys %refused)
{
	my ($role, $message) = @{ $refused{$call} };
	my ($status, $out, $err) = $node->psql('postgres', "SET ROLE $role; CALL $call");
	like($err, $message, "it is refused: $call");
}
like(($node->psql('postgres', "BEGIN; CALL memory.import_file('$bad')"))[2], qr/memory.import_file cannot run inside a transaction block/,
	'an import is refused inside a transaction');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.conversations'), '0', 'nothing was imported');

{
	my $file = write_file("$dir/mine", map { "$_\n" } document(1, 'a'), document(2, 'b'));
	my ($status, $out, $err) = $node->psql('postgres',
		"SET ROLE loader; CALL memory.import_file('$file', on_error => 'skip', account_id => 'mine')");
	is($status, 0, 'a role that may read files imports one') or diag($err);
	is($node->safe_psql('postgres', "SELECT started_by, imported FROM memory.jobs WHERE job_id = $out"), 'loader|2',
		'the job is the role\'s own');
	is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT account_id, ',') FROM memory.conversations"), 'mine',
		'the job imports for the account that it named');
	like(($node->psql('postgres', "SET ROLE other; CALL memory.resume_job($out)"))[2], qr/job $out is not yours/, 'others may not resume it');
	like(($node->psql('postgres', "SET ROLE other; SELECT memory.cancel_job($out)"))[2], qr/job $out is not yours/,
		'others may not cancel it');
	# what the role loses, its jobs lose
	my $session = open_session("BEGIN; SELECT memory.append('mine', '" . conversation(999_999) . "', 'user', 'x')");
	my $job = $node->safe_psql('postgres',
		"SET ROLE loader; CALL memory.import_file('$large{lines}', account_id => 'mine', batch_size => 50, wait => false)");
	worker_waits($job);
	$node->safe_psql('postgres', 'REVOKE pg_read_server_files FROM loader');
	let_go($session);
	wait_for("SELECT state = 'failed' FROM memory.jobs WHERE job_id = $job", 'the job fails');
	is($node->safe_psql('postgres', "SELECT sqlstate, documents FROM memory.jobs WHERE job_id = $job"), '42501|50',
		'the right to read files is asked for at each batch');
	$node->safe_psql('postgres', 'GRANT pg_read_server_files TO loader');
	clear();
}

# --- a session that is confined to an account

$node->safe_psql('postgres', "ALTER ROLE loader SET memory_ext.account = 'mine'");
{
	my $file = write_file("$dir/confined", map { "$_\n" } document(1, 'mine'), document(2, 'theirs'));
	$node->safe_psql('postgres', "CALL memory.import_file('$file')", extra_params => [ '-U', 'loader' ]);
	is($node->safe_psql('postgres', "SELECT DISTINCT account_id FROM memory.conversations"), 'mine',
		'all that a confined role imports is its account\'s');
	like(($node->psql('postgres', "CALL memory.import_file('$file', account_id => 'theirs')", extra_params => [ '-U', 'loader' ]))[2],
		qr/account "theirs" is not available in this session/, 'a confined session imports nothing for others');
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM memory.jobs WHERE account_id = 'mine'", extra_params => [ '-U', 'loader' ]),
		'>', 0, 'a confined role sees its own job');
	is($node->safe_psql('postgres', "SELECT count(*) FROM memory.jobs WHERE account_id IS DISTINCT FROM 'mine'",
		extra_params => [ '-U', 'loader' ]), '0', 'a confined session sees no job of others');
	$node->safe_psql('postgres', 'ALTER ROLE loader RESET memory_ext.account');
	clear();
}

# --- two batches are left behind, the later one in the part that is taken up first

sub later_claim_first
{
	my ($job, $order) = @_;
	$node->safe_psql('postgres', <<"SQL");
UPDATE memory_store.job_parts p SET checkpoint = q.checkpoint FROM memory_store.job_parts q
WHERE p.job_id = $job AND q.job_id = $job AND p.part IN (1, 2) AND q.part = 3 - p.part
	AND (SELECT bool_and((a.checkpoint ->> '$order')::bigint < (b.checkpoint ->> '$order')::bigint)
		FROM memory_store.job_parts a, memory_store.job_parts b
		WHERE a.job_id = $job AND b.job_id = $job AND a.part = 1 AND b.part = 2)
SQL
	is($node->safe_psql('postgres', "SELECT count(checkpoint) FROM memory_store.job_parts WHERE job_id = $job AND part > 0"), '2',
		'two batches are left behind');
	return;
}
{
	my $session = open_session('BEGIN; LOCK TABLE memory_store.accounts');
	my $job = start_job("memory.import_file('$large{lines}', workers => 2, batch_size => 50, wait => false)");
	wait_for("SELECT count(checkpoint) = 2 FROM memory_store.job_parts WHERE job_id = $job AND part > 0",
		'both workers have claimed a batch');
	# (a server that is killed may forget a claim: it is not flushed)
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM memory_store.job_parts WHERE job_id = $job AND part > 0");
	wait_for("SELECT state IN ('failed', 'interrupted') FROM memory.jobs WHERE job_id = $job AND NOT EXISTS (SELECT FROM pg_stat_activity
		WHERE backend_type = 'memory_ext job')", 'they are gone');
	let_go($session);
	later_claim_first($job, 'from_offset');
	$node->safe_psql('postgres', "CALL memory.resume_job($job)");
	is($node->safe_psql('postgres', "SELECT state, documents, imported FROM memory.jobs WHERE job_id = $job"), "finished|$count|$count",
		'both are imported');
	is(differences(1, $count), '', 'all documents are there');
	clear();
}

# --- settings of the session are the workers'

{
	my $file = write_file("$dir/settings", map { "$_\n" } documents(10));
	my $job = $node->safe_psql('postgres',
		"SET memory_ext.compression = 'lz4'; SET memory_ext.segment_messages = 1; CALL memory.import_file('$file')");
	is($node->safe_psql('postgres',
		"SELECT string_agg(DISTINCT memory.compression(body), ',') FROM memory_store.segments WHERE memory.compression(body) <> 'none'"),
		$node->safe_psql('postgres',
			"SELECT CASE WHEN count(*) > 0 THEN 'lz4' ELSE '' END FROM memory_store.segments WHERE memory.compression(body) <> 'none'"),
			'workers have the caller\'s compression');
	is($node->safe_psql('postgres', 'SELECT max(memory.message_count(body)) FROM memory_store.segments'), '1',
		'workers have the caller\'s segment_messages');
	clear();
}

# --- more workers than there are places

{
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$large{lines}', workers => 64)");
	is($status, 0, 'a job takes the workers that it gets') or diag($err);
	like($err, qr/WARNING:  only [1-9] of 64 background workers are free/, 'a warning says how many workers are free');
	is(differences(1, $count), '', 'all documents are there');
	clear();
}

# --- so many workers has a job, and all jobs together; a job without any has failed

{
	my $max = $node->safe_psql('postgres', "SELECT memory.estimate_tokens(''); SHOW memory_ext.max_workers_per_job") =~ s/.*\n//r;
	is($max, 4, 'a job has up to four workers');
	my ($status, $out, $err) = $node->psql('postgres', "SELECT memory.estimate_tokens('');
		SET memory_ext.max_workers_per_job = 1; CALL memory.import_file('$large{lines}', workers => 3)");
	like($err, qr/WARNING:  only 1 of 3 background workers are free\nHINT:  memory_ext.max_workers_per_job/,
		'a job has as many workers as memory_ext.max_workers_per_job allows');
	clear();
	like(($node->psql('postgres', "SELECT memory.estimate_tokens('');
		SET memory_ext.max_workers_per_job = 64", extra_params => [ '-U', 'loader' ]))[2], qr/permission denied to set parameter/,
		'by a superuser');

	# one who holds the lock that workers wait for
	$node->append_conf('postgresql.conf', "memory_ext.max_job_workers = 2\n");
	$node->reload;
	$node->safe_psql('postgres', "SELECT memory.append('hog', '00000000-0000-0000-0000-000000000001', 'user', 'x')");
	my $hog = $node->background_psql('postgres', extra_params => [ '-U', 'loader' ], on_error_stop => 0);
	$hog->query_safe("BEGIN; SELECT memory.append('hog', '00000000-0000-0000-0000-000000000001', 'user', 'held');");
	my $line = '{"account_id": "hog", "conversation_id": "00000000-0000-0000-0000-00000000000%s",'
	  . ' "messages": [{"role": "user", "content": "x"}]}\n';
	$node->safe_psql('postgres', "COPY memory.import_stage (line) FROM PROGRAM 'printf ''$line'' 2 3 4';
		CALL memory.import_staged('native', workers => 64, batch_size => 1, wait => false)");
	$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM pg_stat_activity
		WHERE backend_type = 'memory_ext job'") or diag 'no two workers';
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'memory_ext job'"), 2, 'all jobs have so many workers as the server allows');
	($status, $out, $err) = $node->psql('postgres', "CALL memory.import_file('$large{lines}')", extra_params => [ '-U', 'loader' ]);
	like($err, qr/ERROR:  no background worker is free for job/, 'the next one is refused');
	is($node->safe_psql('postgres', 'SELECT state, sqlstate, error
		FROM memory.jobs ORDER BY job_id DESC LIMIT 1'), 'failed|53000|no background worker is free', 'the job that was refused has failed');
	$hog->query_safe('ROLLBACK');
	$hog->quit;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'memory_ext job'") or diag 'they do not end';
	my $refused = $node->safe_psql('postgres', 'SELECT max(job_id) FROM memory.jobs');
	($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($refused)", extra_params => [ '-U', 'loader' ]);
	like($err, qr/job $refused is finished/, 'the job that was refused can be resumed');
	$node->append_conf('postgresql.conf', "memory_ext.max_job_workers = 4\n");
	$node->reload;
	$node->safe_psql('postgres', "DELETE FROM memory.conversations WHERE account_id = 'hog'");
	clear();
}

# --- what a role has staged, and its jobs, are not the next one's of its name

{
	$node->safe_psql('postgres', "CREATE ROLE passing LOGIN; SELECT memory.grant_access('passing', 'writer')");
	$node->safe_psql('postgres', "INSERT INTO memory.import_stage (line) VALUES ('{\"role\": \"user\",
		\"content\": \"secret text\"}')", extra_params => [ '-U', 'passing' ]);
	$node->psql('postgres', "SET memory_ext.import_on_error = skip;
		COPY memory.import_documents FROM PROGRAM 'echo'", extra_params => [ '-U', 'passing' ]);
	$node->safe_psql('postgres', 'DROP OWNED BY passing; DROP ROLE passing; CREATE ROLE passing LOGIN');
	$node->safe_psql('postgres', "SELECT memory.grant_access('passing', 'writer')");
	is($node->safe_psql('postgres', 'SELECT memory.clear_stage()', extra_params => [ '-U', 'passing' ]), '0',
		'another role of the same name has no lines staged');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.import_stage'), '1', 'the lines of the first role are there');
	$node->safe_psql('postgres', 'DELETE FROM memory.import_stage; DROP OWNED BY passing; DROP ROLE passing');
}

# --- how a rejected document begins is for who imported it

{
	$node->safe_psql('postgres', "SELECT memory.import_document('acme', '{}'); SET memory_ext.import_account = 'acme';
		SET memory_ext.import_on_error = skip; INSERT INTO memory.import_documents VALUES ('{\"secret\": \"text\"}')",
		extra_params => [ '-U', 'loader' ]);
	my $errors = 'SELECT count(*), count(excerpt) FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs)';
	is($node->safe_psql('postgres', $errors, extra_params => [ '-U', 'loader' ]), '1|1', 'the job\'s role sees the text of an error');
	is($node->safe_psql('postgres', $errors, extra_params => [ '-U', 'other' ]), '1|0',
		'another role sees that there is an error, without its text');
	is($node->safe_psql('postgres', $errors), '1|1', 'a superuser sees it');
}

# --- staged lines

foreach my $shape (sort keys %shapes)
{
	my $file = write_file("$dir/staged", $shapes{$shape} =~ s/\r//gr);
	my $documents = $shape eq 'without bytes' ? 0 : 500;
	foreach my $workers (1, 3)
	{
		$node->safe_psql('postgres',
			"SET ROLE other; \\copy memory.import_stage (line) FROM '$file' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')");
		my ($status, $out, $err) = $node->psql('postgres', "SET ROLE other; CALL memory.import_staged(workers => $workers, batch_size => 7)");
		is($status, 0, "staged: $shape, $workers workers") or diag($err);
		is($node->safe_psql('postgres', "SELECT state, documents, imported + unchanged FROM memory.jobs WHERE job_id = $out"),
			"finished|$documents|$documents", 'the import of an array is finished');
		is(differences(1, $documents), '', 'all documents are there');
		is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.import_stage'), '0', 'the staged lines are gone after the import');
	}
	clear();
}
{
	$node->safe_psql('postgres',
		"SET ROLE other; \\copy memory.import_stage (line) FROM '$large{lines}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')");
	my $session = hold_account();
	my $job = $node->safe_psql('postgres', "SET ROLE other; CALL memory.import_staged(workers => 2, batch_size => 50, wait => false)");
	worker_waits($job);
	wait_for("SELECT documents = $count - 50 FROM memory.jobs WHERE job_id = $job", 'the other worker is done');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.import_stage'), '50', 'lines go with the batches that store them');
	$node->stop('immediate');
	$node->start;
	let_go($session);
	is(state_of($job), 'interrupted', 'the server was killed');
	$node->safe_psql('postgres', "CALL memory.resume_job($job)");
	is($node->safe_psql('postgres', "SELECT state, documents, imported FROM memory.jobs WHERE job_id = $job"), "finished|$count|$count",
		'each document was imported once');
	is(differences(1, $count), '', 'all documents of the export are there');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.import_stage'), '0', 'the staged lines are gone after the resumption');
	is(problems(), '', 'no check finds a problem after the staged import');
}
# --- documents that are one message each are stored in the order of the file, by any number of workers

{
	my $rows = write_file("$dir/rows", map {
		sprintf(qq({"id": %d, "session_id": "session %d", "message": {"type": "human", "data": {"content": "%d", "type": "human"}}, )
				. qq("created_at": "2024-05-01T10:00:00+00:00"}\n),
			$_, $_ % 3, $_)
	} 1 .. 600);
	my ($status, $out, $err) = $node->psql('postgres',
		"CALL memory.import_file('$rows', 'langchain', 'rows', workers => 3, batch_size => 7)");
	is($status, 0, 'rows of messages, three workers') or diag($err);
	is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT conversation_id), bool_and(before IS NULL OR before < content::int)
		FROM (SELECT conversation_id, content,
			lag(content::int) OVER (PARTITION BY conversation_id ORDER BY seq) AS before FROM memory.messages WHERE account_id = 'rows') m"),
		'600|3|t', 'are in order');
	is($node->safe_psql('postgres', "SELECT documents, imported, extended, messages FROM memory.jobs WHERE job_id = $out"), '600|3|597|600',
		'all documents are counted');
	$node->safe_psql('postgres', "SELECT memory.forget('rows')");
}

# --- export

# a message that is not what is stored, by each value of on_conflict
{
	my $file = $node->data_dir . '/changed';
	my $import = sub {
		my ($content, @arguments) = @_;
		write_file($file, qq({"conversation_id": "00000000-0000-0000-0000-0000000000c1", )
			  . qq("messages": [{"role": "user", "content": "$content"}]}\n));
		my $list = join(', ', "'$file'", "account_id => 'changed'", @arguments);
		return ($node->psql('postgres', "CALL memory.import_file($list)"))[2];
	};
	my $contents = sub {
		return $node->safe_psql('postgres', "SELECT string_agg(content, ',' ORDER BY content) FROM memory.messages
			WHERE account_id = 'changed'");
	};
	like($import->('one'), qr/1 imported/, 'a document');
	like($import->('two'), qr/has failed/, 'whose message has changed is a conflict');
	like($import->('two', "on_conflict => 'keep'"), qr/1 unchanged/, 'on_conflict keep');
	is($contents->(), 'one', 'keeps what is stored');
	like($import->('two', "on_conflict => 'copy'"), qr/1 imported/, 'on_conflict copy');
	is($contents->(), 'one,two', 'stores both');
	like($import->('two', "on_conflict => 'replace'"), qr/1 extended/, 'on_conflict replace');
	is($contents->(), 'two,two', 'replaces what is stored');
	$node->safe_psql('postgres', "SELECT memory.forget('changed')");
	unlink $file;
}

sub exported
{
	my ($where) = @_;
	return $node->safe_psql('postgres', "SELECT memory.export('native'" . ($where // '') . ')') . "\n";
}
my $target = $node->data_dir . '/exported';
{
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.export_file('$target', batch_size => 100)");
	is($status, 0, 'export') or diag($err);
	like($err, qr/INFO:  job $out is finished: $count documents, 6000 messages, \d+ bytes/, 'a notice says that the export has ended');
	is(slurp_file($target), exported(), 'the file is what memory.export gives');
	is($node->safe_psql('postgres', "SELECT kind, state, documents, messages, bytes FROM memory.jobs WHERE job_id = $out"),
		"export|finished|$count|6000|" . -s $target, 'the job counts what was exported');
	like(($node->psql('postgres', "CALL memory.export_file('$target')"))[2], qr/file "\Q$target\E" already exists/,
		'no file is written over');
	unlink $target;
	foreach my $format ('native', 'openai', 'langchain')
	{
		my $expected = $node->safe_psql('postgres', "SELECT memory.export('$format')") . "\n";
		foreach my $workers (2, 3)
		{
			my $job = $node->safe_psql('postgres', "CALL memory.export_file('$target', '$format', workers => $workers, batch_size => 7)");
			ok(slurp_file($target) eq $expected, "$format: $workers workers write the same file");
			is($node->safe_psql('postgres', "SELECT state, documents, messages, bytes FROM memory.jobs WHERE job_id = $job"),
				"finished|$count|6000|" . -s $target, "$format: documents, messages and bytes are counted");
			unlink $target;
		}
	}
	like(($node->psql('postgres', "SET ROLE loader; CALL memory.export_file('$target')"))[2],
		qr/permission denied to write a file on the server.*pg_write_server_files/s, 'not everybody may write files');
	$node->safe_psql('postgres',
		"GRANT pg_write_server_files TO loader; SET ROLE loader; CALL memory.export_file('$target', account_id => 'account 7')");
	is(slurp_file($target), exported(", 'account 7'"), 'an export of one account has its documents only');
	unlink $target;
	my $branches = "INSERT INTO memory.messages (account_id, conversation_id, role, content, parent_seq)
		SELECT 'lossy', md5(n::text)::uuid, 'user', n::text, 0 FROM generate_series(1, 5) n, generate_series(1, 2)";
	my ($lossy, undef, $told) = $node->psql('postgres', "$branches; CALL memory.export_file('$target', 'langchain',
		account_id => 'lossy', workers => 2, batch_size => 2)");
	is($lossy, 0, 'an export of what the format cannot hold');
	like($told, qr/is finished: 5 documents, .*left out: 5 messages of other branches/, 'names what it leaves out');
	is($node->safe_psql('postgres', "SELECT options ->> 'left_out' FROM memory.jobs ORDER BY job_id DESC LIMIT 1"),
		'{"messages of other branches": 5}', 'so does the job');
	$node->safe_psql('postgres', "SELECT memory.forget('lossy')");
	unlink $target;
	$node->safe_psql('postgres', "SET ROLE loader; CALL memory.export_file('$target', since => '2999-01-01')");
	is(-s $target, 0, 'an export of nothing is a file without bytes');
	unlink $target;
}

# Stopped behind a batch, killed with half a batch in the file that was not committed, and resumed.
{
	my $session = open_session('BEGIN; LOCK TABLE memory_store.segments');
	my $job = start_job("memory.export_file('$target', batch_size => 100, wait => false)");
	worker_waits($job);
	is($node->safe_psql('postgres', "SELECT memory.cancel_job($job)"), 't', 'an export is cancelled');
	let_go($session);
	wait_for("SELECT state = 'cancelled' FROM memory.jobs WHERE job_id = $job", 'cancelled');
	is($node->safe_psql('postgres', "SELECT documents FROM memory.jobs WHERE job_id = $job"), '100', 'the export stops behind a batch');
	ok(!-e $target, 'there is no file of that name yet');
	append_to_file("$target.part", 'what a batch wrote that was not committed');
	$session = open_session('BEGIN; LOCK TABLE memory_store.segments');
	$node->safe_psql('postgres', "CALL memory.resume_job($job, wait => false)");
	worker_waits($job);
	$node->stop('immediate');
	$node->start;
	let_go($session);
	is(state_of($job), 'interrupted', 'the server was killed');
	append_to_file("$target.part", 'and another');
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($job)");
	is($status, 0, 'it is resumed') or diag($err);
	is(slurp_file($target), exported(), 'the file is as if nothing had happened');
	is($node->safe_psql('postgres', "SELECT state, documents, bytes FROM memory.jobs WHERE job_id = $job"), "finished|$count|" . -s $target,
		'each document is counted once');
	ok(!-e "$target.part", 'no unfinished file is left');
}
# Two workers, of which one is killed within a batch while the other waits for its turn behind it.
{
	unlink $target;
	my $session = open_session('BEGIN; LOCK TABLE memory_store.segments');
	my $job = start_job("memory.export_file('$target', workers => 2, batch_size => 100, wait => false)");
	wait_for("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'memory_ext job' AND wait_event_type = 'Lock'",
		'both workers have claimed a batch');
	is($node->safe_psql('postgres',
		"SELECT pg_terminate_backend(pid) FROM memory_store.job_parts WHERE job_id = $job AND (checkpoint ->> 'claim') = '1'"), 't',
		'the first is ended');
	wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'memory_ext job'", 'it is gone');
	let_go($session);
	wait_for("SELECT state IN ('failed', 'interrupted') FROM memory.jobs WHERE job_id = $job", 'the other does not go on without it');
	is($node->safe_psql('postgres', "SELECT documents FROM memory.jobs WHERE job_id = $job"), '0', 'the other worker writes nothing');
	later_claim_first($job, 'claim');
	my ($status, $out, $err) = $node->psql('postgres', "CALL memory.resume_job($job)");
	is($status, 0, 'it is resumed') or diag($err);
	ok(slurp_file($target) eq exported(), 'the file is in order');
	is($node->safe_psql('postgres', "SELECT state, documents, bytes FROM memory.jobs WHERE job_id = $job"), "finished|$count|" . -s $target,
		'each document is counted once');
	ok(!-e "$target.part", 'no unfinished file is left after the takeover');
}
# and in again
clear();
$node->safe_psql('postgres', "CALL memory.import_file('$target', workers => 2)");
is(differences(1, $count), '', 'what was exported can be imported');
is(exported(), slurp_file($target), 'what was imported is exported as the same file');

$node->safe_psql('postgres', "INSERT INTO memory.import_stage (line) VALUES ('mine')");
$node->safe_psql('postgres', "SET ROLE other; INSERT INTO memory.import_stage (line) VALUES ('{'), ('}')");
is($node->safe_psql('postgres', 'SET ROLE other; SELECT memory.clear_stage()'), '2', 'a role deletes what it has staged');
is($node->safe_psql('postgres', 'SELECT line FROM memory.import_stage'), 'mine', 'a role deletes nothing that others have staged');

like(($node->psql('postgres', 'SET ROLE other; SELECT line FROM memory.import_stage'))[2], qr/permission denied/,
	'nobody reads what others stage');

$node->stop;
done_testing();
