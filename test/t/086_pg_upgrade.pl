# pg_upgrade: a cluster's data, moved into a new one in place.  Objects of the extension are made anew there
# one by one, not by its script, and the tables' files come along as they are: the bytes of transcripts and
# dictionaries, the settings, the rights.  Both clusters are of the PostgreSQL that is tested, or the old one
# is that of OLD_PG_CONFIG (see test/run).  As for PostgreSQL's own test of it, the environment has that one's folder
# as oldinstall, and may have PG_TEST_PG_UPGRADE_MODE=--link.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @mode = grep { defined } $ENV{PG_TEST_PG_UPGRADE_MODE};
my $old = new_server('old', install_path => $ENV{oldinstall});
# pages have checksums in both or in none; from 18 on they have, unless told
my $new = new_server('new', no_data_checksums => $old->pg_version < 18);
note 'from ' . $old->pg_version . ' to ' . $new->pg_version . " @mode";
my $columns = conversation_columns();

# What a dump says of the user's objects and of rights, without what differs from one dump to the next.  The new
# pg_dump reads both, and sets for the new server what the old one does not know.
sub schema_of
{
	my ($node) = @_;
	my ($dump, $errors) = ('', '');
	IPC::Run::run([ $new->installed_command('pg_dump'), '--schema-only', '--no-sync', $node->connstr('chats') ], '>', \$dump, '2>', \$errors)
	  or die "pg_dump: $errors";
	return join "\n", grep { !/^(--|\\restrict|\\unrestrict|SET |\s*$)/ } split /\n/, $dump;
}

# Members of the extension, what a dump takes along of them, and their rights.  Not what PostgreSQL's versions
# differ in: types that come with a relation or another type became members, and owners have one right more.
my $members = <<'SQL';
SELECT i.type, i.identity FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid, pg_identify_object(d.classid, d.objid, 0) i
WHERE extname = 'memory_ext' AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND NOT (i.type = 'type' AND EXISTS (SELECT FROM pg_depend p WHERE p.classid = d.classid AND p.objid = d.objid AND p.deptype = 'i'))
		ORDER BY 1, 2;
SELECT c::regclass::text, condition FROM pg_extension, unnest(extconfig, extcondition) u(c, condition) WHERE extname = 'memory_ext'
	ORDER BY 1;
SELECT p.oid::regprocedure::text, proacl, prosecdef, provolatile, proparallel FROM pg_proc p
	WHERE pronamespace::regnamespace::text LIKE 'memory%' ORDER BY 1;
SELECT c.oid::regclass::text, reloptions, ARRAY(SELECT (grantee::regrole, privilege_type, is_grantable) FROM aclexplode(relacl)
	WHERE grantee <> relowner) FROM pg_class c WHERE relnamespace::regnamespace::text LIKE 'memory%' ORDER BY 1;
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
SELECT 'trained ' || i % 3, lpad(i::text, 32, 'a')::uuid, n, 'user',
	'The ' || n || '. train of day ' || i || ' leaves from platform ' || i * n % 17 || ' and is ' || i * 7 % 13 ||
	' minutes late, for which we apologize.'
FROM generate_series(1, 1500) i, generate_series(1, 8) n;
SELECT dictionary_id FROM memory.train_dictionary(min_gain => -1000);
SET memory_ext.compact_after = 0;
CALL memory.maintain();
INSERT INTO memory.plans (plan_id, price) VALUES ('small', 1);
INSERT INTO memory.plan_limits (plan_id, meter, limit_value, period, thresholds)
	VALUES ('small', 'messages', 1000, 'month', '{0.002, 0.004}');
SELECT memory.subscribe('limited', 'small');
SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'in the tail ' || i) FROM generate_series(1, 5) i;
SELECT memory.delete_message('limited', '@{[ conversation(1) ]}', 2);
SELECT memory.append('limited', '@{[ conversation(2) ]}', 'user', 'asked') UNION ALL
SELECT memory.append('limited', '@{[ conversation(2) ]}', 'assistant', 'an answer') UNION ALL
SELECT memory.append('limited', '@{[ conversation(2) ]}', 'assistant', 'another', parent_seq => 1);
SELECT memory.seal('limited', '@{[ conversation(2) ]}'), memory.edit_message('limited', '@{[ conversation(2) ]}', 1,
	'asked in other words'),
	memory.update_conversation('limited', '@{[ conversation(2) ]}', head_seq => 2);
SELECT memory.append('limited', '@{[ conversation(3) ]}', 'user', 'gone');
SELECT memory.delete_conversation('limited', '@{[ conversation(3) ]}');
SELECT memory.append('forgotten', '@{[ conversation(4) ]}', 'user', 'never said');
SELECT memory.forget('forgotten'), memory.set_retention('acme', '10 years');
SELECT memory.record_usage('limited', 'model', 100, 10, 20, request_id => 'r'), memory.reserve_usage('limited', 'held', 5,
	keep_for => '1 day');
SELECT memory.import_model_prices('{"model": {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}}', '2020-01-01');
SELECT memory.outbox_ack('billing', max(position)) FROM memory.outbox_read('billing', 1);
SELECT memory.delete_conversation('refused', memory.create_conversation('refused', conversation_id)) FROM memory.conversations
	WHERE account_id = 'acme' ORDER BY 1 LIMIT 1;
CALL memory.import_file('@{[ samples('messages.csv') ]}', format => 'csv', account_id => 'refused', on_error => 'skip', job_id => NULL);
-- a table of a user's, with the type
CREATE TABLE kept (id integer PRIMARY KEY, chat memory.transcript);
INSERT INTO kept SELECT 1, memory.transcript_agg(m ORDER BY m.seq) FROM memory.history('limited', '@{[ conversation(1) ]}') m;
SQL

my %before = (
	views => all_views_of($old, 'chats'),
	tables => digest_of($old, 'chats'),
	members => $old->safe_psql('chats', $members),
	schema => schema_of($old),
	kept => $old->safe_psql('chats', 'SELECT * FROM kept'));
my $chats = views_of($old, 'chats');
my @empty = $before{views} =~ /^(memory\.\w+):\n+(?=memory\.|\z)/mg;
is("@empty", 'memory.import_documents memory.maintenance_problems memory.usage_drift', 'there is some of everything');
is($old->safe_psql('chats', 'SELECT count(*), sum(segments) > 0 FROM memory.dictionaries WHERE is_current'), '1|t',
	'segments need a dictionary');
$old->stop;

chdir PostgreSQL::Test::Utils::tempdir or die $!;
command_ok(
	[
		$new->installed_command('pg_upgrade'), '--no-sync', @mode, '--old-datadir' => $old->data_dir, '--new-datadir' => $new->data_dir,
		'--old-bindir' => $old->config_data('--bindir'), '--new-bindir' => $new->config_data('--bindir'),
		'--socketdir' => $new->host, '--old-port' => $old->port, '--new-port' => $new->port
	],
	'pg_upgrade');
$new->start;

my %after = (
	views => all_views_of($new, 'chats'),
	tables => digest_of($new, 'chats'),
	members => $new->safe_psql('chats', $members),
	schema => schema_of($new),
	kept => $new->safe_psql('chats', 'SELECT * FROM kept'));
is($after{$_}, $before{$_}, "pg_upgrade keeps the $_") for sort keys %before;
is(problems_of($new, 'chats'), '', 'the tables agree with each other');
$new->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
my $dump = PostgreSQL::Test::Utils::tempdir . '/chats.dump';
$new->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $new->connstr('chats') ], 'pg_dump');
$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('restored'), $dump ], 'pg_restore');
is(views_of($new, 'restored'), $chats, 'a dump of it has the same conversations');
is(problems_of($new, 'restored'), '', 'the restored tables agree with each other');
is($new->safe_psql('chats', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing');

# --- and it goes on
my ($status, $out, $err) = $new->psql('chats', 'DROP EXTENSION memory_ext');
like($err, qr/cannot drop extension memory_ext/, 'the upgraded extension is still protected');
($status, $out, $err) = $new->psql('chats',
	"SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'more') FROM generate_series(1, 996)");
like($err, qr/limit/, 'the subscription still has its plan, and counts what was used');
is($new->safe_psql('chats', "SELECT memory.append('limited', '@{[ conversation(1) ]}', 'user', 'more')"), '6',
	'the next message has the next number');
is($new->safe_psql('chats', <<'SQL', extra_params => [ '-U', 'watcher' ]), 't', 'a role has what it was granted, and no more');
SELECT count(*) > 0 AND bool_and(account_id = 'acme') FROM memory.conversations
SQL
$new->safe_psql('chats', 'SET memory_ext.compact_after = 0; CALL memory.maintain()');
is($new->safe_psql('chats', 'SELECT * FROM memory.verify()'), '', 'verify() finds nothing after maintain()');

$new->stop;
done_testing();
