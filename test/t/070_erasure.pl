# Erasure: what an account wrote is in no table any more, not even in a dictionary that was trained on
# it, in the planner's statistics, or in the account's own rows; and nobody else loses a word.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('erasure');
$node->append_conf('postgresql.conf', <<'CONF');
memory_ext.dictionary_min_accounts = 1
autovacuum = off
memory_ext.dictionary_min_size = '1MB'
memory_ext.compact_after = 0
memory_ext.compact_compression = 'zstd:9'
CONF
$node->start;

my $forgotten = 'mallory@erasure.example';
my $marker = 'Xyzzyquorp';         # in everything that the account wrote

$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION memory_ext;
CREATE FUNCTION say(n integer) RETURNS text LANGUAGE sql IMMUTABLE AS \$\$
	SELECT string_agg((string_to_array('the index is scanned because planner expects few rows and statistics say otherwise'
		|| ' vacuum should run before analyze table grows quickly replication slot keeps segment until standby has read it', ' '))
		[1 + abs(hashint4(n * 31 + i)) % 30], ' ') FROM generate_series(1, 14) i \$\$;
CREATE FUNCTION c(a integer, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS \$\$ SELECT lpad(to_char(a, 'FM00') || to_char(n, 'FM00'), 32, '0')::uuid \$\$;
-- 1.6 MB of 21 accounts; what one of them says recurs often enough to be learned.  maintain() shall do that.
SET memory_ext.auto_dictionary = off;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'account ' || a, c(a, n), 'user', say(a * 10000 + n * 100 + i), '2020-01-01Z'
	FROM generate_series(10, 29) a, generate_series(1, 11) n, generate_series(1, 64) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content, model, message_id, metadata, created_at)
	SELECT '$forgotten', c(30, n), 'role of $marker',
		say(300000 + n * 100 + i) || format(' $marker lives in Nowhere Lane %s and eats %s pies ', i % 7, i % 5),
		'$marker model', '$marker id ' || i, jsonb_build_object('$marker', i), '2020-01-01Z'
	FROM generate_series(1, 20) n, generate_series(1, 64) i;
-- and all other places that hold something of an account
SELECT memory.append('$forgotten', c(30, 1), 'role of $marker', '$marker in a tail, for long', model => '$marker model',
	message_id => '$marker id', metadata => '{"$marker": 1}');
SELECT memory.append('$forgotten', c(30, n), 'user', '$marker in a tail, for long', message_id => '$marker id',
	metadata => '{"$marker": 1}') FROM generate_series(2, 20) n;
SELECT memory.update_conversation('$forgotten', c(30, n), title => '$marker title', metadata => '{"$marker": 1}')
	FROM generate_series(1, 20) n;
SELECT memory.delete_message('$forgotten', c(30, n), 1) FROM generate_series(1, 20) n;
SELECT memory.delete_conversation('$forgotten', c(30, 20));
SELECT memory.set_retention('$forgotten', '1000 years');
SELECT memory.load_example_plans();
SELECT memory.subscribe('$forgotten', 'team');
SELECT memory.reserve_usage('$forgotten', '$marker reservation ' || i, 1) FROM generate_series(1, 3) i;
SELECT memory.enforce_limit('$forgotten', 'content_bytes', 1);
SELECT memory.record_usage('$forgotten', 'model ' || i % 2, 1, 0, 1, request_id => '$marker request ' || i) FROM generate_series(1, 5) i;
INSERT INTO memory_store.outbox (type, subscription_id, account_id, data)
	SELECT 'x', '$forgotten', '$forgotten', jsonb_build_object('account_id', '$forgotten', '$marker', i) FROM generate_series(1, 3) i;
INSERT INTO memory_store.usage_reported VALUES (current_date, '$forgotten');
INSERT INTO memory.import_stage (account_id, line)
	SELECT '$forgotten', '{"messages": [{"role": "user", "content": "$marker", "created_at": "$marker"}]}' FROM generate_series(1, 2);
SELECT memory.create_conversation('accounts before it', c(60, 1));
SELECT memory.set_retention('account ' || a, '1000 years') FROM generate_series(10, 12) a;
SQL

# Where a text is, in all tables of the database, system catalogs and TOAST included; transcripts are
# read as text, bytes as bytes, and dictionaries as zstd uses them.
sub places_of
{
	my ($text) = @_;
	my $sql = $node->safe_psql('postgres', <<"SQL");
SELECT format('SELECT %L || count(*) FROM %s t WHERE strpos(t::text, %L) > 0', c.oid::regclass || ': ', c.oid::regclass, '$text')
	|| ' HAVING count(*) > 0'
FROM pg_class c WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
UNION ALL
SELECT format('SELECT %L || count(*) FROM %s t WHERE position(convert_to(%L, %L) IN %I) > 0', c.oid::regclass || '.' || attname || ': ',
	c.oid::regclass, '$text', 'UTF8', attname)
	|| ' HAVING count(*) > 0'
FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
WHERE relkind IN ('r', 'm', 't') AND relpersistence <> 't' AND atttypid = 'bytea'::regtype
UNION ALL
SELECT format('SELECT %L || count(*) FROM memory_store.dictionaries
	WHERE position(convert_to(%L, %L) IN memory_store.dictionary_content(dictionary_id)) > 0 HAVING count(*) > 0',
	'memory_store.dictionaries.content: ', '$text', 'UTF8')
SQL
	return $node->safe_psql('postgres', join("\nUNION ALL\n", split(/\n(?=SELECT )/, $sql =~ s/\s+\z//r)) . "\nORDER BY 1");
}

sub psql_like_maintain
{
	my ($name, @patterns) = @_;
	my ($status, $out, $err) = $node->psql('postgres', 'CALL memory.maintain()');
	is($status, 0, $name);
	like($err, $_, "$name: $_") for @patterns;
	return;
}

# --- trained by maintain() itself, with the account's words in it; all is compressed with it
psql_like_maintain('maintain() trains and compacts', qr/trained dictionary \d+/, qr/compacted \d\d\d segments/);
is($node->safe_psql('postgres',
	"SELECT count(*), count(*) FILTER (WHERE position('$marker'::bytea IN memory_store.dictionary_content(dictionary_id)) > 0)
		FROM memory_store.dictionaries"),
	'1|1', 'the dictionary holds the account\'s words');
is($node->safe_psql('postgres',
	'SELECT count(DISTINCT account_id) FROM memory_store.segments WHERE memory.dictionary_id(body) IS NOT NULL'),
	'21', 'the segments of all accounts need the dictionary');
$node->safe_psql('postgres', 'ANALYZE');

# the search finds what there is to be found
# a job that has rejected something, and lines that nobody has imported
$node->psql('postgres', "SET memory_ext.account = '$forgotten'; CALL memory.import_staged('native', on_error => 'skip')");
$node->safe_psql('postgres',
	"INSERT INTO memory.import_stage (account_id, line) VALUES ('$forgotten', '$marker'), ('$forgotten', '$marker too')");
$node->safe_psql('postgres', "SELECT memory.record_usage('$forgotten', '$marker model ' || i % 2, 1, 0, 1) FROM generate_series(1, 5) i");
$node->safe_psql('postgres', 'ANALYZE');
my $places = places_of($marker);
for my $table (qw(conversations segments tail tombstones reservations usage_requests outbox job_errors dictionaries.content))
{
	like($places, qr/^memory_store\.\Q$table\E: [1-9]/m, "before: the text is in $table");
}
unlike($places, qr/pg_statistic/, 'the planner\'s statistics have none of it');
$places = places_of($forgotten);
like($places, qr/^memory\.import_stage: 2/m, 'before: the text is in import_stage');
for my $table (qw(accounts conversations segments tail tombstones dictionary_accounts retention
	subscriptions reservations outside_usage subscription_plans usage_calls usage_requests usage_reported outbox jobs job_errors))
{
	like($places, qr/^memory_store\.\Q$table\E: [1-9]/m, "before: the account_id is in $table");
}
like($places, qr/^pg_statistic: /m, 'before: the account_id is in the planner\'s statistics');
is($node->safe_psql('postgres',
	"SELECT string_agg(DISTINCT tablename, ' ' ORDER BY tablename) FROM pg_stats WHERE most_common_vals::text LIKE '%$forgotten%'
		AND tablename NOT IN ('conversations', 'segments', 'usage_daily')"),
	'outbox usage_calls usage_requests', 'before: the statistics of tables that will be empty have the account_id, too');

# --- forgotten
my $others = "SELECT md5(string_agg(m::text, E'\\n' ORDER BY conversation_id, seq)), count(*) FROM memory.messages m
	WHERE account_id <> '$forgotten'";
my $before = $node->safe_psql('postgres', $others);
like($before, qr/\|14080$/, 'the other accounts\' messages are there before');
is($node->safe_psql('postgres', <<"SQL"), '19|1216|19|19|19|1|1', 'the receipt counts what was erased');
SELECT r -> 'conversations', r -> 'messages', r -> 'segments', r -> 'tail_messages', r -> 'tombstones',
	jsonb_array_length(r -> 'stale_dictionaries'), r #> '{pending,dictionaries}'
FROM memory.forget('$forgotten') r
SQL
# how many tables were analyzed before is autovacuum's business
like(places_of($forgotten), qr/^pg_statistic: \d+\z/, 'the account is gone at once, but for the statistics');
is(join(' ', map { s/: .*//r } split /\n/, places_of($marker)),
	join(' ', map { s/: .*//r } grep { /dictionaries|pg_toast/ } split /\n/, places_of($marker)),
	'the account\'s text is left in the dictionary only');
like(places_of($marker), qr/dictionaries/, 'the dictionary still holds the account\'s text');
is($node->safe_psql('postgres', $others), $before, 'the others are as they were');
is($node->safe_psql('postgres', 'SELECT is_current, stale_at IS NOT NULL, segments FROM memory.dictionaries'), 'f|t|220',
	'the dictionary is stale');

# what is written meanwhile does without it
is($node->safe_psql('postgres', "SELECT memory.append('account 10', c(40, 1), 'user', say(1)), memory.seal('account 10')"), '1|1',
	'a message is sealed');
is($node->safe_psql('postgres',
	'SELECT count(memory.dictionary_id(body)), count(*) FROM memory_store.segments WHERE conversation_id = c(40, 1)'), '0|1',
	'the message is sealed without the stale dictionary');
$node->safe_psql('postgres', "SELECT memory.delete_conversation('account 10', c(40, 1))");

# --- until maintenance is done
psql_like_maintain('maintain() erases the rest', qr/trained dictionary \d+/, qr/recompressed 220 segments of stale dictionaries/,
	qr/dropped 1 dictionaries/);
is(places_of($marker), '', 'no byte of the account\'s text is in any table');
is(places_of($forgotten), '', 'the account_id is in no table');
is($node->safe_psql('postgres', $others), $before, 'the others are as they were');
is($node->safe_psql('postgres', 'SELECT is_current, stale_at, segments FROM memory.dictionaries'), 't||220',
	'another dictionary has taken the place of the stale one');
is($node->safe_psql('postgres', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing');
is(problems_of($node), '', 'the check by hand finds nothing');

# --- an account of which nothing but deleted conversations is left, and one that nobody knows
is($node->safe_psql('postgres', <<"SQL"), "1|0|0\n0|0|0", 'receipts count deleted conversations, and nothing of an unknown account');
SELECT memory.append('quintus', c(50, 1), 'user', 'Plugh') \\g /dev/null
SELECT memory.append('quintus', c(50, 2), 'user', 'Plugh') \\g /dev/null
SELECT memory.delete_conversation('quintus', c(50, 1)) \\g /dev/null
SELECT memory.delete_message('quintus', c(50, 2), 1) \\g /dev/null
SELECT r -> 'conversations', r -> 'messages', jsonb_array_length(r -> 'stale_dictionaries') FROM memory.forget('quintus') r;
SELECT r -> 'conversations', r -> 'messages', jsonb_array_length(r -> 'stale_dictionaries') FROM memory.forget('nobody') r;
SQL
is(places_of('quintus') . places_of('Plugh'), '', 'nothing is left of the account');

$node->stop;
done_testing();
