# What runs by itself where memory_ext is preloaded: the launcher, and a worker in each database that
# has the extension.  It never stands in the way of others, and an error of one phase stops no other.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('worker');
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'memory_ext'
memory_ext.worker_naptime = 1
memory_ext.seal_after = 0
memory_ext.worker_max_workers = 4
restart_after_crash = on
CONF
$node->start;

# Waits until the query gives t in the database.
sub wait_for
{
	my ($query, $what, $database) = @_;
	ok($node->poll_query_until($database // 'postgres', $query), $what);
	return;
}

# Waits until a worker has begun with all phases later than now.
sub wait_for_visit
{
	my ($what, $database) = @_;
	$database //= 'postgres';
	my $now = $node->safe_psql($database, 'SELECT clock_timestamp()');
	wait_for(
		"SELECT bool_and(last_start > '$now' AND by_worker) FROM memory.maintenance WHERE state <> 'waiting to try again'",
		$what, $database);
	return;
}

is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'memory_ext launcher'}),
	1, 'the launcher runs');

# --- a database that gets the extension is visited, and its tails are sealed
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
$node->safe_psql('postgres', q{SELECT memory.append('ann', gen_random_uuid(), 'user', 'hello')});
wait_for('SELECT count(*) = 0 FROM memory_store.tail', 'a tail that rests is sealed by itself');
wait_for_visit('every phase is begun by a worker');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.maintenance WHERE next_run IS NULL'),
	0, 'memory.maintenance shows when each phase runs next');

# --- one database beside another; a database without the extension is left alone
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('other', 'CREATE EXTENSION memory_ext');
wait_for_visit('another database is visited', 'other');

# --- an error is noted, does not stop the other phases, and is logged once
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{UPDATE memory_store.maintenance_phases SET step = 'no_such_step' WHERE phase = 'purge'});
wait_for(q{SELECT error_sqlstate = '42883' AND failures > 0 FROM memory.maintenance WHERE phase = 'purge'},
	'the error of a phase is shown');
wait_for_visit('the other phases go on');
is($node->safe_psql('postgres', q{SELECT state, next_run > now() + interval '30 s' FROM memory.maintenance WHERE phase = 'purge'}),
	'waiting to try again|t', 'the phase is tried again after a pause');
$node->safe_psql('postgres', q{UPDATE memory_store.maintenance_phases SET retry_at = now() WHERE phase = 'purge'});
wait_for(q{SELECT failures = 2 FROM memory.maintenance WHERE phase = 'purge'}, 'it fails once more');
is($node->safe_psql('postgres', q{SELECT next_run > now() + interval '90 s' FROM memory.maintenance WHERE phase = 'purge'}),
	't', 'the pause has grown');
my @logged = substr(slurp_file($node->logfile), $log) =~ /failed in phase "purge"/g;
is(scalar @logged, 1, 'the same error is logged once');
$node->safe_psql('postgres',
	q{UPDATE memory_store.maintenance_phases SET step = 'purge_step', retry_at = now() WHERE phase = 'purge'});
wait_for(q{SELECT failures = 0 AND state = 'done' FROM memory.maintenance WHERE phase = 'purge'},
	'the phase works again, and its failures are forgotten');

# --- a long visit is in nobody's way: a phase that only waits, as a long one would
$node->safe_psql($_, <<'SQL') for 'postgres', 'other';
CREATE FUNCTION memory_store.slow_step(INOUT place text, batch_size integer, OUT done bigint, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_catalog.pg_sleep(100);
	place := NULL;
	done := 0;
END $$;
INSERT INTO memory_store.maintenance_phases (phase, position, step) VALUES ('slow', 1, 'slow_step');
SQL
my $slow = q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'memory_ext worker' AND datname = '%s' AND wait_event = 'PgSleep'};
wait_for(sprintf($slow, 'other'), 'a worker is at work in a database');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
is($node->safe_psql('copy', q{SELECT count(*) FROM pg_extension WHERE extname = 'memory_ext'}),
	1, 'CREATE DATABASE takes a database as its template in which a worker was at work');
wait_for(sprintf($slow, 'other'), 'the worker comes back');
$node->safe_psql('postgres', 'DROP DATABASE other');
$node->safe_psql('postgres', 'DROP DATABASE copy WITH (FORCE)');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname IN ('other', 'copy')}),
	0, 'DROP DATABASE does not wait for a worker for ever');

# --- switched off, it ends; and a fast shutdown does not wait for it
wait_for(sprintf($slow, 'postgres'), 'a worker is at work where maintenance is slow');
$node->append_conf('postgresql.conf', 'memory_ext.worker = off');
$node->reload;
wait_for(q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'memory_ext worker'},
	'the setting ends the worker');
$node->append_conf('postgresql.conf', 'memory_ext.worker = on');
$node->reload;
wait_for(sprintf($slow, 'postgres'), 'and starts it again');
is($node->safe_psql('postgres', q{SELECT failures FROM memory.maintenance WHERE phase = 'slow'}),
	0, 'a phase that was interrupted has not failed');
$node->stop('fast');
$node->start;

# --- a worker that dies takes the server down once, and its phase then has a pause
wait_for(sprintf($slow, 'postgres'), 'a worker is at work after a restart');
is($node->safe_psql('postgres', q{SELECT failures FROM memory.maintenance WHERE phase = 'slow'}),
	0, 'a shutdown within a phase is no failure');
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
	WHERE backend_type = 'memory_ext worker' AND datname = 'postgres'});
kill 'KILL', $pid;
wait_for(q{SELECT state = 'waiting to try again' AND error_sqlstate = '57P01' FROM memory.maintenance WHERE phase = 'slow'},
	'the phase in which a worker died waits before it is begun again');
wait_for_visit('the other phases go on after the crash');

# --- DROP EXTENSION
$node->safe_psql('postgres',
	'DELETE FROM memory_store.maintenance_phases WHERE step = $$slow_step$$; DROP FUNCTION memory_store.slow_step');
$node->safe_psql('postgres', 'DROP EXTENSION memory_ext');
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
wait_for_visit('the extension is found again after it was dropped and created');
my $all = slurp_file($node->logfile);
unlike($all, qr/PANIC|TRAP/, 'nothing worse is in the log');

$node->stop;
done_testing();
