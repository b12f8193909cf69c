# A physical standby: everything that reads works there, also what was sealed,
# compacted and compressed with a dictionary; everything that writes is refused
# as PostgreSQL refuses it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $columns = conversation_columns();
my $primary = new_server('primary', allows_streaming => 1);
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# all of it comes over the stream, the extension too
my ($long, $branched) = map { conversation($_) } 1 .. 2;
$primary->safe_psql('postgres', <<"SQL");
CREATE EXTENSION memory_ext;
\\copy memory.conversations ($columns) FROM '@{[ samples('conversations.csv') ]}' (FORMAT csv, HEADER)
\\copy memory.messages FROM '@{[ samples('messages.csv') ]}' (FORMAT csv, HEADER)
SELECT memory.append('a', '$long', CASE i WHEN 1 THEN 'system' ELSE 'user' END, 'message ' || i) FROM generate_series(1, 150) i;
SELECT memory.append('a', '$branched', 'user', 'root'), memory.append('a', '$branched', 'user', 'left');
SELECT memory.append('a', '$branched', 'user', 'right', parent_seq => 1);
SELECT memory.seal('acme');
SET memory_ext.compact_after = 0;
SELECT memory_store.compact_batch('00000000-0000-0000-0000-000000000000', '', 100);
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
SELECT 'trained ' || i % 3, lpad(i::text, 32, 'a')::uuid, n, 'user',
	'The ' || n || '. train of day ' || i || ' leaves from platform ' || i * n % 17 || ' and is ' || i * 7 % 13 ||
	' minutes late, for which we apologize.'
FROM generate_series(1, 1500) i, generate_series(1, 8) n;
SELECT FROM memory.train_dictionary(min_gain => -100);
SELECT memory.append('a', '@{[ conversation(3) ]}', 'user', 'sealed with the dictionary') FROM generate_series(1, 64);
CREATE ROLE app LOGIN;
SELECT memory.grant_access('app', 'writer');
SQL
is($primary->safe_psql('postgres', 'SELECT count(*) > 0 FROM memory.dictionaries WHERE segments > 0'), 't',
	'a segment needs the dictionary');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# --- reading
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');
ok(views_of($standby) eq views_of($primary), 'both views are the same');
is(digest_of($standby), digest_of($primary), 'the tables are the same on the standby');
is(problems_of($standby), '', 'the tables agree with each other on the standby');

for (
	[ 'history', "SELECT seq, parent_seq, role, content, tokens FROM memory.history('a', '$long', before_seq => 100, max_messages => 60)" ],
	[ 'history of a branch', "SELECT seq, content FROM memory.history('a', '$branched')" ],
	[ 'history with a dictionary', "SELECT seq, content FROM memory.history('a', '@{[ conversation(3) ]}')" ],
	[ 'context', "SELECT seq, content FROM memory.context('a', '$long', 300)" ],
	[ 'context of a branch', "SELECT seq, content FROM memory.context('a', '$branched', 300)" ],
	[ 'message', "SELECT (memory.message('a', '$long', 70)).content" ],
	[ 'recent_conversations', "SELECT * FROM memory.recent_conversations('acme')" ],
	[ 'storage', 'SELECT * FROM memory.storage ORDER BY account_id' ],
	[ 'dictionaries', 'SELECT * FROM memory.dictionaries' ],
	[ 'messages by role', 'SELECT role, count(*), sum(tokens) FROM memory.messages GROUP BY 1 ORDER BY 1' ],
	[ 'estimate_tokens', "SELECT memory.estimate_tokens('how many are these?')" ],
	[ 'COPY', "COPY (SELECT * FROM memory.messages WHERE account_id = 'acme' ORDER BY conversation_id, seq) TO STDOUT" ])
{
	my ($name, $query) = @$_;
	my $expected = $primary->safe_psql('postgres', $query);

	isnt($expected, '', "$name: the primary has an answer");
	ok($standby->safe_psql('postgres', $query) eq $expected, "$name: the standby has the same");
	ok($standby->safe_psql('postgres', $query, connstr => $standby->connstr('postgres') . ' user=app') eq $expected,
		"$name: an application's role, too")
	  unless $name eq 'dictionaries';
}

# --- writing
for (
	[ 'append', "SELECT memory.append('a', '$long', 'user', 'x')" ],
	[ 'append to a new account', "SELECT memory.append('new', '$long', 'user', 'x')" ],
	[ 'batch', "SELECT memory.append('a', '$long', '[{\"role\":\"user\",\"content\":\"x\"}]')" ],
	[ 'INSERT', "INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('a', '$long', 'user', 'x')" ],
	[ 'INSERT with seq',
		"INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('a', '$long', 1000, 'user', 'x')" ],
	[ 'UPDATE', "UPDATE memory.messages SET content = 'x' WHERE conversation_id = '$long' AND seq = 1" ],
	[ 'DELETE', "DELETE FROM memory.messages WHERE conversation_id = '$long'" ],
	[ 'COPY', "\\copy memory.messages (account_id, conversation_id, role, content) FROM PROGRAM 'echo a,$long,user,x' (FORMAT csv)" ],
	[ 'edit_message', "SELECT memory.edit_message('a', '$long', 1, 'x')" ],
	[ 'delete_message', "SELECT memory.delete_message('a', '$long', 1)" ],
	[ 'create_conversation', "SELECT memory.create_conversation('a')" ],
	[ 'update_conversation', "SELECT memory.update_conversation('a', '$long', 'title')" ],
	[ 'delete_conversation', "SELECT memory.delete_conversation('a', '$long')" ],
	[ 'UPDATE of conversations', "UPDATE memory.conversations SET title = 'x' WHERE conversation_id = '$long'" ],
	[ 'seal', 'SELECT memory.seal()' ],
	[ 'forget', "SELECT memory.forget('a')" ])
{
	my ($name, $statement) = @$_;
	my ($status, $out, $err) = $standby->psql('postgres',
		"\\set VERBOSITY verbose\n$statement;\nSELECT count(*) FROM memory.history('a', '$branched');\n", on_error_stop => 0);

	like($err, qr/ERROR:  25006: cannot (execute|lock|acquire|assign)/, "$name is refused");
	is($out, '2', "$name: the session goes on");
}
my ($status, $out, $err) = $standby->psql('postgres', 'CALL memory.maintain()');
isnt($status, 0, 'maintain() is refused');

# --- and after it
$primary->safe_psql('postgres', "SELECT memory.append('a', '$long', 'user', 'meanwhile')");
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT content FROM memory.history('a', '$long', max_messages => 1)"), 'meanwhile',
	'what the primary appends is seen');

$primary->stop;
$standby->promote;
is($standby->safe_psql('postgres', "SELECT memory.append('a', '$long', 'user', 'promoted')"), '152',
	'a promoted one goes on with the numbers');
is(problems_of($standby), '', 'the tables of the promoted server agree');

$standby->stop;
done_testing();
