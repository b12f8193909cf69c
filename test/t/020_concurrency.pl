# Many writers at once: appends, bulk INSERTs, COPYs, edits, deletes and seals
# of the same few conversations.  Whatever was acknowledged is there afterwards,
# once; the counters are right; nobody waited in a circle.  Then two-phase
# commit.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $transactions = 400;    # of each client
my $accounts = 3;
my $conversations = 4;     # of each account

my $node = new_server('concurrency');
$node->append_conf('postgresql.conf', <<'CONF');
max_prepared_transactions = 5
log_lock_waits = off
deadlock_timeout = 100ms
memory_ext.segment_messages = 16
CONF
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
-- what a client was told; written in the transaction of the append
CREATE TABLE acknowledged (account_id text, conversation_id uuid, seq bigint, content text);
CREATE TABLE edited (account_id text, conversation_id uuid, seq bigint, content text);
CREATE TABLE deleted (account_id text, conversation_id uuid, seq bigint);
CREATE TABLE copied (file integer);
CREATE SEQUENCE numbers;
CREATE FUNCTION account(a integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'account ' || a $$;
CREATE FUNCTION conversation(a integer, c integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT lpad(a::text || lpad(c::text, 4, '0'), 32, '0')::uuid $$;
SQL

# Files for COPY: 90 rows over all accounts, in one order and in the other,
# so that the conversations are interleaved.
for my $file (1, 2)
{
	my @rows = map {
		my ($a, $c) = (1 + $_ % $accounts, 1 + $_ % $conversations);
			sprintf("account %d,%s,user,line %d of file %d\n", $a, sprintf('%032s', sprintf('%d%04d', $a, $c)), $_, $file);
	} 0 .. 89;
	write_file("$dir/$file.csv", $file == 1 ? @rows : reverse @rows);
}

# --- the mix, by pgbench's weights; errors would end a client, and the test
my %scripts = (
	'append@30' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT nextval('numbers') AS n \gset
INSERT INTO acknowledged SELECT account(:a), conversation(:a, :c),
	memory.append(account(:a), conversation(:a, :c), 'user', 'append ' || :n), 'append ' || :n;
COMMIT;
SQL
	'rolled_back@3' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT memory.append(account(:a), conversation(:a, :c), 'user', 'never');
ROLLBACK;
SQL
	'batch@5' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT nextval('numbers') AS n \gset
INSERT INTO acknowledged SELECT account(:a), conversation(:a, :c), seq, 'batch ' || :n || '.' || i
FROM unnest(memory.append(account(:a), conversation(:a, :c),
	(SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'batch ' || :n || '.' || i)) FROM generate_series(1, 5) i)))
	WITH ORDINALITY u (seq, i);
COMMIT;
SQL
	# seq is left out: the accounts are locked as the rows come, so these come in order
	'insert@6' => <<'SQL',
\set c random(1, 4)
BEGIN;
SELECT nextval('numbers') AS n \gset
WITH inserted AS (
	INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT account(a), conversation(a, :c), 'user', 'insert ' || :n || '.' || i
	FROM generate_series(1, 3) a, generate_series(1, 3) i ORDER BY a, i
	RETURNING account_id, conversation_id, seq, content)
INSERT INTO acknowledged SELECT * FROM inserted;
COMMIT;
SQL
	'bulk@2' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT nextval('numbers') AS n \gset
WITH inserted AS (
	INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT account(:a), conversation(:a, :c), 'user', 'bulk ' || :n || '.' || i FROM generate_series(1, 70) i
	RETURNING account_id, conversation_id, seq, content)
INSERT INTO acknowledged SELECT * FROM inserted;
COMMIT;
SQL
	'copy_1@2' => "BEGIN;\nCOPY memory.messages (account_id, conversation_id, role, content)
		FROM '$dir/1.csv' (FORMAT csv);\nINSERT INTO copied VALUES (1);\nCOMMIT;\n",
	'copy_2@2' => "BEGIN;\nCOPY memory.messages (account_id, conversation_id, role, content)
		FROM '$dir/2.csv' (FORMAT csv);\nINSERT INTO copied VALUES (2);\nCOMMIT;\n",
	# an account's lock is taken first, so that the message is still what was read
	'edit@8' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT memory.append(account(:a), conversation(:a, 99), 'user', 'an edit follows');
WITH chosen AS (
	SELECT account_id, conversation_id, seq, 'edited by ' || :client_id || ', ' || content AS content FROM memory.messages
	WHERE account_id = account(:a) AND conversation_id = conversation(:a, :c) ORDER BY md5(seq || :client_id::text) LIMIT 1
), done AS (
	SELECT chosen.*, memory.edit_message(account_id, conversation_id, seq, content) AS revision FROM chosen
)
INSERT INTO edited SELECT account_id, conversation_id, seq, content FROM done;
COMMIT;
SQL
	'delete@4' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
BEGIN;
SELECT memory.append(account(:a), conversation(:a, 99), 'user', 'a delete follows');
WITH gone AS (
	DELETE FROM memory.messages m WHERE account_id = account(:a) AND conversation_id = conversation(:a, :c)
		AND seq % 37 = :client_id RETURNING account_id, conversation_id, seq
)
INSERT INTO deleted SELECT * FROM gone;
COMMIT;
SQL
	# blind edits and deletes of what may be gone by then
	'blind@4' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
\set s random(1, 200)
UPDATE memory.messages SET model = 'model' WHERE account_id = account(:a) AND conversation_id = conversation(:a, :c) AND seq = :s;
SQL
	'seal@3' => "\\set a random(1, 3)\n\\set c random(1, 4)\nSELECT memory.seal(account(:a), conversation(:a, :c));\n",
	'seal_all@1' => "SELECT memory.seal();\n",
	'read@4' => <<'SQL',
\set a random(1, 3)
\set c random(1, 4)
SELECT count(*) FROM memory.messages WHERE account_id = account(:a) AND conversation_id = conversation(:a, :c);
SQL
);

my @files = map {
	my ($name, $weight) = split /@/;
	('-f', write_file("$dir/$name.sql", $scripts{$_}) . "\@$weight");
} sort keys %scripts;

# every conversation exists, so that every script finds its own
$node->safe_psql('postgres',
	"INSERT INTO acknowledged SELECT account(a), conversation(a, c), memory.append(account(a), conversation(a, c), 'user', 'first'),
		'first'
	FROM generate_series(1, $accounts) a, generate_series(1, $conversations) c");

$node->command_checks_all(
	[
		'pgbench', '-n', '-c', $clients, '-j', 2, '-t', $transactions, '--random-seed=1', '--max-tries=100',
		'-M', 'prepared', @files, $node->connstr('postgres')
	],
	0,
	[ qr{transactions actually processed: @{[ $clients * $transactions ]}/}, qr{number of failed transactions: 0 } ],
	[qr{^}],
	'all clients reach their end');

my $log = slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'nobody waited in a circle');
unlike($log, qr/ERROR: (?! could not serialize access)/, 'the only errors are serialization failures');
is(problems_of($node), '', 'the tables agree with each other');
is($node->safe_psql('postgres', 'SELECT * FROM memory.usage_drift'), '', 'usage is what the messages were');

is($node->safe_psql('postgres', <<'SQL'), '', 'no acknowledged message is lost');
SELECT a.account_id, a.conversation_id, a.seq, a.content, m.content
FROM acknowledged a LEFT JOIN memory.messages m USING (account_id, conversation_id, seq)
WHERE m.content IS DISTINCT FROM a.content
	AND NOT EXISTS (SELECT FROM deleted d WHERE d.seq = a.seq AND d.conversation_id = a.conversation_id)
	AND NOT EXISTS (SELECT FROM edited e WHERE e.seq = a.seq AND e.conversation_id = a.conversation_id
		AND e.content = m.content AND e.content LIKE '%, ' || a.content)
LIMIT 10
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'none was acknowledged twice');
SELECT account_id, conversation_id, seq, count(*) FROM acknowledged GROUP BY 1, 2, 3 HAVING count(*) > 1 LIMIT 10
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'the longest chain of edits is the one that is there');
SELECT m.account_id, m.conversation_id, m.seq, m.content
FROM memory.messages m JOIN (
	SELECT account_id, conversation_id, seq, count(*) AS edits FROM edited GROUP BY 1, 2, 3
) e USING (account_id, conversation_id, seq)
WHERE regexp_count(m.content, 'edited by') <> edits LIMIT 10
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'what was deleted has a tombstone, and nothing else has');
SELECT * FROM deleted FULL JOIN memory_store.tombstones t USING (account_id, conversation_id, seq)
WHERE deleted IS NULL OR t IS NULL LIMIT 10
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'seqs are 1 to n: no hole but where a message was deleted');
SELECT account_id, conversation_id, next_seq, numbers FROM memory_store.conversations LEFT JOIN (
	SELECT account_id, conversation_id, array_agg(seq ORDER BY seq) AS numbers FROM (
		SELECT account_id, conversation_id, seq FROM memory.messages
		UNION ALL SELECT account_id, conversation_id, seq FROM memory_store.tombstones) n GROUP BY 1, 2
) n USING (account_id, conversation_id)
WHERE numbers IS DISTINCT FROM (SELECT array_agg(i) FROM generate_series(1, next_seq - 1) i) LIMIT 3
SQL
is($node->safe_psql('postgres', <<'SQL'), '0', 'what was rolled back is not there');
SELECT count(*) FROM memory.messages WHERE content = 'never'
SQL

# Rows of COPY have no witness but their content; those deleted are the deleted ones that nobody
# else was told of.
is($node->safe_psql('postgres', <<'SQL'), 't', 'the rows of every committed COPY are there, and of no other');
SELECT (SELECT count(*) FROM memory.messages WHERE content ~ 'line \d+ of file')
	+ (SELECT count(*) FROM deleted d WHERE NOT EXISTS
		(SELECT FROM acknowledged a WHERE a.seq = d.seq AND a.conversation_id = d.conversation_id))
	= (SELECT 90 * count(*) FROM copied)
SQL

# The mix must have done what it is for.
is($node->safe_psql('postgres', <<'SQL'), 't', 'every kind of work was done');
SELECT (SELECT count(*) FROM edited) > 10 AND (SELECT count(*) FROM deleted) > 10
	AND (SELECT count(DISTINCT file) FROM copied) = 2 AND (SELECT count(*) FROM memory_store.segments) > 10
	AND (SELECT count(*) FROM acknowledged) > 1000
SQL

# --- accounts that nobody has seen before, made by all clients at once
write_file("$dir/new.sql", <<'SQL');
\set a random(1, 40)
BEGIN;
INSERT INTO acknowledged SELECT 'new ' || :a, conversation(100 + :a, 1), memory.append('new ' || :a, conversation(100 + :a, 1), 'user',
	'new'), 'new';
COMMIT;
SQL
$node->command_ok(
	[ 'pgbench', '-n', '-c', $clients, '-j', 2, '-t', 40, '--random-seed=1', '-f', "$dir/new.sql", $node->connstr('postgres') ],
	'new accounts, made by many');
is($node->safe_psql('postgres', <<'SQL'), $clients * 40, 'no message of theirs is lost');
SELECT count(*) FROM acknowledged a JOIN memory.messages m USING (account_id, conversation_id, seq, content)
WHERE account_id LIKE 'new %'
SQL
is(problems_of($node), '', 'the tables agree after all clients have ended');

# --- two-phase commit
my ($a, $b) = (conversation(501), conversation(502));
$node->safe_psql('postgres', <<"SQL");
BEGIN;
SELECT memory.append('two', '$a', 'user', 'prepared');
SELECT memory.append('two', '$a', 'user', 'prepared too');
PREPARE TRANSACTION 'appends';
BEGIN;
COPY memory.messages (account_id, conversation_id, role, content)
	FROM PROGRAM \$\$for i in 1 2 3; do echo phase,$b,user,copied \$i; done\$\$ (FORMAT csv);
PREPARE TRANSACTION 'copy';
BEGIN;
INSERT INTO memory.messages (account_id, conversation_id, role, content) SELECT 'gone', '$b', 'user', 'row ' || i
	FROM generate_series(1, 100) i;
UPDATE memory.messages SET model = 'm' WHERE account_id = 'gone';
DELETE FROM memory.messages WHERE account_id = 'gone' AND seq = 50;
SELECT memory.seal('gone');
PREPARE TRANSACTION 'undone';
SQL
is($node->safe_psql('postgres', "SELECT count(*) FROM memory.messages WHERE account_id IN ('two', 'phase', 'gone')"),
	'0', 'what is prepared is not seen');
like(
	($node->psql('postgres', "SET lock_timeout = '100ms'; SELECT memory.append('two', '$a', 'user', 'x')"))[2],
	qr/canceling statement due to lock timeout/,
	'a prepared transaction keeps its account');

# it outlives the server
$node->restart;
is($node->safe_psql('postgres', 'SELECT string_agg(gid, \' \' ORDER BY gid) FROM pg_prepared_xacts'),
	'appends copy undone', 'prepared transactions outlive a restart');
$node->safe_psql('postgres', $_) for "COMMIT PREPARED 'appends'", "COMMIT PREPARED 'copy'", "ROLLBACK PREPARED 'undone'";
my $copied = "phase|1|copied 1\nphase|2|copied 2\nphase|3|copied 3\ntwo|1|prepared\ntwo|2|prepared too";
is($node->safe_psql('postgres', <<'SQL'), $copied, 'transactions of the phases have committed what they wrote');
SELECT account_id, seq, content FROM memory.messages WHERE account_id IN ('two', 'phase', 'gone') ORDER BY 1, 2
SQL
is($node->safe_psql('postgres', "SELECT memory.append('two', '$a', 'user', 'after')"), '3', 'numbers go on');
is(problems_of($node), '', 'the tables agree after two-phase commit');

$node->stop;
done_testing();
