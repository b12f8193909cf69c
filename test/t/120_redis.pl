# Redis: conversations out of a live server and back, through a Unix socket; and as commands.
use strict;
use warnings;

use File::Copy;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use IO::Socket::UNIX;
use IPC::Run;
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_server('redis');
$node->append_conf('postgresql.conf', <<'CONF');
log_min_messages = info
log_statement = none
memory_ext.redis_hosts = '127.0.0.1:1, [::1]:1, 127.0.0.2'
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE op LOGIN;
SELECT memory.grant_access('op', 'operator');
CREATE ROLE wr LOGIN;
SELECT memory.grant_access('wr', 'writer');
SQL

# --- a private server

my $dir = PostgreSQL::Test::Utils::tempdir_short;
my $socket = "$dir/redis.sock";
my @servers;

# Debian's redis-server is a name of redis-check-rdb, which is among redis-tools.
sub program
{
	foreach my $folder (split /:/, $ENV{PATH})
	{
		return "$folder/redis-server" if -x "$folder/redis-server";
	}
	symlink '/usr/bin/redis-check-rdb', "$dir/redis-server" if !-e "$dir/redis-server";
	return "$dir/redis-server";
}

sub start_redis
{
	my ($at, @options) = @_;
	my $log = '';
	my $run = IPC::Run::start([ program(), '--port', '0', '--unixsocket', $at, '--unixsocketperm', '700', '--save', '', '--dir', $dir,
		@options ], '<', \undef, '>&', \$log);
	push @servers, $run;
	for (1 .. 300)
	{
		$run->pump_nb;
		return $run if -S $at && IO::Socket::UNIX->new($at);
		usleep(100_000);
	}
	die "redis does not start: $log";
}

END
{
	local $?;
	$_->kill_kill(grace => 5) foreach @servers;
}

# A command; its reply, a line each.
sub redis
{
	my (@command) = @_;
	my $out = '';
	IPC::Run::run([ 'redis-cli', '-s', $socket, @command ], '<', \undef, '>', \$out) or die "redis-cli @command";
	chomp $out;
	return $out;
}

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sub error_of
{
	my ($statement, @options) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $statement, @options);
	isnt($status, 0, "fails: $statement") or diag($out);
	return $err;
}

start_redis($socket);
my $url = "unix://$socket";

sub item
{
	my ($type, $content) = @_;
	return qq({"type": "$type", "data": {"content": "$content", "additional_kwargs": {}, "response_metadata": {}, )
	  . qq("type": "$type", "name": null, "id": null}});
}

# What two servers, or two databases of one, have in common is compared as jsonb.
sub same_json
{
	my ($left, $right) = @_;
	my @left = split /\n/, $left;
	my @right = split /\n/, $right;
	return 'number: ' . @left . ' and ' . @right if @left != @right;
	return $node->safe_psql('postgres',
		join(' UNION ALL ', map { "SELECT $_ WHERE \$j\$$left[$_]\$j\$::jsonb <> \$j\$$right[$_]\$j\$::jsonb" } 0 .. $#left));
}

# --- langchain: a list, newest first

redis('LPUSH', 'message_store:first', item('human', 'Hello'));
redis('LPUSH', 'message_store:first', item('ai', 'Hi, \\"you\\"'), item('human', 'Bye'));
redis('LPUSH', 'message_store:second', map { item($_ % 2 ? 'human' : 'ai', "message $_") } 1 .. 2500);
redis('PEXPIREAT', 'message_store:second', '4102444800000');
redis('SET', 'message_store:other', 'no list');
redis('LPUSH', 'elsewhere', 'not a message');
is(sql("SELECT imported, extended, unchanged, rejected, messages FROM memory.redis_import('$url', 'langchain', 'acme')"), '2|0|0|0|2503',
	'langchain: two lists');
is(sql("SELECT string_agg(m.role || ' ' || m.content, ', ' ORDER BY seq) FROM memory.messages m
	JOIN memory.conversations c USING (conversation_id) WHERE c.metadata #>> '{redis,key}' = 'message_store:first'"),
	'user Hello, assistant Hi, "you", user Bye', 'messages are stored oldest first');
is(sql("SELECT count(*), bool_and(content = 'message ' || seq) FROM memory.messages m
	JOIN memory.conversations c USING (conversation_id) WHERE c.metadata #>> '{redis,key}' = 'message_store:second'"),
	'2500|t', 'a list of several pages is in order');
is(sql("SELECT metadata #>> '{import,source_id}', (metadata #>> '{redis,expires_at}')::timestamptz BETWEEN '2099-12-31 23:59:50+00'
	AND '2100-01-01 00:00:10+00' FROM memory.conversations ORDER BY 1"), "first|\nsecond|t", 'the time to live is kept');
is(sql("SELECT imported, extended, unchanged, messages FROM memory.redis_import('$url', 'langchain', 'acme')"), '0|0|2|0',
	'twice: nothing changes');
redis('LPUSH', 'message_store:first', item('ai', 'See you'));
is(sql("SELECT imported, extended, unchanged, messages
	FROM memory.redis_import('$url', 'langchain', 'acme',
	match => 'message_store:f*')"), '0|1|0|1', 'a longer list: what is new, of the keys that match');
is(sql("SELECT source, target = 'unix://$socket?db=0', state, imported, messages FROM memory.jobs ORDER BY job_id LIMIT 1"),
	'redis|t|finished|2|2503', 'an import is a job');
is(sql("SELECT imported FROM memory.redis_import('$url', 'langchain', 'js', match => 'message_store:f*', prefix => '')"), '1',
	'a prefix can be given');
is(sql("SELECT metadata #>> '{import,source_id}' FROM memory.conversations WHERE account_id = 'js'"), 'message_store:first',
	'the id keeps a prefix that is not the layout\'s');
sql("SELECT memory.forget('js')");

# --- out again, into another database of the server

is(sql("SELECT * FROM memory.redis_export('$url?db=1', 'langchain', 'acme')"), '2|0|0|2504', 'export');
foreach my $key ('first', 'second')
{
	is(same_json(redis('-n', 0, 'LRANGE', "message_store:$key", 0, -1), redis('-n', 1, 'LRANGE', "message_store:$key", 0, -1)), '',
		"$key: the export makes the same list");
}
is(redis('-n', 1, 'TTL', 'message_store:first'), '-1', 'a key that lives for ever is written so');
cmp_ok(abs(redis('-n', 1, 'PEXPIRETIME', 'message_store:second') - 4102444800000), '<', 10000,
	'a key that expires is written with its time');
is(sql("SELECT * FROM memory.redis_export('$url?db=1', 'langchain', 'acme')"), '0|2|0|0', 'what is there is left alone');
redis('-n', 1, 'LPUSH', 'message_store:first', 'x');
is(sql("SELECT * FROM memory.redis_export('$url?db=1', 'langchain', 'acme', if_exists => 'replace')"), '2|0|0|2504',
	'what is there is replaced');
is(same_json(redis('-n', 0, 'LRANGE', 'message_store:first', 0, -1), redis('-n', 1, 'LRANGE', 'message_store:first', 0, -1)), '',
	'a key that is replaced is replaced as a whole');
sql("UPDATE memory.conversations SET metadata = jsonb_set(metadata, '{redis,expires_at}', '\"2020-01-01T00:00:00Z\"')
	WHERE metadata #>> '{import,source_id}' = 'second'");
is(sql("SELECT * FROM memory.redis_export('$url?db=2', 'langchain', 'acme')"), '1|0|1|4', 'what has expired is left out');
is(redis('-n', 2, 'KEYS', '*'), 'message_store:first', 'what has expired is not written');

# a conversation that never was in Redis
sql("SELECT memory.append('new', '" . conversation(7) . "', 'user', 'From elsewhere')");
is(sql("SELECT exported, messages FROM memory.redis_export('$url?db=3', 'langchain', 'new')"), '1|1',
	'a conversation that never was in Redis is exported');
is(sql("SELECT \$j\$" . redis('-n', 3, 'LINDEX', 'message_store:' . conversation(7), 0) . "\$j\$::jsonb #>> '{data,content}'"),
	'From elsewhere', 'is written under its id');

# --- as commands

my $commands = "$dir/commands";
sub write_commands
{
	my ($query, @options) = @_;
	my $out = '';
	IPC::Run::run([ 'psql', '-XAtq', @options, '-d', $node->connstr('postgres'), '-c', $query ], '<', \undef, '>', $commands) or die $query;
	return;
}
sub pipe_commands
{
	my ($db) = @_;
	my $out = '';
	IPC::Run::run([ 'redis-cli', '-s', $socket, '-n', $db, '--pipe' ], '<', $commands, '>', \$out);
	return $out;
}
sub import_commands
{
	my ($layout, $account) = @_;
	copy($commands, $node->data_dir . '/commands') or die $!;
	return sql("SELECT imported, extended, unchanged, messages
		FROM memory.redis_import_commands(pg_read_binary_file('commands'), '$layout', '$account')");
}
sql("UPDATE memory.conversations SET metadata = metadata #- '{redis,expires_at}' WHERE metadata #>> '{import,source_id}' = 'second'");
write_commands("SELECT memory.redis_commands('langchain', 'acme')", '-v', 'FETCH_COUNT=100');
like(pipe_commands(4), qr/errors: 0, replies: [1-9]/, 'redis-cli --pipe takes the commands');
is(same_json(redis('-n', 0, 'LRANGE', 'message_store:second', 0, -1), redis('-n', 4, 'LRANGE', 'message_store:second', 0, -1)), '',
	'the commands make the same list');
is(import_commands('langchain', 'text'), '2|0|0|2504', 'the commands are read back');
is(sql("SELECT count(*) FROM (SELECT c.metadata #>> '{import,source_id}', m.seq, m.role, m.content, m.metadata FROM memory.messages m
	JOIN memory.conversations c USING (conversation_id) WHERE m.account_id = 'acme'
	EXCEPT SELECT c.metadata #>> '{import,source_id}', m.seq, m.role, m.content, m.metadata FROM memory.messages m
	JOIN memory.conversations c USING (conversation_id) WHERE m.account_id = 'text') x"), '0',
		'the commands that are read back are the same messages');

# --- agents: a hash, and a list, oldest first

redis('HSET', 'agents:session:u1', 'session_id', 'u1', 'created_at', '1700000000', 'updated_at', '1700000100');
redis('RPUSH', 'agents:session:u1:messages', '{"role":"user","content":"What is 2+2?"}',
	'{"type":"function_call","call_id":"c1","name":"add","arguments":"{\"a\":2,\"b\":2}"}',
	'{"type":"function_call_output","call_id":"c1","output":"4"}', '{"role":"assistant","content":"4"}');
redis('SET', 'agents:session:u1:counter', '4');
redis('RPUSH', 'agents:session:bare:messages', '{"role":"user","content":"No hash"}');
is(sql("SELECT imported, messages, rejected FROM memory.redis_import('$url', 'agents', 'sdk')"), '2|5|0',
	'agents: two sessions are imported');
is(sql("SELECT metadata #>> '{redis,fields,updated_at}', metadata #>> '{redis,key}' FROM memory.conversations
	WHERE metadata #>> '{import,source_id}' = 'u1'"), '1700000100|agents:session:u1:messages', 'agents: the fields of the hash are kept');
is(sql("SELECT exported, messages FROM memory.redis_export('$url?db=5', 'agents', 'sdk')"), '2|5', 'export');
is(same_json(redis('LRANGE', 'agents:session:u1:messages', 0, -1), redis('-n', 5, 'LRANGE', 'agents:session:u1:messages', 0, -1)), '',
	'agents: the export makes the same list');
is(join(' ', sort split /\n/, redis('-n', 5, 'HGETALL', 'agents:session:u1')),
	join(' ', sort split /\n/, redis('HGETALL', 'agents:session:u1')), 'agents: the export makes the same hash');
write_commands("SELECT memory.redis_commands('agents', 'sdk')");
like(pipe_commands(6), qr/errors: 0, replies: [1-9]/, 'agents: Redis takes the commands');
is(same_json(redis('LRANGE', 'agents:session:u1:messages', 0, -1), redis('-n', 6, 'LRANGE', 'agents:session:u1:messages', 0, -1)), '',
	'agents: the commands make the same list');
is(import_commands('agents', 'agents text'), '2|0|0|5', 'agents: the commands are read back');

# --- langchain-redis: RedisJSON documents, which this server has not

like(error_of("SELECT memory.redis_import('$url', 'langchain-redis', 'json')"),
	qr/the Redis server has no RedisJSON, which layout "langchain-redis" needs/, 'importing from a server without RedisJSON is refused');
like(error_of("SELECT memory.redis_export('$url', 'langchain-redis', 'acme')"),
	qr/Redis refuses to write key "chat:first:[0-9A-Z]{26}".*JSON\.SET/s, 'exporting to a server without RedisJSON is refused, too');
write_commands("SELECT memory.redis_commands('langchain-redis', 'acme')");
my $text = slurp_file($commands);
is(() = $text =~ /JSON\.SET/g, 2504, 'the commands have a document for each message');
my @keys = $text =~ /^(chat:second:[0-9A-Z]{26})\r$/mg;
is(join(' ', @keys), join(' ', sort @keys), 'the keys of the documents are in order');
my ($document) = $text =~ /chat:first:[0-9A-Z]{26}\r\n\$1\r\n\$\r\n\$\d+\r\n(.*)\r\n/;
is(sql("SELECT d ->> 'type', d #>> '{data,content}', d ->> 'session_id', jsonb_typeof(d -> 'timestamp'), length(d ->> 'message_id')
	FROM (SELECT \$j\$$document\$j\$::jsonb AS d) x"),
	'human|Hello|first|number|26', 'a document has what langchain-redis writes');
is(import_commands('langchain-redis', 'json'), '2|0|0|2504', 'the documents are read back');
is(sql("SELECT string_agg(m.role || ' ' || m.content, ', ' ORDER BY seq) FROM memory.messages m
	JOIN memory.conversations c USING (conversation_id) WHERE m.account_id = 'json' AND c.metadata #>> '{import,source_id}' = 'first'"),
	'user Hello, assistant Hi, "you", user Bye, assistant See you', 'the messages of the documents are in order');

# --- items that are none

redis('LPUSH', 'message_store:bad', 'not json');
redis('LPUSH', 'message_store:worse', '{"type": "human"}');
my @before = split /\|/, sql('SELECT count(*), sum(message_count) FROM memory.conversations');
like(error_of("SELECT memory.redis_import('$url', 'langchain', 'bad')"), qr/document \d+ is rejected/, 'on_error stop rejects the import');
is(sql("SELECT imported, rejected FROM memory.redis_import('$url', 'langchain', 'bad', on_error => 'skip')"), '2|2',
	'on_error skip imports the rest');
is(sql("SELECT count(*), count(*) FILTER (WHERE message ~ 'Redis key \"message_store:(bad|worse)\"') FROM memory.job_errors
	WHERE account_id = 'bad'"), '2|2', 'the rejected ones are noted with their keys');
like(error_of("SELECT memory.redis_import('$url', 'langchain', 'bad')"),
	qr/Redis key "message_store:(bad|worse)".*HINT: .*on_error => 'skip'/s, 'the error names the key, and its hint the argument');
is(sql("SET memory_ext.import_on_error = skip; SELECT rejected FROM memory.redis_import('$url', 'langchain', 'bad')"), '2',
	'the setting counts where the argument is left out');
redis('DEL', 'message_store:bad', 'message_store:worse');
redis('LPUSH', "message_store:\xff\xfe", item('human', 'A key that is no text'));
is(sql("SELECT imported FROM memory.redis_import('$url', 'langchain', 'bytes', match => 'message_store:\\u00ff*' || '*')") ne '', 1,
	'a pattern may be any text');
is(sql("SELECT imported FROM memory.redis_import('$url', 'langchain', 'bytes')"), '3', 'a key may be any bytes');
is(sql("SELECT metadata #>> '{import,source_id}' FROM memory.conversations WHERE account_id = 'bytes'
	AND metadata #>> '{redis,key}' LIKE '%\\%%'"), '%ff%fe', 'bytes that are no text are spelt out in the key');
is(sql("SELECT exported FROM memory.redis_export('$url?db=7', 'langchain', 'bytes')"), '3', 'and comes back');
is(redis('-n', 7, 'LLEN', "message_store:\xff\xfe") . redis('-n', 7, 'EXISTS', 'message_store:%ff%fe'), '10', 'as the same bytes');
is(sql("SELECT imported, extended, unchanged FROM memory.redis_import('$url?db=7', 'langchain', 'bytes')"), '0|0|3',
	'which are the same conversation');
is(sql("SELECT skipped FROM memory.redis_export('$url?db=7', 'langchain', 'bytes')"), '3', 'that is there already');
like(($node->psql('postgres', "SELECT count(*) FROM memory.redis_commands('langchain', 'bytes')"))[2],
	qr/WARNING:  Redis key "message_store:%ff%fe" is left out: it is not a text/, 'commands are texts: it is named and left out');
redis('DEL', "message_store:\xff\xfe");

# --- what a layout cannot hold is named, once for all

sql("SELECT memory.append('lossy', '" . conversation($_) . "', 'user', 'a'), memory.append('lossy', '" . conversation($_)
	. "', 'user', 'b', parent_seq => 0)") for 11, 12;
like(($node->psql('postgres', "SELECT * FROM memory.redis_export('$url?db=8', 'langchain', 'lossy')"))[2],
	qr/NOTICE:  format "langchain" cannot hold everything; left out: 2 messages of other branches/, 'an export names what it leaves out');
like(($node->psql('postgres', "SELECT count(*) FROM memory.redis_commands('langchain', 'lossy')"))[2],
	qr/NOTICE:  format "langchain" cannot hold everything; left out: 2 messages of other branches/, 'and so do the commands');
sql("SELECT memory.forget('lossy')");

# --- a message that was changed in Redis

redis('-n', 9, 'RPUSH', 'message_store:changed', item('human', 'one'));
my $changed = "SELECT imported, extended, unchanged, rejected FROM memory.redis_import('$url?db=9', 'langchain', 'changed'";
my $contents = "SELECT string_agg(content, ',' ORDER BY content) FROM memory.messages WHERE account_id = 'changed'";
is(sql("$changed)"), '1|0|0|0', 'a list');
redis('-n', 9, 'LSET', 'message_store:changed', 0, item('human', 'two'));
like(error_of("$changed)"), qr/Redis key "message_store:changed"/, 'whose message has changed is a conflict');
is(sql("$changed, on_conflict => 'keep')") . sql($contents), '0|0|1|0one', 'on_conflict keep');
is(sql("$changed, on_conflict => 'copy')") . sql($contents), '1|0|0|0one,two', 'on_conflict copy');
is(sql("$changed, on_conflict => 'replace')") . sql($contents), '0|1|0|0two,two', 'on_conflict replace');
is(sql("SELECT count(*) FROM memory.jobs WHERE account_id = 'changed' AND options ->> 'on_conflict' IN ('keep', 'copy', 'replace')"), '3',
	'the jobs say so');
sql("SELECT memory.forget('changed')");

# --- a time of expiry is counted from when it is read, not from the beginning of a scan

redis('-n', 10, 'RPUSH', 'message_store:slow', item('human', 'one'));
redis('-n', 10, 'PEXPIRE', 'message_store:slow', 100000);
is(sql("BEGIN; SELECT pg_sleep(2); SELECT imported FROM memory.redis_import('$url?db=10', 'langchain', 'ttl'); COMMIT")
	=~ s/\s//gr, '1', 'a key that expires');
cmp_ok(abs(redis('-n', 10, 'PEXPIRETIME', 'message_store:slow')
	- sql("SELECT round(extract(epoch FROM (metadata #>> '{redis,expires_at}')::timestamptz) * 1000) FROM memory.conversations
		WHERE account_id = 'ttl'")),
	'<', 1000, 'its time is not shortened by the two seconds before it was read');
sql("SELECT memory.forget('ttl')");

# --- what is refused, and that no password is seen

my $secret = 'hunter2-secret';
my $locked = "$dir/locked.sock";
start_redis($locked, '--requirepass', $secret);
my $log = -s $node->logfile;
my %kept = (
	locked => "unix://:$secret\@$locked",
	wrong => "unix://:$secret-wrong\@$locked",
	'wrong user' => "unix://user:$secret-wrong\@$locked",
	database => "redis://:$secret\@127.0.0.1:1/x",
	port => "redis://:$secret\@127.0.0.1:99999",
	nobody => "redis://:$secret\@127.0.0.1:1",
	tls => "rediss://:$secret\@127.0.0.1:1",
	nothing => "unix://:$secret\@$dir/nothing",
	'no colon' => 'redis://user\@host',
	elsewhere => "redis://:$secret\@192.0.2.1:6379");
$node->safe_psql('postgres', join '', map { "INSERT INTO memory.redis_servers VALUES ('$_', '$kept{$_}');" } keys %kept);
is(sql("SELECT imported FROM memory.redis_import('locked', 'langchain', 'acme')"), '0', 'a kept address may have a password');
my @errors = (
	error_of("SELECT memory.redis_import('wrong', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('wrong user', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('database', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('port', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('nobody', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('tls', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_export('nothing', 'langchain', 'acme')"),
	error_of("SELECT memory.redis_import('locked', 'langchain', 'acme', on_error => 'x')"),
	# inside of a statement, whose text is the context of an error
	error_of("DO \$\$ BEGIN PERFORM memory.redis_import('wrong', 'langchain', 'acme'); END \$\$"),
	error_of("DO \$\$ BEGIN EXECUTE 'SELECT memory.redis_import(\$1, \$2, \$3)' USING 'nobody', 'langchain', 'acme'; END \$\$"));
like($errors[0], qr/unix:\/\/\*\*\*\@\Q$locked\E\?db=0 refuses the user or the password/, 'a wrong password is refused');
like($errors[2], qr/invalid Redis URL: the database is not a number/, 'a database that is no number is refused');
like($errors[3], qr/invalid Redis URL: the port is not a number from 0 to 65535/, 'a port that is no number is refused');
like($errors[4], qr/could not connect to redis:\/\/\*\*\*\@127\.0\.0\.1:1\/0/, 'an address where nobody listens is an error');
like($errors[5], qr/TLS connections to Redis are not supported/, 'TLS is refused');
is(join('', grep { /$secret/ } map { s/^psql:<stdin>.*?STATEMENT.*//mr } @errors), '', 'no error repeats the password');
is(sql("SELECT count(*) FROM memory.jobs j WHERE j::text LIKE '%$secret%'"), '0', 'memory.jobs does not repeat the password');
my $logged = substr(slurp_file($node->logfile), $log);
like($logged, qr/refuses the user or the password/, 'the log has the errors');
unlike($logged, qr/hunter2/, 'the log has no password');
like(error_of("SELECT memory.redis_import('unix://$locked', 'langchain', 'acme')"), qr/refuses SCAN.*NOAUTH/s,
	'a server that wants a password refuses without it');

# a statement has none, and only the owner reads those that are kept
like(error_of("SELECT memory.redis_import('unix://:x\@$locked', 'langchain', 'acme')"), qr/must not have a password/,
	'a password in a statement is refused');
like(error_of("SELECT memory.redis_import('redis://u:p\@127.0.0.1:1', 'langchain', 'acme')"), qr/must not have a password/,
	'a password is refused in any kind of address');
like(error_of("SELECT memory.redis_import('unknown', 'langchain', 'acme')"), qr/Redis server "unknown" is not known/,
	'a name that is not there');
for my $role (qw(op wr))
{
	like(($node->psql('postgres', 'SELECT * FROM memory.redis_servers', extra_params => [ '-U', $role ]))[2],
		qr/permission denied for table redis_servers/, "$role does not read them");
	my $set = "SET memory_ext.redis_hosts = '192.0.2.1'";
	my $errors = join('', map { ($node->psql('postgres', $_, extra_params => [ '-U', $role ]))[2] }
		$set, "SELECT memory.estimate_tokens(''); $set");
	like($errors, qr/permission denied to set parameter/, 'the role does not choose the hosts');
}
# hosts that are not allowed, and places where nobody listens, say the same each
like(error_of("SELECT memory.redis_import('$_', 'langchain', 'acme')"), qr/connections to .* are not allowed/, "$_ is not to be reached")
  for 'elsewhere', 'redis://127.0.0.1', 'redis://127.0.0.1:2', 'redis://127.0.0.1:11', 'redis://127.0.0.10:1',
	'redis://[::1]', 'redis://[::1]:2', 'redis://127.0.0.2:1', 'redis://localhost:1', 'redis://localhost';
like(error_of("SELECT memory.redis_import('$_', 'langchain', 'acme')"), qr/could not connect/,
	"$_ is") for 'redis://127.0.0.1:1', 'redis://127.0.0.2', 'redis://[::1]:1';
sub errors_of_sockets
{
	return join("\n", map { error_of("SELECT memory.redis_import('unix://$_', 'langchain', 'acme')") =~ s/unix:\S+/PLACE/gr } @_);
}
is(errors_of_sockets("$dir/nothing", '/etc/passwd'), errors_of_sockets('/nowhere/nothing', '/root/x'),
	'an error does not say which files there are');

foreach my $bad (
	[ 'http://127.0.0.1:1', qr/begins neither with redis:\/\/ nor with unix:\/\// ],
	[ 'unix://relative', qr/does not begin with a slash/ ],
	[ 'unix:///x?password=y', qr/the only parameter is db/ ],
	[ 'redis://', qr/it names no host/ ],
	[ 'redis://[::1', qr/the address in brackets has no end/ ],
	[ 'redis://a%zz', qr/without two hexadecimal digits/ ],
	[ 'redis://user@host', qr/must not have a password/ ],
	[ 'no colon', qr/separated by a colon/ ])
{
	like(error_of("SELECT memory.redis_import('$bad->[0]', 'langchain', 'acme')"), $bad->[1], "URL $bad->[0] is refused");
}
like(error_of("SELECT memory.redis_import('$url', 'memcached', 'acme')"), qr/unknown Redis layout "memcached"/,
	'an unknown layout is refused');
like(error_of("SELECT memory.redis_import('$url', 'langchain', NULL)"), qr/account_id must not be null/,
	'an import without account is refused');
like(error_of("SET ROLE wr; SELECT memory.redis_import('$url', 'langchain', 'acme')"), qr/permission denied for function redis_import/,
	'only operators import');
like(error_of("SET ROLE wr; SELECT memory.redis_commands('langchain')"), qr/permission denied for function redis_commands/,
	'only operators export');
like(error_of("SET memory_ext.account = 'acme'; SET ROLE op; SELECT memory.redis_import('$url', 'langchain', 'acme')"),
	qr/the session is confined to one account/, 'nobody who is confined');
is(sql("SET ROLE op; SELECT unchanged FROM memory.redis_import('$url', 'langchain', 'acme')"), '2', 'an operator may');

# --- a node of a cluster has a part of the keys

start_redis("$dir/cluster.sock", '--cluster-enabled', 'yes', '--cluster-config-file', "$dir/nodes.conf", '--port', 17_000 + $$ % 1000,
	'--bind', '127.0.0.1');
like(error_of("SELECT memory.redis_import('unix://$dir/cluster.sock', 'langchain', 'acme')"), qr/is a node of a cluster/,
	'a node of a cluster is refused');
like(error_of("SELECT memory.redis_export('unix://$dir/cluster.sock', 'langchain', 'bytes')"), qr/is a node of a cluster/,
	'a node of a cluster is refused when exporting, too');

# --- append-only files that do not begin at the beginning

like(error_of("SELECT memory.redis_import_commands('REDIS0011', 'langchain', 'acme')"), qr/begins with a snapshot.*aof-use-rdb-preamble/s,
	'a file that begins with a snapshot is refused');
{
	my @trim = ('LTRIM', 'message_store:x', '0', '9');
	my $text = '*' . @trim . "\\r\\n" . join '', map { '$' . length($_) . "\\r\\n$_\\r\\n" } @trim;
	like(($node->psql('postgres', "SELECT memory.redis_import_commands(convert_to(E'$text', 'UTF8'), 'langchain', 'acme')"))[2],
		qr/WARNING:  the commands change a key that they have not created/, 'a key that no command has made');
}

# --- a server that does not behave

sub misbehave
{
	my ($reply, $call, $lines) = @_;
	my $at = "$dir/fake.sock";
	unlink $at;
	my $listener = IO::Socket::UNIX->new(Local => $at, Listen => 1) or die $!;
	my $pid = fork;
	if (!$pid)
	{
		local $SIG{PIPE} = 'IGNORE';
		my $client = $listener->accept;
		my $got;
		sysread $client, $got, 4096;
		syswrite $client, $reply;
		sleep 20 if $lines;
		close $client;
		require POSIX;
		POSIX::_exit(0);
	}
	close $listener;
	my $err = error_of($call =~ s/URL/unix:\/\/$at/r);
	kill KILL => $pid;
	waitpid $pid, 0;
	return $err;
}
my $call = "SELECT memory.redis_import('URL', 'langchain', 'acme', timeout_ms => 1000)";
like(misbehave('hello', $call), qr/does not speak the Redis protocol/, 'a server of another protocol is refused');
like(misbehave('', $call), qr/the connection to .* was lost/, 'a server that hangs up is an error');
like(misbehave("+OK\r\n", $call), qr/answered SCAN with a reply of an unexpected type/, 'a reply of another type is refused');
like(misbehave("*2\r\n\$1\r\n0\r\n", $call, 1), qr/no answer from .* for 1000 ms/, 'half a reply is an error');
like(misbehave("*100000000\r\n", $call, 1), qr/a reply of .* is too large|does not speak the Redis protocol/, 'a large array is refused');
like(misbehave("*2\r\n\$1\r\n0\r\n*3000000\r\n", $call, 1), qr/a reply of .* is too large/, 'a large array inside of another is refused');
like(misbehave("*2\r\n*0\r\n\$1\r\nx\r\n", $call, 1), qr/something other than keys/, 'a reply in the wrong order is refused');
like(misbehave("-ERR no\r\n", $call), qr/refuses SCAN.*ERR no/s, 'an error of the server is passed on');

# a cancel is obeyed while it waits
{
	my $at = "$dir/silent.sock";
	my $listener = IO::Socket::UNIX->new(Local => $at, Listen => 1) or die $!;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=waiting', '-c',
		"SELECT memory.redis_import('unix://$at', 'langchain', 'acme', timeout_ms => 3600000)" ],
		'<', \undef, '>', \$out, '2>', \$err);
	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'waiting' AND wait_event_type = 'Extension'") or die;
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'waiting'");
	$run->finish;
	like($err, qr/canceling statement due to user request/, 'a cancel is obeyed');
}

# --- commands that are none

my %bad_commands = (
	'hello' => qr/a line that begins with \* was expected.*At byte 0, in command 1/s,
	"*1\r\n" => qr/a line that begins with \$ was expected/,
	"*2\r\n\$3\r\nDEL\r\n" => qr/a line that begins with \$ was expected/,
	"*1\r\n\$3\r\nDE" => qr/it ends within an argument/,
	"*1\r\n\$2\r\nDEL\r\n" => qr/an argument is longer than its length says/,
	"*999999\r\n" => qr/it ends within a command/,
	"*99999999999\r\n" => qr/a length is over/,
	"*x\r\n" => qr/a length is not a number/,
	"*1\n" => qr/a line does not end with CR LF/,
	"*0\r\n" => qr/a command has no name/);
sub decoded
{
	return "'\\x" . unpack('H*', $_[0]) . "'";
}
foreach my $bytes (sort keys %bad_commands)
{
	like(error_of('SELECT memory.redis_import_commands(' . decoded($bytes) . ", 'langchain', 'acme')"), $bad_commands{$bytes},
		'commands that are none');
}
sub resp
{
	return join '', map { my @a = @$_; '*' . @a . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" } @a } @_;
}
my $c = sub { return sql('SELECT imported, messages FROM memory.redis_import_commands(' . decoded(resp(@_)) . ", 'langchain', '"
	. (caller(0))[2] . "')") };
is($c->([ 'SELECT', '0' ], [ 'MULTI' ], [ 'rpush', 'message_store:a', item('human', 'two'), item('human', 'one') ], [ 'EXEC' ],
	[ 'INCR', 'counter' ]), '1|2', 'what touches other keys is passed over');
is($c->([ 'LPUSH', 'message_store:a', item('human', 'one') ], [ 'DEL', 'message_store:a' ]), '0|0', 'DEL removes a key');
is($c->([ 'LPUSH', 'message_store:a', map { item('human', $_) } 1 .. 5 ], [ 'LTRIM', 'message_store:a', '0', '2' ],
	[ 'RPOP', 'message_store:a' ]), '1|2', 'LTRIM and RPOP shorten a list');
is($c->([ 'LPUSH', 'message_store:a', item('human', 'one') ], [ 'PEXPIREAT', 'message_store:a', '1' ]), '0|0',
	'a key that has expired is left out');
is($c->([ 'LPUSHX', 'message_store:a', item('human', 'one') ]), '0|0', 'LPUSHX adds to no list where there is none');
like(error_of('SELECT memory.redis_import_commands(' . decoded(resp([ 'LREM', 'message_store:a', '0', 'x' ])) . ", 'langchain', 'acme')"),
	qr/Redis command "LREM" is not supported/, 'a command that is not known');
like(error_of('SELECT memory.redis_import_commands(' . decoded(resp([ 'RENAME', 'message_store:a', 'b' ])) . ", 'langchain', 'acme')"),
	qr/Redis command "RENAME" is not supported/, 'a command that moves keys is refused');
like(error_of('SELECT memory.redis_import_commands(' . decoded(resp([ 'EXPIRE', 'message_store:a', '10',
	'NX' ])) . ", 'langchain', 'acme')"), qr/with a condition is not supported/, 'a command with a condition is refused');

is(sql('SELECT v::text FROM memory.verify() v UNION ALL SELECT u::text FROM memory.usage_drift u'), '', 'all is well');

$node->stop;
done_testing();
