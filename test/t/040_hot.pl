# Appends update the rows of their account and conversation in place: HOT, so
# that no index grows and no vacuum is needed for them.  With default settings.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $appends = 10_000;
my $clients = 2;

my $node = new_server('hot');
$node->append_conf('postgresql.conf', "log_statement = none\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION memory_ext');
my $dir = PostgreSQL::Test::Utils::tempdir;

# 500 conversations of so many accounts, then the appends; returns percentages.
sub hot_updates
{
	my ($accounts) = @_;

	$node->safe_psql('postgres', <<"SQL");
TRUNCATE memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
SELECT 'account ' || i % $accounts, lpad(i::text, 32, '0')::uuid, 'system', 'Answer briefly.' FROM generate_series(1, 500) i;
SELECT pg_stat_reset_single_table_counters(('memory_store.' || t)::regclass) FROM unnest('{accounts,conversations}'::text[]) t;
SQL
	write_file("$dir/append.sql", <<"SQL");
\\set i random(1, 500)
SELECT memory.append('account ' || :i % $accounts, lpad(:i::text, 32, '0')::uuid, 'user',
	'What is the weather like in Tallinn tomorrow morning, and shall I take an umbrella?');
SQL
	$node->command_ok(
		[
			'pgbench', '-n', '-c', $clients, '-t', $appends / $clients, '-M', 'prepared', '--random-seed=1',
			'-f', "$dir/append.sql", $node->connstr('postgres')
		],
		"$appends appends, $accounts accounts");

	# a backend reports when it ends; the last one may be at it still
	ok($node->poll_query_until('postgres',
		"SELECT count(*) = 2 FROM pg_stat_user_tables WHERE schemaname = 'memory_store' AND relname IN ('accounts', 'conversations')
			AND n_tup_upd >= $appends"),
		'the counters have arrived');
	my %percent = map { split /\|/ } split /\n/, $node->safe_psql('postgres', <<"SQL");
SELECT relname, round(100.0 * n_tup_hot_upd / n_tup_upd, 1) FROM pg_stat_user_tables
WHERE schemaname = 'memory_store' AND relname IN ('accounts', 'conversations')
SQL
	note("$accounts accounts: $_ $percent{$_} % HOT") for sort keys %percent;
	return %percent;
}

my %percent = hot_updates(100);
cmp_ok($percent{accounts}, '>=', 90, 'accounts are updated in place');
cmp_ok($percent{conversations}, '>=', 90, 'conversations are updated in place');
is($node->safe_psql('postgres', 'SELECT count(*) FROM memory.messages'), $appends + 500, 'nothing is missing');
is(problems_of($node), '', 'the tables agree with each other');

# The account that all have in common crosses a bucket of 1024 revisions ten times, and each of
# its conversations follows with an update that is not HOT.  Its own row stays in place.
%percent = hot_updates(1);
cmp_ok($percent{accounts}, '>=', 90, 'the row of one busy account is updated in place');

$node->stop;
done_testing();
