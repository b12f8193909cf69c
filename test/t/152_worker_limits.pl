# The background worker is in nobody's way, whatever it is at: what needs a database or a table for
# itself gets it, what is used up is waited for, and a standby is left alone until it is promoted.
# 150_worker.pl has DROP DATABASE, CREATE DATABASE and a crash.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('worker_limits', allows_streaming => 1);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'memory_ext'
memory_ext.worker_naptime = 1
memory_ext.worker_max_workers = 4
memory_ext.seal_after = 0
max_worker_processes = 8
max_logical_replication_workers = 0
allow_in_place_tablespaces = on
CONF
$node->start;
# How long a statement may wait for the worker: it fails then, instead of the test hanging.
my $patience = "SET statement_timeout = '120 s';";

sub wait_for
{
	my ($server, $query, $what, $database) = @_;
	ok($server->poll_query_until($database // 'postgres', $query), $what);
	return;
}

# Waits until a worker has begun with all phases later than now.
sub wait_for_visit
{
	my ($server, $what, $database) = @_;
	$database //= 'postgres';
	my $now = $server->safe_psql($database, 'SELECT clock_timestamp()');
	wait_for($server, "SELECT bool_and(last_start > '$now' AND by_worker) FROM memory.maintenance", $what, $database);
	return;
}

# A first phase that never ends: in one long batch, or in many short ones, as real phases have.
sub install
{
	my ($database, $long) = @_;
	my ($seconds, $next) = $long ? (1000, 'NULL') : (0.01, "'1'");
	$node->safe_psql($database, <<"SQL");
CREATE EXTENSION memory_ext;
CREATE FUNCTION memory_store.endless_step(INOUT place text, batch_size integer, OUT done bigint, OUT message text) LANGUAGE plpgsql AS \$\$
BEGIN
	PERFORM FROM memory_store.tail;
	PERFORM pg_catalog.pg_sleep($seconds);
	place := $next;
	done := 1;
END \$\$;
INSERT INTO memory_store.maintenance_phases (phase, position, step) VALUES ('endless', 1, 'endless_step');
SQL
	return;
}

my $busy = q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'memory_ext worker' AND datname = '%s' AND wait_event = 'PgSleep'};

sub wait_for_work
{
	my ($database, $what) = @_;
	wait_for($node, sprintf($busy, $database), $what);
	return;
}

sub failures
{
	my ($database) = @_;
	return $node->safe_psql($database, q{SELECT failures FROM memory.maintenance WHERE phase = 'endless'});
}

# --- ALTER DATABASE ... SET TABLESPACE
$node->safe_psql('postgres', 'CREATE DATABASE moved');
install('moved', 1);
$node->safe_psql('postgres', q{CREATE TABLESPACE elsewhere LOCATION ''});
wait_for_work('moved', 'a worker is in a long batch');
$node->safe_psql('postgres', "$patience ALTER DATABASE moved SET TABLESPACE elsewhere;");
is($node->safe_psql('moved', q{SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = 'moved'}),
	'elsewhere', 'a database is moved from under a worker');
wait_for_work('moved', 'the worker comes back to where the database is now');
is(failures('moved'), 0, 'to be moved is no failure of the phase');

# --- a database at its connection limit: the worker needs no connection of the users', and takes none
$node->safe_psql('postgres', 'CREATE ROLE someone LOGIN; ALTER DATABASE moved CONNECTION LIMIT 1');
is($node->psql('moved', 'SELECT 1', extra_params => [ '-U', 'someone' ]), 0, 'a worker counts for no connection');
$node->safe_psql('postgres', 'CREATE DATABASE full_up');
$node->safe_psql('full_up', 'CREATE EXTENSION memory_ext');
$node->safe_psql('postgres', 'ALTER DATABASE full_up CONNECTION LIMIT 0');
isnt($node->psql('full_up', 'SELECT 1', extra_params => [ '-U', 'someone' ]), 0, 'a database takes no users');
wait_for_visit($node, 'it is visited all the same', 'full_up');

# --- what needs tables for itself, while a worker goes from one short batch to the next
$node->safe_psql('postgres', 'CREATE DATABASE tables');
install('tables', 0);
wait_for($node, q{SELECT done > 2 FROM memory.maintenance WHERE phase = 'endless' AND state = 'running'},
	'a worker is in its batches', 'tables');
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'memory_ext worker' AND datname = 'tables'};
my $pid = $node->safe_psql('postgres', $worker);
$node->safe_psql('tables', "$patience VACUUM FULL;");
pass('VACUUM FULL of all tables comes to its end');
$node->safe_psql('tables', "$patience CREATE INDEX CONCURRENTLY tail_created ON memory_store.tail (created_at);");
is($node->safe_psql('tables', q{SELECT indisvalid FROM pg_index WHERE indexrelid = 'memory_store.tail_created'::regclass}),
	't', 'CREATE INDEX CONCURRENTLY comes to its end');
is($node->safe_psql('postgres', $worker), $pid, 'the same worker goes on');
is(failures('tables'), 0, 'and has not failed');
$node->safe_psql('tables', "$patience DROP EXTENSION memory_ext CASCADE;");
wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'memory_ext worker' AND datname = 'tables'},
	'DROP EXTENSION ends the worker of its database');
$node->safe_psql('tables', 'CREATE EXTENSION memory_ext');
wait_for_visit($node, 'the extension is visited when it is there again', 'tables');

# --- the same while a worker is in a long batch, which holds a lock on the table and a snapshot
$node->safe_psql('tables', 'DROP EXTENSION memory_ext CASCADE');
install('tables', 1);
foreach (
	[ 'VACUUM FULL', 'VACUUM FULL memory_store.tail' ],
	[ 'CREATE INDEX CONCURRENTLY', 'CREATE INDEX CONCURRENTLY tail_created ON memory_store.tail (created_at)' ])
{
	my ($what, $statement) = @$_;
	wait_for_work('tables', "a worker is in a long batch before $what");
	is($node->psql('tables', "$patience $statement;", on_error_stop => 1), 0, "$what does not wait for its end");
}
wait_for_work('tables', 'the worker comes back each time');
is(failures('tables'), 0, 'to be cancelled is no failure of the phase');
is($node->psql('tables', "$patience DROP EXTENSION memory_ext CASCADE;", on_error_stop => 1), 0, 'DROP EXTENSION does not wait, either');
$node->safe_psql('tables', 'CREATE EXTENSION memory_ext');
wait_for_visit($node, 'the extension is visited after that, too', 'tables');

# --- a hot standby: nothing runs there until it is promoted
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
wait_for_visit($node, 'the primary maintains itself');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('worker_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', q{SELECT memory.append('ann', gen_random_uuid(), 'user', 'hello')});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'memory\_ext%'}),
	0, 'on a standby neither launcher nor worker runs');
is($standby->safe_psql('postgres', 'SELECT count(*) > 0 AND count(next_run) = 0 FROM memory.maintenance'),
	't', 'it shows the phases, and that none is to come');
is($standby->safe_psql('postgres', q{SELECT value FROM memory.metrics WHERE name = 'memory_ext_conversations'}),
	1, 'and the numbers of the primary');

# --- shutdown, smart and fast, in the middle of a long batch
wait_for_work('moved', 'a worker is in a long batch');
$node->stop('smart');
pass('a smart shutdown does not wait for it');
$standby->promote;
wait_for($standby, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'memory_ext launcher'},
	'the launcher starts with the promotion');
wait_for_visit($standby, 'and the worker does its work');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM memory_store.tail'), 0, 'which seals what rests');
$standby->stop('fast');
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing worse is in the log of the standby');

# --- no process is left for a worker
$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
my $log = -s $node->logfile;
$node->start;
$node->wait_for_log(qr/could not start a worker for a database/, $log);
is(failures('moved'), 0, 'a smart shutdown is no failure of the phase');
is($node->safe_psql('postgres', q{SELECT string_agg(backend_type, ',') FROM pg_stat_activity WHERE backend_type LIKE 'memory\_ext%'}),
	'memory_ext launcher', 'the launcher waits for a process');
is($node->psql('postgres', 'CALL memory.maintain()'), 0, 'maintenance by hand goes on');
$node->stop('fast');
my @told = substr(slurp_file($node->logfile), $log) =~ /could not start a worker for a database/g;
is(scalar @told, 1, 'that there is none is said once');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->start;
wait_for_visit($node, 'with processes to spare it is visited again');
wait_for_work('moved', 'as are the others');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing worse is in the log');

done_testing();
