# What pgaudit records of functions: the relation that a statement for the same work would name.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../lib";
use MemoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $libraries = qx{pg_config --pkglibdir});
plan skip_all => 'pgaudit is not installed' if !-e "$libraries/pgaudit.so";

my $node = new_server('audit');
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'memory_ext, pgaudit'
pgaudit.log_catalog = off
log_statement = none
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION memory_ext;
CREATE ROLE auditor;
GRANT SELECT, INSERT, UPDATE, DELETE ON memory.messages, memory.conversations TO auditor;
CREATE ROLE app LOGIN;
SELECT memory.grant_access('app', 'operator');
ALTER ROLE app SET pgaudit.role = 'auditor';
CREATE ROLE plain LOGIN;
SELECT memory.grant_access('plain', 'writer');
SQL

# What a role's statement leaves in the log: the kind of record, class, command and relation of each.
sub records
{
	my ($role, $statement) = @_;
	my $before = -s $node->logfile;
	my ($code, $out, $err) = $node->psql('postgres', $statement, extra_params => [ '-U', $role ]);
	is($code, 0, $statement) or diag($err);
	my $log = slurp_file($node->logfile, $before);
	return join(' ', map { s/\s+/ /gr } $log =~ /AUDIT: (OBJECT,\d+,\d+,\w+,\w+(?: \w+)*,[^,]*,memory\.\w+)/g)
	  =~ s/OBJECT,\d+,\d+,//gr;
}

my $c = "'00000000-0000-0000-0000-000000000001'";
my $messages = 'FOREIGN TABLE,memory.messages';
my $conversations = 'FOREIGN TABLE,memory.conversations';
my @functions = (
	[ "memory.append('ann', $c, 'user', 'hello')", "WRITE,INSERT,$messages" ],
	[ "memory.append('ann', $c, 'user', 'again')", "WRITE,INSERT,$messages" ],
	[ qq{memory.append('ann', $c, '[{"role": "user", "content": "hi"}]'::jsonb)}, "WRITE,INSERT,$messages" ],
	[ "memory.edit_message('ann', $c, 1, 'changed')", "WRITE,UPDATE,$messages" ],
	[ "memory.delete_message('ann', $c, 2)", "WRITE,DELETE,$messages" ],
	[ "memory.history('ann', $c)", "READ,SELECT,$messages" ],
	[ "memory.context('ann', $c, 100)", "READ,SELECT,$messages" ],
	[ "memory.message('ann', $c, 1)", "READ,SELECT,$messages" ],
	[ "memory.search('ann', 'changed')", "READ,SELECT,$messages" ],
	[ "memory.search_conversations('ann', 'changed')", "READ,SELECT,$messages" ],
	[ "memory.recent_conversations('ann')", "READ,SELECT,$conversations" ],
	[ "memory.list_conversations('ann')", "READ,SELECT,$conversations" ],
	[ "memory.changes('ann')", "READ,SELECT,$conversations" ],
	[ "memory.create_conversation('ann')", "WRITE,INSERT,$conversations" ],
	[ "memory.update_conversation('ann', $c, 'title')", "WRITE,UPDATE,$conversations" ],
	[ "memory.upsert_conversation('ann', $c, 'title')", "WRITE,INSERT,$conversations" ],
	[ "memory.pull('ann', 'messages', NULL)", "READ,SELECT,$conversations READ,SELECT,$messages" ],
	[ "memory.pull_conversation('ann', $c)", "READ,SELECT,$conversations READ,SELECT,$messages" ],
	[ "memory.push('ann', 'messages', '[]')", "WRITE,INSERT,$conversations WRITE,INSERT,$messages" ],
	[ "memory.export('native', 'ann')", "READ,SELECT,$conversations READ,SELECT,$messages" ],
	[ qq{memory.import_document('ann', '{"messages": [{"role": "user", "content": "x"}]}')},
		"WRITE,INSERT,$conversations WRITE,INSERT,$messages" ],
	[ "memory.delete_conversation('ann', $c)", "WRITE,DELETE,$conversations" ],
	[ "memory.forget('ann')", "WRITE,DELETE,$conversations WRITE,DELETE,$messages" ]);

is(records('app', "SELECT * FROM $_->[0]"), $_->[1], 'its object records') for @functions;
is(records('app', 'SELECT count(*) FROM memory.messages'), "READ,SELECT,$messages", 'as a statement on the relation');
is(records('plain', "SELECT memory.append('bob', $c, 'user', 'hello')"), '', 'no audit role, no object record');

is($node->safe_psql('postgres', "SET ROLE app; BEGIN; DECLARE c CURSOR FOR SELECT content FROM memory.history('bob', $c);"
	. " FETCH c; CLOSE c; COMMIT; PREPARE p AS SELECT content FROM memory.history('bob', $c); EXECUTE p"), "hello\nhello",
	'cursors and prepared statements');
$node->stop;
done_testing;
