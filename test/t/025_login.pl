# Sessions that begin as the roles they are about (test/login), and the regression tests that begin
# new sessions on a server as Debian installs it, where the operating system's user is the role.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../lib";
use MemoryTest;

my $project = "$FindBin::RealBin/../..";
my $node = new_server('main', auth_extra => [ '--create-role', 'regress_ann,regress_gateway' ]);
$node->start;

# pg_regress(inputdir, test ...): in a database of its own; shows the differences.
sub pg_regress_succeeds
{
	my ($name, $inputdir, @tests) = @_;
	my $out = PostgreSQL::Test::Utils::tempdir();
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $status = system($ENV{PG_REGRESS}, "--inputdir=$inputdir", "--outputdir=$out", '--bindir=', '--host=' . $node->host,
		'--port=' . $node->port, '--encoding=UTF8', '--load-extension=memory_ext', @tests);
	is($status, 0, $name) or diag -e "$out/regression.diffs" ? slurp_file("$out/regression.diffs") : 'no differences';
	return;
}

pg_regress_succeeds("settings of a role hold in its sessions, and are not the role's to change", "$project/test/login", 'login');
$node->safe_psql('postgres', 'DROP DATABASE regression');

# those that begin new sessions
my @tests = map { m{([^/]+)\.sql$} } grep { slurp_file($_) =~ /^\\c/m } sort glob "$project/sql/*.sql";
cmp_ok(scalar @tests, '>', 0, "tests begin new sessions: @tests");
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', 'local all all peer');
$node->reload;
isnt($node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'regress_nobody' ]),
	0, 'nobody becomes another role by its name');
pg_regress_succeeds('installcheck needs no other role than that of the user', $project, @tests);

$node->stop;
done_testing();
