# What the TAP tests of the store share: a server with the extension, the check
# that the store's tables agree with each other, and digests to compare two
# databases by.
package MemoryTest;

use strict;
use warnings;

use Exporter 'import';
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# memory.messages and memory.conversations are foreign tables of the extension's own
# wrapper: what views cannot do is tested, too.
our $relations_are_tables = 1;
# Conversation ids are unique within an account, not beyond it.
our $ids_are_per_account = 1;

our @EXPORT = qw($relations_are_tables $ids_are_per_account new_server conversation problems_of digest_of views_of all_views_of view_messages view_conversations
  conversation_columns samples write_file);

# A stopped server; the caller configures and starts it.  install_path: of another PostgreSQL.
sub new_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => delete $options{install_path});

	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ], %options);
	# autovacuum and its statistics stay on, as they are in production
	$node->append_conf('postgresql.conf', "autovacuum = on\ntimezone = 'UTC'\n");
	return $node;
}

# The n-th conversation's id.
sub conversation
{
	return sprintf('%08x-0000-0000-0000-%012x', $_[0], $_[0]);
}

sub samples
{
	return "$FindBin::RealBin/../samples/$_[0]";
}

sub write_file
{
	my ($file, @lines) = @_;
	open(my $out, '>:raw', $file) or die "$file: $!";
	print $out @lines;
	close $out or die "$file: $!";
	return $file;
}

# Whatever is wrong with the store, a line each; '' when all is well.  memory.verify() says what must
# be true of the tables, and sql/verify.sql that it finds each thing that is not.
sub problems_of
{
	my ($node, $database) = @_;

	return $node->safe_psql($database // 'postgres', <<'SQL');
SELECT concat_ws(': ', v.account_id, v.conversation_id, v.problem) FROM memory.verify() v
UNION ALL
SELECT 'memory.messages has other messages than the tables'
WHERE (SELECT count(*) FROM memory.messages)
	<> (SELECT COALESCE(sum(memory.message_count(body)), 0) FROM memory_store.segments) + (SELECT count(*) FROM memory_store.tail)
ORDER BY 1 LIMIT 20;
SQL
}

# Every table of the extension, a line each: a dump must bring it back.
sub digest_of
{
	my ($node, $database) = @_;
	$database //= 'postgres';

	my $tables = $node->safe_psql($database,
		"SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
		JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
		WHERE extname = 'memory_ext' AND relkind = 'r'
			AND relname <> ALL ('{maintenance_phases,maintenance_problems,search_accounts,search_blocks}') -- of this database only, or derived
		ORDER BY c.oid::regclass::text");
	return join "\n", map {
		$node->safe_psql($database,
			"SELECT '$_: ' || count(*) || ' rows, ' || md5(COALESCE(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"), '')) FROM $_ t"
		)
	} split /\n/, $tables;
}

# The two views, whole, in a fixed order; conversations without what is derived.
sub conversation_columns
{
	return 'conversation_id, account_id, title, metadata, archived, head_seq, created_at, updated_at';
}

sub view_messages
{
	return 'SELECT * FROM memory.messages ORDER BY conversation_id, account_id, seq';
}

sub view_conversations
{
	return 'SELECT * FROM memory.conversations ORDER BY conversation_id, account_id';
}

sub views_of
{
	my ($node, $database) = @_;

	return $node->safe_psql($database // 'postgres', view_messages() . ';' . view_conversations());
}

# Every view and foreign table of the extension, row by row, each in an order of its own; but for
# memory.metrics, which has ages, sizes of files and estimates.
sub all_views_of
{
	my ($node, $database) = @_;

	return join "\n", map {
		"$_:\n" . $node->safe_psql($database, "SELECT v::text FROM $_ v ORDER BY v::text COLLATE \"C\"")
	} split /\n/, $node->safe_psql($database, "SELECT oid::regclass FROM pg_class WHERE relkind IN ('v', 'f') AND relnamespace = 'memory'::regnamespace
		AND relname <> 'metrics' ORDER BY relname");
}

1;
