# EXPLAIN in a session that is confined to one account: whatever other accounts have, it says the
# same.  Each statement is the first of its session, and the library is not preloaded.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('explain');
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE ann LOGIN;
SELECT memory.grant_access('ann', 'operator');
ALTER ROLE ann SET memory_ext.account = 'ann';
GRANT TEMPORARY ON DATABASE postgres TO ann;
CREATE ROLE free LOGIN;
SELECT memory.grant_access('free', 'operator');
INSERT INTO memory.plans (plan_id, is_default) VALUES ('p', true);
INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('p', 'messages', 'month', 100000);
SELECT memory.append('ann', '00000000-0000-0000-0000-000000000001', 'user', 'hello');
SELECT memory.seal();
CALL memory.maintain();
ANALYZE;
SQL

my @views = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT oid::regclass FROM pg_class WHERE relnamespace = 'memory'::regnamespace AND relkind IN ('v', 'f', 'r')
	AND has_table_privilege('ann', oid, 'SELECT') ORDER BY relname
SQL
my @ways = (
	'EXPLAIN SELECT * FROM %s',
	"EXPLAIN SELECT 1 FROM %s x WHERE x::text LIKE '%%bob%%'",
	'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT * FROM %s',
	'PREPARE p AS SELECT * FROM %s; EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) EXECUTE p',
	'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) CREATE TEMP TABLE t AS SELECT * FROM %s',
	'EXPLAIN DECLARE c CURSOR FOR SELECT * FROM %s');

# What a role is told by each statement.
sub answers
{
	my ($role, @some) = @_;
	my %told;
	foreach my $view (@views)
	{
		foreach my $way (@some ? @some : @ways)
		{
			my $statement = sprintf $way, $view;
			my (undef, $out, $err) = $node->psql('postgres', $statement, extra_params => [ '-U', $role ]);
			$told{$statement} = "$out\n$err";
		}
	}
	return \%told;
}

sub same
{
	my ($before, $after) = @_;
	return join("\n", map { "$_:\n$before->{$_}\n$after->{$_}" } grep { $before->{$_} ne $after->{$_} } sort keys %$before);
}

my $alone = answers('ann');
my $unconfined = answers('free', $ways[0]);
$node->safe_psql('postgres', <<'SQL');
SELECT count(memory.append('bob' || n, '00000000-0000-0000-0000-000000000002', 'user', 'hello')) FROM generate_series(1, 300) n;
SELECT count(memory.record_usage('bob' || n, 'm', 10, 0, 10, request_id => 'r')) FROM generate_series(1, 300) n;
SELECT count(memory.reserve_usage('bob' || n, 'call', 10)) FROM generate_series(1, 300) n;
SELECT memory.seal();
CALL memory.maintain();
ANALYZE;
SQL
is(same($alone, answers('ann')), '', 'a confined session is told the same, whatever others have');
isnt(same($unconfined, answers('free', $ways[0])), '', 'the numbers are there for others');
my @refused = grep { $alone->{$_} =~ /confined to one account and cannot explain/ } keys %$alone;
cmp_ok(scalar @refused, '>', 8 * @ways, 'plans on the tables of all accounts are refused');
is(join(' ', grep { /memory\.(messages|conversations)\b/ } @refused), '', 'those on the relations are not');
is($node->safe_psql('postgres', 'SELECT count(*), min(account_id) FROM memory.usage_daily', extra_params => [ '-U', 'ann' ]), '1|ann',
	'the views themselves can be read');
$node->stop;
done_testing;
