# Plans are written in one place and come to other servers by logical replication, whose apply
# worker fires no statement triggers: sessions that are open there go by them all the same.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $from = new_server('from', allows_streaming => 'logical');
my $to = new_server('to', allows_streaming => 'logical');
for my $node ($from, $to)
{
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
}
$from->safe_psql('postgres', 'CREATE PUBLICATION plans FOR TABLE memory.plans, memory.plan_limits');
my $source = 'host=' . $from->host . ' port=' . $from->port . ' dbname=postgres';
$to->safe_psql('postgres', "CREATE SUBSCRIPTION plans CONNECTION '$source' PUBLICATION plans");
$to->wait_for_subscription_sync($from, 'plans') if $to->can('wait_for_subscription_sync');

# One session of the other server: between its statements, plans change here.
my $id = conversation(1);
my $append = "DO \$\$ BEGIN PERFORM memory.append('a', '$id', 'user', 'x'); RAISE NOTICE 'admitted';
	EXCEPTION WHEN SQLSTATE 'MX001' THEN RAISE NOTICE 'refused'; END \$\$;\n";
my $arrived = sub {
	my ($condition) = @_;
	return "DO \$\$ BEGIN FOR i IN 1..6000 LOOP IF ($condition) THEN RETURN; END IF; PERFORM pg_sleep(0.01); END LOOP;
		RAISE 'nothing arrived'; END \$\$;\n";
};
sub here
{
	return "\\! psql -XAtq -d '$source' -c \"$_[0]\"\n";
}
my ($out, $err) = ('', '');
$to->psql('postgres',
	$append x 2
	  . here("INSERT INTO memory.plans (plan_id, is_default) VALUES ('p', true)")
	  . here("INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('p', 'messages', 'lifetime', 2)")
	  . $arrived->('SELECT count(*) = 1 FROM memory.plan_limits') . $append x 5
	  . here('UPDATE memory.plan_limits SET limit_value = 3')
	  . $arrived->('SELECT limit_value = 3 FROM memory.plan_limits') . $append x 2,
	stdout => \$out, stderr => \$err, on_error_stop => 1);
is(join(' ', $err =~ /(admitted|refused|ERROR.*)/g), join(' ', ('admitted') x 4, ('refused') x 3, 'admitted', 'refused'),
	'limits that arrive are enforced from then on')
  or diag($err);
$to->stop;
$from->stop;
done_testing();
