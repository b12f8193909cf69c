# Devices and services: pushes whose answer was lost, also two at a time; pulls while others write
# and commit late; pokes; a copy that outlives a dump.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run ();
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('sync');
$node->append_conf('postgresql.conf', "fsync = off\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
-- a device's copy, and what it pulls next
CREATE TABLE copy (device text, collection text, id text, document jsonb, PRIMARY KEY (device, collection, id));
CREATE TABLE devices (device text, collection text, checkpoint jsonb, pages integer DEFAULT 0, PRIMARY KEY (device, collection));
CREATE FUNCTION pull_page(the_device text, account_id text, the_collection text, size integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	INSERT INTO devices VALUES (the_device, the_collection) ON CONFLICT DO NOTHING;
	answer := memory.pull(account_id, the_collection, 
		(SELECT checkpoint FROM devices WHERE device = the_device AND collection = the_collection), size);
	INSERT INTO copy SELECT the_device, the_collection, d ->> 'id', d FROM jsonb_array_elements(answer -> 'documents') d
		ON CONFLICT (device, collection, id) DO UPDATE SET document = excluded.document;
	UPDATE devices SET checkpoint = answer -> 'checkpoint', pages = pages + 1 WHERE device = the_device AND collection = the_collection;
	IF the_collection = 'conversations' THEN
		DELETE FROM copy m USING jsonb_array_elements(answer -> 'documents') d
			WHERE d -> '_deleted' = 'true' AND device = the_device AND m.collection = 'messages' AND m.document ->> 'conversation_id' = d ->> 'id';
	END IF;
	RETURN (answer -> 'more')::boolean;
END $$;
CREATE FUNCTION push_message(account_id text, id text, conversation uuid, content text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT memory.push(account_id, 'messages', jsonb_build_array(jsonb_build_object('newDocumentState',
		jsonb_build_object('id', id, 'conversation_id', conversation, 'role', 'user', 'content', content))))
$$;
SQL

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# ---- the same push twice ----

my $c1 = conversation(1);
{
	# two sessions at once: the second waits for the first one's lock
	my ($in1, $out1, $err1) = ('', '', '');
	my ($in2, $out2, $err2) = ('', '', '');
	my @psql = ('psql', '-X', '-A', '-t', '-q', '-d', $node->connstr('postgres'));
	my $one = IPC::Run::start([@psql], '<', \$in1, '>', \$out1, '2>', \$err1);
	my $two = IPC::Run::start([@psql], '<', \$in2, '>', \$out2, '2>', \$err2);

	$in1 .= "BEGIN;\nSELECT push_message('ann', 'm1', '$c1', 'hello') -> 'refusals';\n";
	IPC::Run::pump($one) until $out1 =~ /\[\]/;
	$in2 .= "SELECT push_message('ann', 'm1', '$c1', 'hello') -> 'stored' -> 0 -> 'seq';\n";
	IPC::Run::pump_nb($two);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
	  or die 'nobody waits';
	is(sql("SELECT memory.pull('ann', 'messages') -> 'documents'"), '[]', 'what is not committed is not pulled');
	$in1 .= "COMMIT;\n\\q\n";
	IPC::Run::finish($one);
	$in2 .= "\\q\n";
	IPC::Run::finish($two);
	is($err1 . $err2, '', 'neither push fails');
	like($out2, qr/^1$/m, 'the second one is told of the message that the first has stored');
}
is(sql("SELECT count(*), memory.current_revision('ann') FROM memory.messages WHERE account_id = 'ann'"),
	'1|1', 'two pushes of one message at a time store it once, under one revision');
is(sql("SELECT push_message('ann', 'm1', '$c1', 'other') -> 'conflicts' -> 0 ->> 'content'"),
	'hello', 'another content is a conflict, and the stored one wins');

# ---- pages while others write ----

my @writers = (
	map { my $w = $_; join('', map { my $n = $_; "SELECT memory.append('bob',
		('00000000-0000-0000-0000-' || lpad((($n * $w) % 40)::text, 12, '0'))::uuid, 'user', 'w$w $n');\n" } 1 .. 300) } 1 .. 2);
push @writers, join('', map { my $n = $_; <<"SQL" } 1 .. 40);
BEGIN;
INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id)
	SELECT 'bob', ('00000000-0000-0000-0001-' || lpad((i % 7)::text, 12, '0'))::uuid, 'user', 'bulk $n ' || i, 'b$n-' || i
		FROM generate_series(1, 100) i;
SELECT pg_sleep(0.01);
@{[ $n % 5 == 0 ? 'ROLLBACK' : 'COMMIT' ]};
UPDATE memory.messages SET content = content || ' edited' WHERE account_id = 'bob'
	AND conversation_id = '00000000-0000-0000-0001-000000000003' AND seq % 17 = $n % 17;
DELETE FROM memory.messages WHERE account_id = 'bob' AND conversation_id = '00000000-0000-0000-0001-000000000002' AND seq % 31 = $n % 31;
@{[ $n % 8 == 0 ? "SELECT memory.seal('bob');" : '' ]}
@{[ $n % 10 == 0 ? "DELETE FROM memory.conversations WHERE account_id = 'bob'
	AND conversation_id = ('00000000-0000-0000-0000-' || lpad($n, 12, '0'))::uuid;" : '' ]}
@{[ $n % 6 == 0 ? "SET memory_ext.compact_after = 0; SET client_min_messages = error; CALL memory.maintain(100, 'compact');" : '' ]}
SQL
s/lpad\((\d+), 12/lpad('$1', 12/g for @writers;
my @running;
for my $script (@writers)
{
	my ($out, $err) = ('', '');
	my $run = { out => \$out, err => \$err };
	$run->{handle} = IPC::Run::start(['psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f',
		write_file($node->basedir . '/writer' . @running . '.sql', $script)], '<', \undef, '>', \$out, '2>', \$err);
	push @running, $run;
}
my $alive = 1;
while ($alive)
{
	$alive = grep { $_->{handle}->pumpable } @running;
	$_->{handle}->pumpable && IPC::Run::pump_nb($_->{handle}) for @running;
	for my $device ([ 'small', 7 ], [ 'large', 400 ])
	{
		sql("SELECT pull_page('$device->[0]', 'bob', '$_', $device->[1])") for 'conversations', 'messages';
	}
}
my $errors = '';
for my $run (@running)
{
	IPC::Run::finish($run->{handle});
	# an append to a conversation that has just been deleted, and nothing else
	$errors .= join('', grep { /ERROR/ && !/has been deleted/ } split(/^/m, ${ $run->{err} }));
}
is($errors, '', 'the writers wrote');
for my $device ([ 'small', 50 ], [ 'large', 400 ])
{
	sql("DO \$\$ BEGIN FOR i IN 1..2 LOOP WHILE pull_page('$device->[0]', 'bob', 'messages', $device->[1]) LOOP END LOOP;
		WHILE pull_page('$device->[0]', 'bob', 'conversations', $device->[1]) LOOP END LOOP; END LOOP; END \$\$");
	is(sql(<<"SQL"), '0', "device '$device->[0]', which pulled meanwhile, has what the server has");
WITH mine AS (SELECT (document ->> 'conversation_id')::uuid, (document ->> 'seq')::bigint, document ->> 'content'
	FROM copy WHERE device = '$device->[0]' AND collection = 'messages' AND document -> '_deleted' = 'false'),
server AS (SELECT conversation_id, seq, content FROM memory.messages WHERE account_id = 'bob')
SELECT (SELECT count(*) FROM (TABLE mine EXCEPT TABLE server) d) + (SELECT count(*) FROM (TABLE server EXCEPT TABLE mine) d)
	+ (SELECT count(*) FROM mine) - (SELECT count(*) FROM server)
SQL
	is(sql(<<"SQL"), '0', "the device has the server's conversations");
WITH mine AS (SELECT id::uuid, (document ->> 'message_count')::bigint, document ->> 'title'
	FROM copy WHERE device = '$device->[0]' AND collection = 'conversations' AND document -> '_deleted' = 'false'),
server AS (SELECT conversation_id, message_count, title FROM memory.conversations WHERE account_id = 'bob')
SELECT (SELECT count(*) FROM (TABLE mine EXCEPT TABLE server) d) + (SELECT count(*) FROM (TABLE server EXCEPT TABLE mine) d)
SQL
}
cmp_ok(sql("SELECT pages FROM devices WHERE device = 'small' AND collection = 'messages'"), '>', 10,
	'the small device has pulled many pages');
is(problems_of($node, 'postgres'), '', 'the store is sound');

# a service that follows with nothing but a revision
is(sql(<<'SQL'), 't', 'changes() gives each conversation once, in pages too');
WITH RECURSIVE page (n, last, ids) AS (
	SELECT 0, 0::bigint, '{}'::uuid[]
	UNION ALL
	SELECT n + 1, c.last, page.ids || c.ids FROM page CROSS JOIN LATERAL
		(SELECT max(revision) AS last, array_agg(conversation_id) AS ids FROM memory.changes('bob', page.last, 3)) c WHERE c.last IS NOT NULL)
SELECT cardinality(ids) = (SELECT count(DISTINCT id) FROM unnest(ids) id) AND n > 10
	AND cardinality(ids) = (SELECT count(*) FROM memory.changes('bob', 0, 100000)) FROM page ORDER BY n DESC LIMIT 1
SQL

# ---- pokes ----

{
	my ($in, $out, $err) = ("LISTEN memory_changes;\n", '', '');
	my $run = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-q', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);

	$in .= "SELECT 'listening';\n";
	IPC::Run::pump($run) until $out =~ /listening/;
	sql("SET memory_ext.notify = 'transaction'; BEGIN; SELECT memory.append('cat', '$c1', 'user', 'a');
		SELECT memory.append('cat', '$c1', 'user', 'b');
		SELECT push_message('dog \"x\"', 'm', '$c1', 'c'); COMMIT;");
	sql("SET memory_ext.notify = 'transaction'; BEGIN; SELECT memory.append('cat', '$c1', 'user', 'never'); ROLLBACK;");
	sql("SET memory_ext.notify = 'transaction'; SELECT push_message('dog \"x\"', 'm', '$c1', 'c');");	# nothing new
	sql("SELECT memory.append('cat', '$c1', 'user', 'silent')");
	sql("SET memory_ext.notify = 'transaction'; INSERT INTO memory.messages (account_id, conversation_id, role, content)
		SELECT 'many ' || i, '$c1', 'user', 'x' FROM generate_series(1, 300) i");
	sql("SET memory_ext.notify = 'transaction'; SELECT memory.forget('cat')");
	sql("SET memory_ext.notify = 'transaction'; SELECT memory.append('last', '$c1', 'user', 'x')");
	$in .= "SELECT 'ended';\n\\q\n";
	IPC::Run::finish($run);
	my @pokes = $out =~ /"memory_changes" with payload "(.*)" received/g;
	my $pokes = join("\n", @pokes);

	like($pokes[0], qr/\{"account_id": "cat", "revision": 2\}/, 'a transaction notifies at its commit, with the last revision');
	like($pokes[0], qr/\{"account_id": "dog \\"x\\"", "revision": 1\}/, 'one notification names all of a transaction\'s accounts');
	is(scalar(() = $pokes =~ /"cat"/g), 2, 'nothing is notified of what was rolled back, or where it is off');
	is(scalar(() = $pokes =~ /"dog /g), 1, 'nothing is notified of a push that changed nothing');
	is(scalar(() = $pokes =~ /"many \d+"/g), 300, 'a statement on many accounts names each of them');
	like($pokes, qr/\{"account_id": "cat", "revision": 0\}/, 'an account that was forgotten has none');
	like($pokes[-1], qr/"last"/, 'notifications come in the order of the commits');
	cmp_ok(scalar(@pokes), '<', 12, 'there are few notifications');
}

# ---- a dump ----

sql("SELECT pull_page('kept', 'bob', 'messages', 10000); SELECT memory.renew_epoch()");
sql("DELETE FROM devices WHERE device = 'kept'; SELECT pull_page('kept', 'bob', 'messages', 10000)");
$node->safe_psql('postgres', 'CREATE DATABASE restored');
IPC::Run::run([ 'pg_dump', '-d', $node->connstr('postgres') ], '|',
	[ 'psql', '-X', '-q', '-d', $node->connstr('restored') ], '>', \my $ignored)
  or die 'dump or restore failed';
is($node->safe_psql('restored', "SELECT memory.append('bob', '00000000-0000-0000-0009-000000000000', 'user', 'after');
	SELECT jsonb_array_length(memory.pull('bob', 'messages', checkpoint) -> 'documents') FROM devices WHERE device = 'kept'"),
	"1\n1", 'a checkpoint goes on in a restored dump');

done_testing();
