# Pokes where memory_ext is preloaded: a commit marks its accounts, and a worker notifies those who
# listen.  The listeners here are sessions of their own, as a client's would be.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use IPC::Run;
use Test::More;

my $node = new_server('pokes', allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'memory_ext'
memory_ext.worker = off
max_prepared_transactions = 5
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');

# A session that listens; what it is told gathers in {out} as it asks for it.
sub listener
{
	my ($database, $server) = @_;
	my %self = (in => "LISTEN memory_changes;\nSELECT 'listening';\n", out => '', err => '');

	$self{run} = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-q', '-d', ($server // $node)->connstr($database) ],
		'<', \$self{in}, '>', \$self{out}, '2>', \$self{err}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	IPC::Run::pump($self{run}) until $self{out} =~ /listening/;
	return \%self;
}

# Waits until the listener has been told something that matches.
sub told
{
	my ($self, $pattern, $what) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$self->{in} .= "SELECT pg_sleep(0.1) IS NULL AS polled;\n";
		my $seen = () = $self->{out} =~ /^f$/mg;
		IPC::Run::pump($self->{run}) until (() = $self->{out} =~ /^f$/mg) > $seen;
		last if join("\n", pokes($self)) =~ $pattern;
	}
	like(join("\n", pokes($self)), $pattern, $what);
	return;
}

sub pokes
{
	my ($self) = @_;
	return $self->{out} =~ /"memory_changes" with payload "(.*)" received/g;
}

sub forget_pokes
{
	my ($self) = @_;
	$self->{out} = '';
	return;
}

sub leave
{
	my ($self) = @_;
	$self->{in} .= "\\q\n";
	IPC::Run::finish($self->{run});
	return;
}

sub append
{
	my ($account) = @_;
	return "SELECT memory.append('$account', gen_random_uuid(), 'user', 'x');";
}

# --- whoever listens when the server has started is told to look
my $here = listener('postgres');
switch_on($node);
told($here, qr/^\[\]$/m, 'after the start each account may have changed');

# --- accounts and revisions; of what was rolled back nothing
$node->safe_psql('postgres', append('ann'));
told($here, qr/\{"account_id": "ann", "revision": 1\}/, 'a commit is told, with the revision');
$node->safe_psql('postgres', 'BEGIN;' . append('never') . 'ROLLBACK;' . append('bob "b"'));
told($here, qr/\{"account_id": "bob \\"b\\"", "revision": 1\}/, 'an account id is written as JSON');
$node->safe_psql('postgres', 'BEGIN;' . append('sub') . 'SAVEPOINT s;' . append('sub') . 'ROLLBACK TO s;' . append('sub') . 'COMMIT');
told($here, qr/\{"account_id": "sub", "revision": 2\}/, 'a transaction with a savepoint that was rolled back is told at its end');
$node->safe_psql('postgres', q{SELECT memory.forget('ann')});
told($here, qr/\{"account_id": "ann", "revision": 0\}/, 'that an account was forgotten is told');
unlike(join("\n", pokes($here)), qr/never/, 'nothing is told of what was rolled back');
is(scalar(() = join("\n", pokes($here)) =~ /^\[\]$/mg), 1, 'and nothing of all accounts');

# --- many commits, fewer notifications
forget_pokes($here);
$node->append_conf('postgresql.conf', 'memory_ext.poke_delay = 2s');
$node->reload;
wait_for_delay();
$node->safe_psql('postgres', join("\n", map { append("many $_") } 1 .. 100));
$node->safe_psql('postgres', append('last'));
told($here, qr/"last"/, 'the last of many commits is told');
my @many = join("\n", pokes($here)) =~ /"many \d+"/g;
is(scalar(@many), 100, 'each of a hundred accounts is told');
cmp_ok(scalar(pokes($here)), '<', 50, 'in fewer notifications than commits');
$node->append_conf('postgresql.conf', 'memory_ext.poke_delay = 50');
$node->reload;

# --- more accounts than the table holds
forget_pokes($here);
$node->safe_psql('postgres', q{INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'full ' || i, gen_random_uuid(), 'user', 'x' FROM generate_series(1, 5000) i});
told($here, qr/^\[\]$/m, 'of more accounts than there is space for, all may have changed');

# --- a prepared transaction
forget_pokes($here);
$node->safe_psql('postgres', 'BEGIN;' . append('two') . q{PREPARE TRANSACTION 'p'});
$node->safe_psql('postgres', append('between'));
told($here, qr/"between"/, 'others are told while it is prepared');
unlike(join("\n", pokes($here)), qr/"two"|^\[\]$/m, 'but nothing of a prepared transaction');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
told($here, qr/^\[\]$/m, 'after COMMIT PREPARED all may have changed');

# --- off, and on again: nobody knows what has changed meanwhile
forget_pokes($here);
$node->append_conf('postgresql.conf', 'memory_ext.poke_delay = -1');
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'memory_ext poke worker'});
$node->safe_psql('postgres', append('silent'));
$node->append_conf('postgresql.conf', 'memory_ext.poke_delay = 50');
$node->reload;
told($here, qr/^\[\]$/m, 'when pokes are switched on again all may have changed');
unlike(join("\n", pokes($here)), qr/silent/, 'nothing was marked while they were off');

# --- databases do not hear of each other; one can be copied and dropped while it is served
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION memory_ext');
my $there = listener('other');
forget_pokes($here);
$node->safe_psql('other', append('there'));
told($there, qr/"there"/, 'a listener of another database is told');
$node->safe_psql('postgres', append('here'));
told($here, qr/"here"/, 'as is the one of this');
unlike(join("\n", pokes($here)), qr/there/, 'each of its own database only');
leave($there);
$node->safe_psql('other', append('there'));
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
$node->safe_psql('other', append('there'));
$node->safe_psql('postgres', 'DROP DATABASE other');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname IN ('other', 'copy')}),
	1, 'a database that is served can be copied and dropped');

# --- a crash loses the marks: all are told to look again
leave($here);
$node->append_conf('postgresql.conf', 'memory_ext.worker = off');
$node->reload;
my $victim = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $victim->query('SELECT pg_backend_pid()');
kill 'KILL', $pid;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'memory_ext poke worker' AND NOT pg_is_in_recovery()}), 'the server is back');
$here = listener('postgres');
switch_on($node);
told($here, qr/^\[\]$/m, 'after a crash all may have changed');
leave($here);

# --- a standby sleeps; promoted, it tells its listeners
$node->append_conf('postgresql.conf', 'memory_ext.worker = off');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('promoted');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'memory_ext%'}),
	0, 'nothing runs on a standby');
$standby->promote;
$here = listener('postgres', $standby);
switch_on($standby);
told($here, qr/^\[\]$/m, 'after the promotion all may have changed');
$standby->safe_psql('postgres', append('promoted'));
told($here, qr/"promoted"/, 'and what is changed then is told');
leave($here);
$standby->stop('fast');

$node->stop('smart');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing worse is in the log');
done_testing();

# Lets the worker of a server run.
sub switch_on
{
	my ($server) = @_;
	$server->append_conf('postgresql.conf', 'memory_ext.worker = on');
	$server->reload;
	return;
}

# Waits until new sessions see the setting.
sub wait_for_delay
{
	ok($node->poll_query_until('postgres', q{SELECT current_setting('memory_ext.poke_delay') = '2s'}), 'the delay is set');
	return;
}
