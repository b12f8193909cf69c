# What keeps the data: pg_dump in all its forms, and the log when the server
# dies.  And what may take it away: DROP EXTENSION, unless it is protected.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('dump');
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir;
my $columns = conversation_columns();

# --- a database with everything that the store knows
$node->safe_psql('postgres', "CREATE DATABASE source TEMPLATE template0; CREATE ROLE app LOGIN; CREATE ROLE watcher LOGIN");
$node->safe_psql('source', <<"SQL");
CREATE EXTENSION memory_ext;
ALTER DATABASE source SET memory_ext.segment_messages = 32;
ALTER ROLE watcher IN DATABASE source SET memory_ext.account = 'acme';
SELECT memory.grant_access('app', 'writer'), memory.grant_access('watcher', 'reader');
\\copy memory.conversations ($columns) FROM '@{[ samples('conversations.csv') ]}' (FORMAT csv, HEADER)
\\copy memory.messages FROM '@{[ samples('messages.csv') ]}' (FORMAT csv, HEADER)
SQL
my ($busy, $gone, $edited) = map { conversation($_) } 1 .. 3;
$node->safe_psql('source', <<"SQL");
SELECT memory.append('busy', '$busy', 'user', 'message ' || i || repeat(' and more', i % 20), 'model', metadata => '{"i": 1}',
	message_id => 'm' || i)
FROM generate_series(1, 100) i;
DELETE FROM memory.messages WHERE conversation_id = '$busy' AND seq IN (5, 99);
SELECT memory.append('busy', '$gone', 'user', 'gone');
SELECT memory.delete_conversation('busy', '$gone');
SELECT memory.append('busy', '$edited', 'user', 'before');
SELECT memory.seal('busy', '$edited');
SELECT memory.edit_message('busy', '$edited', 1, 'after');
SELECT memory.append('busy', '$edited', 'assistant', 'an answer'), memory.append('busy', '$edited', 'assistant', 'another',
	parent_seq => 1);
SELECT memory.update_conversation('busy', '$edited', head_seq => 2);
SELECT memory.create_conversation('empty', '@{[ conversation(4) ]}', 'nothing yet');
SET memory_ext.compact_after = 0;
SELECT memory_store.compact_batch('00000000-0000-0000-0000-000000000000', '', 20);
SELECT memory.set_retention('busy', '10 years'), memory.set_retention(NULL, '20 years');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
SELECT 'trained ' || i % 3, lpad(i::text, 32, 'a')::uuid, n, 'user',
	'The ' || n || '. train of day ' || i || ' leaves from platform ' || i * n % 17 || ' and is ' || i * 7 % 13 ||
	' minutes late, for which we apologize.'
FROM generate_series(1, 1500) i, generate_series(1, 8) n;
SELECT dictionary_id IS NOT NULL FROM memory.train_dictionary(min_gain => -100);
SELECT memory.append('busy', '@{[ conversation(5) ]}', 'user', 'sealed with the dictionary') FROM generate_series(1, 40);
SQL
is(problems_of($node, 'source'), '', 'the tables agree with each other');
is($node->safe_psql('source', <<'SQL'), 't|t|t|t|t|t', 'there is some of everything');
SELECT (SELECT count(*) > 0 FROM memory_store.segments), (SELECT count(*) > 0 FROM memory_store.tail),
	(SELECT count(*) > 0 FROM memory_store.tombstones), (SELECT count(*) > 0 FROM memory_store.conversations WHERE deleted_at IS NOT NULL),
	(SELECT count(*) > 0 FROM memory_store.conversations WHERE branched AND head_seq < next_seq - 1),
	(SELECT count(*) > 0 FROM memory.dictionaries)
SQL
my $digest = digest_of($node, 'source');
my $views = views_of($node, 'source');
note($digest);

# What a restored database must be like, and go on like.
sub check_restored
{
	my ($database, $how) = @_;

	is(digest_of($node, $database), $digest, "$how: the tables are the same, revisions included");
	ok(views_of($node, $database) eq $views, "$how: the views are the same");
	is(problems_of($node, $database), '', "$how: the tables agree with each other");
	is($node->safe_psql($database, 'SELECT * FROM memory.verify()'), '', "$how: memory.verify() says so, too");

	my $before = $node->safe_psql($database, "SELECT revision FROM memory_store.accounts WHERE account_id = 'busy'");
	is($node->safe_psql($database, "SELECT memory.append('busy', '$busy', 'user', 'after the restore')"), '101', "$how: numbers go on");
	is($node->safe_psql($database, <<"SQL"), ($before + 1) . '|100', "$how: revisions go on, and so does the branch");
SELECT t.revision, parent_seq FROM memory_store.tail t WHERE conversation_id = '$busy' AND seq = 101
SQL
	is($node->safe_psql($database,
		"SELECT memory.append('busy', '$edited', 'user', 'on'); SELECT (memory.message('busy', '$edited', 4)).parent_seq"), "4\n2",
		"$how: a head that is not the last message is answered");
	like(($node->psql($database, "SELECT memory.append('busy', '$gone', 'user', 'x')"))[2], qr/has been deleted/,
		"$how: what was deleted stays deleted");
	is($node->safe_psql($database, 'SELECT memory.seal() > 0'), 't', "$how: tails can be sealed");
	is(problems_of($node, $database), '', "$how: the tables agree after sealing");
	return;
}

my $connect = $node->connstr('source');

# --- plain SQL with the database itself: settings and privileges, too
$node->command_ok([ 'pg_dump', '--create', '-f', "$dir/plain.sql", $connect ], 'pg_dump --create');
$node->safe_psql('postgres', 'ALTER DATABASE source RENAME TO original');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'psql takes it');
is($node->safe_psql('source', 'SELECT * FROM memory.recent_conversations(\'nobody\'); SHOW memory_ext.segment_messages'), '32',
	'plain: the database\'s settings are kept');
my $as = sub { (my $connection = $node->connstr('source')) . " user=$_[0]" };
is($node->safe_psql('source', "SELECT count(*) > 0 FROM memory.messages", connstr => $as->('app')), 't', 'plain: a reader may read');
is($node->safe_psql('source', "SELECT memory.append('app', '@{[ conversation(9) ]}', 'user', 'x')", connstr => $as->('app')), '1',
	'plain: a writer may write');
$node->safe_psql('source',
	"DELETE FROM memory_store.tail WHERE account_id = 'app'; DELETE FROM memory_store.conversations WHERE account_id = 'app';
		DELETE FROM memory_store.accounts WHERE account_id = 'app'");
is($node->safe_psql('source', 'SELECT string_agg(DISTINCT account_id, \' \') FROM memory.messages', connstr => $as->('watcher')), 'acme',
	'plain: a role\'s confinement is kept');
like(($node->psql('source', "SELECT memory.append('acme', '@{[ conversation(9) ]}', 'user', 'x')", connstr => $as->('watcher')))[2],
	qr/permission denied/, 'plain: the confined role may not write');
check_restored('source', 'plain');

# --- the custom format, in parallel
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('original') ], 'pg_dump -Fc');
$node->safe_psql('postgres', 'CREATE DATABASE custom TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-j', 2, '--exit-on-error', '-d', $node->connstr('custom'), "$dir/custom.dump" ], 'pg_restore -j 2');
check_restored('custom', 'custom');

# --- data only, into a new extension
$node->command_ok([ 'pg_dump', '--data-only', '-f', "$dir/data.sql", $node->connstr('original') ], 'pg_dump --data-only');
$node->safe_psql('postgres', 'CREATE DATABASE data_only TEMPLATE template0');
$node->safe_psql('data_only', 'CREATE EXTENSION memory_ext');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/data.sql", $node->connstr('data_only') ], 'psql takes it');
check_restored('data_only', 'data only');

# --- INSERTs, which go to the tables themselves
$node->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts.sql", $node->connstr('original') ], 'pg_dump --inserts');
$node->safe_psql('postgres', 'CREATE DATABASE inserts TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/inserts.sql", $node->connstr('inserts') ], 'psql takes it');
check_restored('inserts', 'inserts');

# --- a dump of a restored database is the same dump
$node->command_ok([ 'pg_dump', '-f', "$dir/original.sql", $node->connstr('original') ], 'pg_dump once more');
$node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/original.sql", $node->connstr('again') ], 'psql takes it');
$node->command_ok([ 'pg_dump', '-f', "$dir/again.sql", $node->connstr('again') ], 'the copy can be dumped');
my ($first, $second) = map { my $dump = slurp_file($_); $dump =~ s/^\\(un)?restrict .*\n//mg; join "\n", sort split /\n/,
	$dump } "$dir/original.sql", "$dir/again.sql";
ok($first eq $second, 'both dumps have the same lines');

# --- parts of a database: the manual warns of them, and says what to call instead
for my $part ([ '-n', 'memory' ], [ '-t', 'memory.messages' ], [ '-t', 'memory.*' ])
{
	my ($out, $err) = ('', '');
	my $done = IPC::Run::run([ 'pg_dump', @$part, $node->connstr('original') ], '>', \$out, '2>', \$err);
	ok($done && $err eq '', "pg_dump @$part says nothing of what it leaves out") or diag($err);
	unlike($out, qr/^(CREATE EXTENSION|COPY memory_store\.)/m, "pg_dump @$part has neither the extension nor conversations");
}
$node->command_ok([ 'pg_dump', '-e', 'memory_ext', '-f', "$dir/extension.sql", $node->connstr('original') ], 'pg_dump -e memory_ext');
$node->safe_psql('postgres', 'CREATE DATABASE extension TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/extension.sql", $node->connstr('extension') ],
	'psql takes it');
is(digest_of($node, 'extension'), $digest, 'pg_dump -e memory_ext has all that the extension keeps, without the rest of the database');

# --- databases that it is not for
$node->safe_psql('postgres',
	q{CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C';
		CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
for ([ 'ascii', 'SQL_ASCII' ], [ 'latin', 'LATIN1' ])
{
	my ($database, $encoding) = @$_;
	my ($status, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\nCREATE EXTENSION memory_ext");
	like($err, qr/ERROR:  0A000: memory_ext needs a database with encoding UTF8, this one has $encoding\nHINT:  Create a database/,
		"$encoding is refused");
	is($node->safe_psql($database, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'memory%'"), '0', "$encoding: nothing is left");
}

# --- DROP EXTENSION
$node->safe_psql('again', 'SELECT memory.protect()');
like(($node->psql('again', 'DROP EXTENSION memory_ext'))[2], qr/cannot drop extension memory_ext because other objects depend on it/,
	'a protected one is not dropped');
$node->command_ok([ 'pg_dump', '-f', "$dir/protected.sql", $node->connstr('again') ], 'a protected one is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE protected TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/protected.sql", $node->connstr('protected') ],
	'the dump of a protected extension is restored');
is(digest_of($node, 'protected'), $digest, 'the restored database has the same data');
like(($node->psql('protected', 'DROP EXTENSION memory_ext'))[2], qr/cannot drop extension memory_ext because other objects depend on it/,
	'the restored extension is protected again');

# in one session, whose plans were made for what is gone
is($node->safe_psql('again', <<"SQL"), "\nt\n0|0|0\nt\n40", 'the extension can be dropped and made anew in one session');
SELECT memory.unprotect();
SELECT memory.seal() > 0;
DROP EXTENSION memory_ext;
SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'memory_store'),
	(SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('memory')),
	(SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('memory'));
CREATE EXTENSION memory_ext;
SET memory_ext.segment_messages = 16;
SELECT max(memory.append('new', '@{[ conversation(1) ]}', 'user', 'message ' || i)) = 40 FROM generate_series(1, 40) i;
SELECT count(*) FROM memory.messages;
SQL
is(problems_of($node, 'again'), '', 'the tables of the new one agree');

# --- the server dies while clients write: what they were told is there
$node->safe_psql('postgres', 'CREATE DATABASE crash TEMPLATE template0');
$node->safe_psql('crash', 'CREATE EXTENSION memory_ext; SELECT memory.append(\'warm\', \'' . conversation(50) . '\', \'user\', \'x\')');
write_file("$dir/copied.csv", map { sprintf("copied,%s,user,line %d\n", conversation(60 + $_ % 3), $_) } 1 .. 200);
my $appends = 3000;
my @clients;
for my $n (1, 2)
{
	my $script = write_file("$dir/client$n.sql",
		"\\copy memory.messages (account_id, conversation_id, role, content) FROM '$dir/copied.csv' (FORMAT csv)\n\\echo copied\n",
		map { "SELECT memory.append('client $n', '" . conversation(70 + $n) . "', 'user', 'message $_');\n" } 1 .. $appends);
	my ($out, $err) = ('', '');
	push @clients, { n => $n, out => \$out, err => \$err };
	$clients[-1]->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', $script, $node->connstr('crash') ],
		'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}
# each of them is told of some appends before it happens
for my $client (@clients)
{
	$client->{run}->pump until ${ $client->{out} } =~ /^150$/m || !$client->{run}->pumpable;
}
$node->stop('immediate');
$_->{run}->finish for @clients;
$node->start;
for my $client (@clients)
{
	my $n = $client->{n};
	my ($copied, @seqs) = split /\n/, ${ $client->{out} };
	is($copied, 'copied', "crash: client $n had copied");
	is("@seqs", join(' ', 1 .. @seqs), "crash: client $n was told of numbers in order");
	cmp_ok(scalar @seqs, '<', $appends, "crash: client $n was interrupted");
	my $there = $node->safe_psql('crash',
		"SELECT max(seq), count(*), bool_and(content = 'message ' || seq) FROM memory.messages
			WHERE conversation_id = '@{[ conversation(70 + $n) ]}'");
	# one more may have been committed than was heard of
	my $told = scalar @seqs;
	ok($there eq "$told|$told|t" || $there eq ($told + 1) . '|' . ($told + 1) . '|t', "crash: all $told appends of client $n are there")
	  or diag($there);
}
is($node->safe_psql('crash', "SELECT content, count(*) FROM memory.messages WHERE account_id = 'copied' GROUP BY 1 HAVING count(*) <> 2"),
	'', 'crash: both COPYs are there, whole');
is($node->safe_psql('crash', "SELECT count(*) FROM memory.messages WHERE account_id = 'copied'"), '400',
	'crash: all rows of both COPYs are there');
is(problems_of($node, 'crash'), '', 'crash: the tables agree');
is($node->safe_psql('crash',
	"SELECT memory.append('client 1', '@{[ conversation(71) ]}', 'user', 'on') = 1 + (SELECT max(seq) FROM memory.messages
		WHERE conversation_id = '@{[ conversation(71) ]}')"), 't', 'crash: numbers go on');

$node->stop;
done_testing();
