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

# Whatever is wrong with the store's tables, a line each; '' when they agree.
sub problems_of
{
	my ($node, $database) = @_;

	# a planner that knows nothing of the tables would compare all with all
	return $node->safe_psql($database // 'postgres', <<'SQL');
SET enable_nestloop = off;
SET jit = off;
WITH message AS MATERIALIZED (
	SELECT s.conversation_id, s.account_id, m.seq, m.parent_seq, m.tokens,
		coalesce(m.revision, s.revision) AS revision,
		octet_length(m.content) AS bytes, COALESCE(octet_length(m.metadata::text), 0) AS extra, s.first_seq, s.last_seq, s.revision AS segment_revision
	FROM memory_store.segments s, memory.unpack(s.body) m
	UNION ALL
	SELECT conversation_id, account_id, seq, parent_seq, tokens, revision, octet_length(content),
		COALESCE(octet_length(metadata), 0), NULL, NULL, NULL
	FROM memory_store.tail
), counted AS (
	SELECT c.conversation_id, c.account_id, count(m.seq) AS messages,
		COALESCE(sum(m.tokens), 0) AS tokens, COALESCE(sum(m.bytes + m.extra), 0)
			+ COALESCE(octet_length(max(c.title)), 0)
			+ COALESCE(octet_length(max(c.metadata::text)), 0) AS bytes,
		count(*) FILTER (WHERE m.seq IS NOT NULL AND m.first_seq IS NULL) AS tail,
		COALESCE(sum(m.bytes) FILTER (WHERE m.first_seq IS NULL), 0) AS tail_bytes,
		COALESCE(max(m.seq), 0) AS last, COALESCE(max(m.revision), 0) AS revision,
		COALESCE(min(m.seq) FILTER (WHERE m.first_seq IS NULL), 9e18) AS tail_begins,
		COALESCE(max(m.last_seq), 0) AS segments_end
	FROM memory_store.conversations c LEFT JOIN message m USING (conversation_id, account_id)
	GROUP BY 1, 2
), problem(what, conversation_id, account_id) AS (
	SELECT 'seq ' || seq || ' is there ' || count(*) || ' times', conversation_id, account_id
	FROM message GROUP BY conversation_id, account_id, seq HAVING count(*) > 1
UNION ALL
	SELECT format('message_count %s, token_count %s, content_bytes %s, tail_count %s, tail_bytes %s, but there are %s, %s, %s, %s, %s',
		c.message_count, c.token_count, c.content_bytes, c.tail_count, c.tail_bytes,
		n.messages, n.tokens, n.bytes, n.tail, n.tail_bytes), conversation_id, account_id
	FROM memory_store.conversations c JOIN counted n USING (conversation_id, account_id)
	WHERE (c.message_count, c.token_count, c.content_bytes, c.tail_count, c.tail_bytes)
		IS DISTINCT FROM (n.messages, n.tokens, n.bytes, n.tail::integer, n.tail_bytes)
UNION ALL
	SELECT format('next_seq %s, head_seq %s, revision %s, but last seq %s of revision %s',
		c.next_seq, c.head_seq, c.revision, n.last, n.revision), conversation_id, account_id
	FROM memory_store.conversations c JOIN counted n USING (conversation_id, account_id)
	WHERE c.next_seq <= n.last OR c.revision < n.revision OR (c.head_seq = 0) <> (n.messages = 0)
UNION ALL
	SELECT format('head_seq %s is not there', c.head_seq), conversation_id, account_id
	FROM memory_store.conversations c LEFT JOIN message m USING (conversation_id, account_id)
	WHERE c.head_seq <> 0 GROUP BY conversation_id, account_id, c.head_seq
	HAVING NOT COALESCE(bool_or(m.seq = c.head_seq), false)
UNION ALL
	SELECT 'the tail begins before the last segment ends', conversation_id, account_id
	FROM counted WHERE tail_begins <= segments_end
UNION ALL
	SELECT format('segment %s-%s of revision %s has %s-%s of revision %s', first_seq, last_seq,
		segment_revision, min(seq), max(seq), max(revision)), conversation_id, account_id
	FROM message WHERE first_seq IS NOT NULL
	GROUP BY conversation_id, account_id, first_seq, last_seq, segment_revision
	HAVING min(seq) <> first_seq OR max(seq) <> last_seq OR max(revision) <> segment_revision
UNION ALL
	SELECT format('segments at %s and %s overlap', a.first_seq, b.first_seq), conversation_id, account_id
	FROM memory_store.segments a JOIN memory_store.segments b USING (conversation_id, account_id)
	WHERE a.first_seq < b.first_seq AND a.last_seq >= b.first_seq
UNION ALL
	SELECT format('message %s answers %s, which is not there', m.seq, m.parent_seq), conversation_id, account_id
	FROM message m
	WHERE m.parent_seq <> 0 AND NOT EXISTS (SELECT FROM message p WHERE p.seq = m.parent_seq
		AND p.conversation_id = m.conversation_id AND p.account_id = m.account_id)
UNION ALL
	SELECT format('message %s answers %s, but the conversation is not branched', seq, parent_seq), conversation_id, account_id
	FROM (SELECT *, lag(seq, 1, 0::bigint) OVER (PARTITION BY conversation_id, account_id ORDER BY seq) AS before
		FROM message) m JOIN memory_store.conversations c USING (conversation_id, account_id)
	WHERE NOT c.branched AND m.parent_seq <> m.before
UNION ALL
	SELECT 'messages without a living conversation', conversation_id, account_id
	FROM message m WHERE NOT EXISTS (SELECT FROM memory_store.conversations c WHERE c.deleted_at IS NULL
		AND c.conversation_id = m.conversation_id AND c.account_id = m.account_id)
UNION ALL
	SELECT format('message %s has a tombstone', seq), conversation_id, account_id
	FROM message JOIN memory_store.tombstones USING (conversation_id, account_id, seq)
UNION ALL
	SELECT format('account of revision %s has a row of revision %s', a.revision, max(r.revision)), NULL, account_id
	FROM (
		SELECT account_id, revision FROM memory_store.conversations
		UNION ALL SELECT account_id, revision FROM memory_store.tombstones
		UNION ALL SELECT account_id, revision FROM message
	) r LEFT JOIN memory_store.accounts a USING (account_id)
	GROUP BY account_id, a.revision HAVING max(r.revision) > COALESCE(a.revision, 0)
UNION ALL
	SELECT 'the views and the tables differ in messages', NULL, NULL
	WHERE (SELECT count(*) FROM memory.messages) <> (SELECT count(*) FROM message)
)
SELECT concat_ws(': ', account_id, conversation_id, what) FROM problem ORDER BY 1 LIMIT 20;
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

# Every view and foreign table of the extension, row by row, each in an order of its own.
sub all_views_of
{
	my ($node, $database) = @_;

	return join "\n", map {
		"$_:\n" . $node->safe_psql($database, "SELECT v::text FROM $_ v ORDER BY v::text COLLATE \"C\"")
	} split /\n/, $node->safe_psql($database, "SELECT oid::regclass FROM pg_class WHERE relkind IN ('v', 'f') AND relnamespace = 'memory'::regnamespace ORDER BY relname");
}

1;
