# What a dashboard shows of one account is read from that account's rows: by indexes, in about as many
# pages as it has rows, however many other accounts there are.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use JSON::PP;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $accounts = 20000;
my $node = new_server('dashboard');
$node->append_conf('postgresql.conf', "fsync = off\nmax_wal_size = 4GB\n");
$node->start;

# Usage of a year, in order of days, as it comes: one account has three models on each day, the others
# one day in thirty.  That one has forty conversations, each tenth of the others one; of those half are
# sealed.
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION memory_ext;
SELECT memory.load_example_plans();
UPDATE memory.plans SET is_default = true WHERE plan_id = 'pro';
SELECT count(memory.append('account ' || n, lpad((n * 100 + c)::text, 32, '0')::uuid, 'user', repeat('message ', 20), 'model 1', 5))
FROM generate_series(7, $accounts, 10) n, generate_series(1, 40) c, generate_series(1, 20) m
WHERE n = 77 OR c = 1 AND m = 1;
SELECT sum(memory.seal('account ' || n)) FROM generate_series(7, $accounts, 20) n;
INSERT INTO memory_store.accounts (account_id, subscription_id, revision, created_at)
SELECT 'account ' || n, 'account ' || n, 1, now() FROM generate_series(1, $accounts) n ON CONFLICT DO NOTHING;
INSERT INTO memory_store.usage_daily (account_id, day, model, messages, input_tokens, output_tokens, content_bytes)
SELECT 'account ' || n, (now() AT TIME ZONE 'UTC')::date - d, 'model ' || m, 20, 3000, 5000, 30000
FROM generate_series(365, 1, -1) d, generate_series(1, $accounts) n, generate_series(1, 3) m
WHERE n = 77 OR (n + d) % 30 = 0 AND m = 1 + n % 3 ORDER BY d DESC, n;
INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token)
SELECT 'model ' || m, '2020-01-01'::date + 100 * v, 0.0000025, 0.00001 FROM generate_series(1, 1000) m, generate_series(1, 3) v;
SELECT memory.record_usage('account 77', 'model 2', 100, 0, 50) FROM generate_series(1, 50);
SELECT memory.reserve_usage('account 77', 'call', 1000);
VACUUM (ANALYZE);
SQL
cmp_ok($node->safe_psql('postgres', "SELECT relpages FROM pg_class WHERE oid = 'memory_store.usage_daily'::regclass"), '>', 3000,
	'a role that reads all sees many rows');

# All nodes of a plan.
sub nodes
{
	my ($node) = @_;
	return ($node, map { nodes($_) } @{ $node->{Plans} // [] });
}

my $rows = 3 * 365 + 40 * 20 + 40 + 50;
foreach my $view (qw(usage_daily usage_by_model usage_current cost_daily storage storage_daily quota_usage subscriptions))
{
	my $column = $view =~ /^(quota_usage|subscriptions)$/ ? 'subscription_id' : 'account_id';
	my $query = "SELECT * FROM memory.$view WHERE $column = 'account 77'";

	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM ($query) v"), '>', 0, "$view: has rows");

	my $plan = decode_json($node->safe_psql('postgres', "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) $query"))->[0]{Plan};
	my @scanned = map { $_->{'Relation Name'} } grep { $_->{'Node Type'} eq 'Seq Scan' } nodes($plan);
	is(join(' ', grep { !/^(plans|plan_limits|usage_calls|reservations)$/ } @scanned), '', "$view: reads no large table as a whole");

	my $pages = $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'};
	# the lookup of a price is a few pages of an index that is read again and again
	cmp_ok($pages, '<', ($view eq 'cost_daily' ? 6 : 2) * $rows, "$view: reads $pages pages");
}

# A session that is confined sees the same of its account, and nothing else.
foreach my $view (qw(usage_daily usage_by_model usage_current cost_daily storage storage_daily))
{
	is($node->safe_psql('postgres',
		"SET memory_ext.account = 'account 77'; SELECT count(*), string_agg(DISTINCT account_id, ' ') FROM memory.$view"),
		$node->safe_psql('postgres',
			"SELECT count(*), 'account 77' FROM memory.$view WHERE account_id = 'account 77'"),
				"$view: a confined session sees the same of its account");
}

is($node->safe_psql('postgres',
	"SELECT sum(messages), sum(requests), sum(output_tokens) FROM memory.usage_daily WHERE account_id = 'account 77'"),
	365 * 3 * 20 + 800 . '|50|' . (365 * 3 * 5000 + 50 * 50), 'the daily usage has all messages, requests and tokens');

$node->stop;
done_testing();
