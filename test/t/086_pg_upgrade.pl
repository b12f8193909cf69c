# pg_upgrade: a cluster's data, moved into a new one in place.  Objects of the extension are made anew there
# one by one, not by its script, and the tables' files come along as they are: the bytes of transcripts and
# dictionaries, the settings, the rights.  Both clusters are of the PostgreSQL that is tested.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_server('old');
my $new = new_server('new');
my $columns = conversation_columns();

# What a dump says of the user's objects and of rights, without what differs from one dump to the next.
sub schema_of
{
	my ($node) = @_;
	my $dump = run_command_of($node, 'pg_dump', '--schema-only', '--no-sync', $node->connstr('chats'));
	return join "\n", grep { !/^(--|\\restrict|\\unrestrict|\s*$)/ } split /\n/, $dump;
}

sub run_command_of
{
	my ($node, @command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $node->config_data('--bindir') . "/$command[0]", @command[ 1 .. $#command ] ], '>', \$out, '2>', \$err)
	  or die "@command: $err";
	return $out;
}

# Members of the extension, what a dump takes along of them, and their rights.
my $members = <<'SQL';
SELECT i.type, i.identity FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid, pg_identify_object(d.classid, d.objid, 0) i
WHERE extname = 'memory_ext' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' ORDER BY 1, 2;
SELECT c::regclass::text, condition FROM pg_extension, unnest(extconfig, extcondition) u(c, condition) WHERE extname = 'memory_ext' ORDER BY 1;
SELECT p.oid::regprocedure::text, proacl, prosecdef, provolatile, proparallel FROM pg_proc p WHERE pronamespace::regnamespace::text LIKE 'memory%' ORDER BY 1;
SELECT c.oid::regclass::text, relacl, reloptions FROM pg_class c WHERE relnamespace::regnamespace::text LIKE 'memory%' ORDER BY 1;
SELECT setdatabase = 0, setrole::regrole::text, setconfig FROM pg_db_role_setting ORDER BY 1, 2;
SQL

$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE chats TEMPLATE template0; CREATE ROLE app LOGIN; CREATE ROLE watcher LOGIN');
$old->safe_psql('chats', <<"SQL");
CREATE EXTENSION memory_ext;
ALTER DATABASE chats SET memory_ext.segment_messages = 32;
ALTER ROLE watcher IN DATABASE chats SET memory_ext.account = 'acme';
SELECT memory.grant_access('app', 'writer'), memory.grant_access('watcher', 'reader'), memory.protect();
\\copy memory.conversations ($columns) FROM '@{[ samples('conversations.csv') ]}' (FORMAT csv, HEADER)
\\copy memory.messages FROM '@{[ samples('messages.csv') ]}' (FORMAT csv, HEADER)
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
SELECT 'trained ' || i % 3, lpad(i::text, 32, 'a')::uuid, n, 'user', 'The ' || n || '. train of day ' || i || ' leaves from platform ' || i * n % 17 || ' and is ' || i * 7 % 13 || ' minutes late, for which we apologize.'
FROM generate_series(1, 1500) i, generate_series(1, 8) n;
SELECT dictionary_id FROM memory.train_dictionary(min_gain => -1000);
SET memory_ext.compact_after = 0;
CALL memory.maintain();
INSERT INTO memory.plans (plan_id, price) VALUES ('small', 1);
INSERT INTO memory.plan_limits (plan_id, meter, limit_value, period) VALUES ('small', 'messages', 1000, 'month');
SELECT memory.subscribe('limited', 'small');
SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'in the tail ' || i) FROM generate_series(1, 5) i;
SELECT memory.delete_message('limited', '@{[ conversation(1) ]}', 2);
-- a table of a user's, with the type
CREATE TABLE kept (id integer PRIMARY KEY, chat memory.transcript);
INSERT INTO kept SELECT 1, memory.transcript_agg(m ORDER BY m.seq) FROM memory.history('limited', '@{[ conversation(1) ]}') m;
SQL

my %before = (
	views => views_of($old, 'chats'),
	tables => digest_of($old, 'chats'),
	members => $old->safe_psql('chats', $members),
	schema => schema_of($old),
	kept => $old->safe_psql('chats', 'SELECT * FROM kept'));
is($old->safe_psql('chats', 'SELECT count(*), sum(segments) > 0 FROM memory.dictionaries WHERE is_current'), '1|t', 'segments need a dictionary');
$old->stop;

my $bindir = $old->config_data('--bindir');
chdir PostgreSQL::Test::Utils::tempdir or die $!;
command_ok(
	[
		"$bindir/pg_upgrade", '--no-sync', '--old-datadir' => $old->data_dir, '--new-datadir' => $new->data_dir,
		'--old-bindir' => $bindir, '--new-bindir' => $bindir, '--socketdir' => $new->host,
		'--old-port' => $old->port, '--new-port' => $new->port
	],
	'pg_upgrade');
$new->start;

my %after = (
	views => views_of($new, 'chats'),
	tables => digest_of($new, 'chats'),
	members => $new->safe_psql('chats', $members),
	schema => schema_of($new),
	kept => $new->safe_psql('chats', 'SELECT * FROM kept'));
is($after{$_}, $before{$_}, "the same $_") for sort keys %before;
is(problems_of($new, 'chats'), '', 'the tables agree with each other');
is($new->safe_psql('chats', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing');

# --- and it goes on
my ($status, $out, $err) = $new->psql('chats', 'DROP EXTENSION memory_ext');
like($err, qr/cannot drop extension memory_ext/, 'it is still protected');
($status, $out, $err) = $new->psql('chats', "SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'more') FROM generate_series(1, 996)");
like($err, qr/limit/, 'it still has its plan, and counts what was used');
is($new->safe_psql('chats', "SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'more')"), '6', 'the next message has the next number');
is($new->safe_psql('chats', <<'SQL', extra_params => [ '-U', 'watcher' ]), 't', 'a role has what it was granted, and no more');
SELECT count(*) > 0 AND bool_and(account_id = 'acme') FROM memory.conversations
SQL
$new->safe_psql('chats', 'SET memory_ext.compact_after = 0; CALL memory.maintain()');
is($new->safe_psql('chats', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing after maintain()');

$new->stop;
done_testing();
