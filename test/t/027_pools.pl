# A gateway behind a connection pool: PgBouncer hands one server connection to one client after the
# other.  A client that names no account sees and stores nothing, whatever the one before it has set.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IO::Socket::UNIX;
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('pools');
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE gateway LOGIN;
SELECT memory.grant_access('gateway', 'gateway');
CREATE ROLE ann_bot LOGIN;
SELECT memory.grant_access('ann_bot', 'writer');
ALTER ROLE ann_bot SET memory_ext.account = 'ann';
SQL

my ($program) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
BAIL_OUT('there is no pgbouncer') if !defined $program;
my @pools;

# A PgBouncer with one server connection for each role.
sub start_pool
{
	my ($mode) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $log = '';

	write_file("$dir/users", map { "\"$_\" \"\"\n" } qw(gateway ann_bot));
	write_file("$dir/pgbouncer.ini", <<"INI");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]}
[pgbouncer]
pool_mode = $mode
default_pool_size = 1
max_client_conn = 20
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
INI
	my $run = IPC::Run::start([ $program, "$dir/pgbouncer.ini" ], '<', \undef, '>&', \$log);
	push @pools, $run;
	for (1 .. 300)
	{
		$run->pump_nb;
		return { host => $dir, port => $port } if IO::Socket::UNIX->new("$dir/.s.PGSQL.$port");
		usleep(100_000);
	}
	die "pgbouncer does not start: $log";
}

END
{
	my $status = $?;
	$_->kill_kill for @pools;
	$? = $status;
}

# What a client prints that connects to a pool, runs statements and leaves; with its errors.
sub client
{
	my ($pool, $role, $sql) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-h', $pool->{host}, '-p', $pool->{port}, '-U', $role, '-d', 'postgres' ], '<', \$sql, '>', \$out, '2>',
		\$err);
	return $out . ($err =~ s/^psql:.*?: //gmr);
}

my $id = "'00000000-0000-0000-0000-000000000001'";
my $look = 'SELECT count(*) FROM memory.messages;';
my $nothing = qr/ERROR:  the session has named no account\nDETAIL:  .*\nHINT:  SET LOCAL memory_ext\.account/;

for my $mode (qw(session transaction))
{
	my $pool = start_pool($mode);
	my $who = $mode eq 'session' ? 'ann' : 'bob';
	my $backend = client($pool, 'gateway', 'SELECT pg_backend_pid();');

	like($backend, qr/^\d+$/, "$mode: clients reach the server");
	# a client that does it as the manual says
	is(client($pool, 'gateway', "BEGIN; SET LOCAL memory_ext.account = '$who'; SELECT memory.append(NULL, $id, 'user', '$who'); COMMIT;"),
		"1\n", "$mode: a request is stored");
	is(client($pool, 'gateway', $look), "0\n", "$mode: the next client, which names no account, sees nothing");
	like(client($pool, 'gateway', "SELECT memory.append(NULL, $id, 'user', 'misplaced');"), $nothing,
		"$mode: the next client, which names no account, stores nothing");
	like(client($pool, 'gateway', "INSERT INTO memory.messages (conversation_id, role, content) VALUES ($id, 'user', 'misplaced');"),
		$nothing, "$mode: the next client, which names no account, stores nothing by INSERT");
	like(client($pool, 'gateway', "SELECT memory.append('$who', $id, 'user', 'misplaced');"), $nothing,
		"$mode: an account that is named in the call only stores nothing");
	# a session-wide value, used or not before the client leaves
	if ($mode eq 'session')
	{
		for my $use ('', $look)
		{
			client($pool, 'gateway', "SET memory_ext.account = '$who'; $use");
			is(client($pool, 'gateway', $look), "0\n", "$mode: a value of a client that has left is gone" . ($use && ', used'));
			like(client($pool, 'gateway', "SELECT memory.append(NULL, $id, 'user', 'misplaced');"), $nothing,
				"$mode: the account is taken back for its writers, too");
		}
		client($pool, 'gateway', "SET memory_ext.account = '$who'; RESET ALL;");
		is(client($pool, 'gateway', $look), "0\n", "$mode: an account that RESET ALL took back is not seen");
	}
	is(client($pool, 'gateway', "BEGIN; SET LOCAL memory_ext.account = ''; $look COMMIT;"), "0\n", "$mode: an empty account is none");
	is(client($pool, 'gateway', 'SELECT pg_backend_pid();'), $backend, "$mode: all of them had the same server connection");
	# a role that belongs to an account keeps it
	is(client($pool, 'ann_bot', 'SHOW memory_ext.account;') . client($pool, 'ann_bot', 'SELECT DISTINCT account_id FROM memory.messages;'),
		"ann\nann\n", "$mode: a role's own account outlives DISCARD ALL")
	  for 1 .. 2;
}
is($node->safe_psql('postgres', 'SELECT account_id, content FROM memory.messages ORDER BY 1'), "ann|ann\nbob|bob",
	'each message is where it belongs');

$node->stop;
done_testing();
