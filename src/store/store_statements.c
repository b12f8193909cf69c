/*
 * store_statements.c
 *		Every SQL statement of the store, prepared once a backend.
 *
 * Each operator is named with its schema, so that no search_path of a caller
 * changes what a statement means; each names account_id, the distribution
 * column.  Mind that OPERATOR() has one precedence for all: parenthesize.  The
 * plans are generic and kept until the backend ends.  Callers
 * hold an SPI connection; rows belong to it and are gone after SPI_finish.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include "statement.h"
#include "store_private.h"

#define EQ " OPERATOR(pg_catalog.=) "
#define LT " OPERATOR(pg_catalog.<) "
#define GE " OPERATOR(pg_catalog.>=) "
#define GT " OPERATOR(pg_catalog.>) "
#define PLUS " OPERATOR(pg_catalog.+) "
#define SHIFT " OPERATOR(pg_catalog.>>) "

#define THIS_CONVERSATION "conversation_id" EQ "$1 AND account_id" EQ "$2"
#define TAIL_COLUMNS                                                                               \
	"seq, parent_seq, role, content, model, tokens, created_at, message_id, metadata, revision, counted"

#define INSERT_CONVERSATION                                                                        \
	"INSERT INTO memory_store.conversations (conversation_id, account_id, next_seq, head_seq,"     \
	" message_count, token_count, content_bytes, tail_bytes, tail_count, branched,"                \
	" created_at, updated_at, revision, title, metadata, archived, revision_bucket)"
#define READ_COLUMNS(c)                                                                            \
	c "next_seq, " c "head_seq, " c "message_count, " c "token_count, " c "content_bytes, " c      \
	  "tail_bytes, " c "tail_count, " c "branched, " c "created_at, " c "updated_at, " c           \
	  "deleted_at, " c "revision, " c "account_id, " c "conversation_id, " c "ctid"
#define CHANGED_COLUMNS                                                                            \
	" (conversation_id, account_id, next_seq, head_seq, message_count, token_count,"               \
	" content_bytes, tail_bytes, tail_count, branched, created_at, updated_at, revision"
#define BUCKET(revision) "(" revision SHIFT "10)::pg_catalog.int4"
#define INSERT_SEGMENT                                                                             \
	"INSERT INTO memory_store.segments"                                                            \
	" (conversation_id, account_id, first_seq, last_seq, revision, body, message_ids)"
#define FORGET_FROM(table)                                                                         \
	"DELETE FROM memory_store." table " t USING memory_store.conversations c"                      \
	" WHERE c.account_id" EQ "$1 AND t.account_id" EQ "$1"                                         \
	" AND t.conversation_id" EQ "c.conversation_id"
/* By itself the range would have the row looked for in its blocks, instead of by its key. */
#define LIES_IN(from, to) "(ctid" GE from " AND ctid" LT to ") IS TRUE"
#define OF_WALKED(table)                                                                           \
	table ".conversation_id" EQ "w.conversation_id AND " table ".account_id" EQ "w.account_id"
#define UNNEST(array) "pg_catalog.unnest(" array ")"

/* Of the pages of conversations: some hundred, in a large store. */
#define SAMPLED_PERCENT                                                                            \
	"LEAST(100.0, 51200.0 OPERATOR(pg_catalog./) (1 OPERATOR(pg_catalog.+)"                        \
	" pg_catalog.pg_relation_size('memory_store.conversations') OPERATOR(pg_catalog./) 8192))"

#define STORE_MAX_ARGS 16

/* Types of ours, whose OIDs differ from database to database. */
#define TRANSCRIPT InvalidOid
#define TRANSCRIPT_ARRAY ((Oid) 1)

const Oid store_segment_types[STORE_SEGMENT_COLUMNS] = {UUIDOID, TEXTOID,    INT8OID, INT8OID,
														INT8OID, TRANSCRIPT, BYTEAOID};
const Oid store_conversation_types[STORE_CONVERSATION_COLUMNS] =
	{UUIDOID, TEXTOID, INT8OID,        INT8OID,        INT8OID, INT8OID, INT8OID,  INT8OID,
	 INT4OID, BOOLOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TEXTOID, JSONBOID, BOOLOID};

typedef struct StatementText
{
	const char *sql;
	int nargs;
	Oid argtypes[STORE_MAX_ARGS];
	bool ordered; /* see PlanStatement */
} StatementText;

static const StatementText statement_texts[STORE_NSTATEMENTS] = {
	[STORE_ACCOUNT_BUMP] = {"UPDATE memory_store.accounts SET revision = revision" PLUS "1"
							" WHERE account_id" EQ "$1 RETURNING revision, subscription_id",
							1,
							{TEXTOID}},
	/* what a statement in between has taken stays taken */
	[STORE_ACCOUNT_ADVANCE] = {"UPDATE memory_store.accounts SET revision = GREATEST(revision, $2)"
							   " WHERE account_id" EQ "$1",
							   2,
							   {TEXTOID, INT8OID}},
	[STORE_ACCOUNT_STATE] =
		{"SELECT a.revision, a.created_at, p.revision, e.epoch FROM memory_store.accounts a"
		 " LEFT JOIN memory_store.purged p ON p.account_id" EQ "a.account_id"
		 " LEFT JOIN memory_store.epochs e ON true"
		 " WHERE a.account_id" EQ "$1 ORDER BY e.renewed_at DESC LIMIT 1",
		 1,
		 {TEXTOID}},
	[STORE_EPOCH_RENEW] = {"WITH d AS (DELETE FROM memory_store.epochs)"
						   " INSERT INTO memory_store.epochs (epoch, renewed_at)"
						   " VALUES ($1, pg_catalog.clock_timestamp())",
						   1,
						   {UUIDOID}},
	[STORE_ACCOUNT_CREATE] =
		{"INSERT INTO memory_store.accounts AS a"
		 " (account_id, subscription_id, revision, created_at) VALUES ($1, $1, 1, $2)"
		 " ON CONFLICT (account_id) DO UPDATE SET revision = a.revision" PLUS "1"
		 " RETURNING revision, subscription_id",
		 2,
		 {TEXTOID, TIMESTAMPTZOID}},
	[STORE_ACCOUNT_HOLD] = {"SELECT revision, subscription_id FROM memory_store.accounts"
							" WHERE account_id" EQ "$1 FOR NO KEY UPDATE",
							1,
							{TEXTOID}},
	[STORE_ACCOUNT_KNOW] = {"INSERT INTO memory_store.accounts"
							" (account_id, subscription_id, revision, created_at)"
							" VALUES ($1, $1, 0, $2) ON CONFLICT (account_id) DO NOTHING",
							2,
							{TEXTOID, TIMESTAMPTZOID}},
	[STORE_CONVERSATION_READ] =
		{"SELECT " READ_COLUMNS("") " FROM memory_store.conversations WHERE " THIS_CONVERSATION,
		 2,
		 {UUIDOID, TEXTOID}},
	/* each by its key: OFFSET keeps the planner from reading other accounts' rows for a hash join */
	[STORE_CONVERSATIONS_READ] =
		{"SELECT " READ_COLUMNS("c.") " FROM ROWS FROM (" UNNEST("$1") "," UNNEST(
			 "$2") ") u (id, account)"
				   " CROSS JOIN LATERAL (SELECT *, ctid FROM memory_store.conversations"
				   " WHERE conversation_id" EQ "u.id AND account_id" EQ "u.account OFFSET 0) c"
				   " ORDER BY c.account_id, c.conversation_id",
		 2,
		 {UUIDARRAYOID, TEXTARRAYOID}},
	/* for a call that names no account: two are as many as all */
	[STORE_CONVERSATION_OWNERS] = {"SELECT account_id FROM memory_store.conversations"
								   " WHERE conversation_id" EQ "$1 LIMIT 2",
								   1,
								   {UUIDOID}},
	[STORE_CONVERSATION_INSERT] =
		{INSERT_CONVERSATION " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
							 " $14, $15, $16, " BUCKET("$13") ")",
		 16,
		 {UUIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, BOOLOID,
		  TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TEXTOID, JSONBOID, BOOLOID}},
	[STORE_CONVERSATIONS_INSERT] =
		{INSERT_CONVERSATION
		 " SELECT u.*, " BUCKET("u.revision") " FROM ROWS FROM (" UNNEST("$1") "," UNNEST("$2") "," UNNEST("$3") "," UNNEST("$4") "," UNNEST("$5") "," UNNEST("$6") "," UNNEST(
			 "$7") "," UNNEST("$8") "," UNNEST("$9") "," UNNEST("$10") "," UNNEST("$11") "," UNNEST("$12") "," UNNEST("$13") "," UNNEST("$14") "," UNNEST("$15") "," UNNEST("$16") ") u" CHANGED_COLUMNS
																																												   ", title, metadata, archived)",
		 16,
		 {UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
		  INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID,
		  TIMESTAMPTZARRAYOID, INT8ARRAYOID, TEXTARRAYOID, JSONBARRAYOID, BOOLARRAYOID}},
	[STORE_CONVERSATION_UPDATE] =
		{"UPDATE memory_store.conversations SET next_seq = $3, head_seq = $4, message_count = $5,"
		 " token_count = $6, content_bytes = $7, tail_bytes = $8, tail_count = $9,"
		 " branched = $10, created_at = $11, updated_at = $12, revision = $13,"
		 " revision_bucket = " BUCKET("$13") " WHERE " THIS_CONVERSATION,
		 13,
		 {UUIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, BOOLOID,
		  TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}},
	[STORE_CONVERSATIONS_UPDATE] =
		{"UPDATE memory_store.conversations c SET next_seq = u.next_seq, head_seq = u.head_seq,"
		 " message_count = u.message_count, token_count = u.token_count,"
		 " content_bytes = u.content_bytes, tail_bytes = u.tail_bytes, tail_count = u.tail_count,"
		 " branched = u.branched, created_at = u.created_at, updated_at = u.updated_at,"
		 " revision = u.revision, revision_bucket = " BUCKET("u.revision") " FROM ROWS FROM (" UNNEST(
			 "$1") "," UNNEST("$2") "," UNNEST("$3") "," UNNEST("$4") "," UNNEST("$5") "," UNNEST("$6") "," UNNEST("$7") "," UNNEST("$8") "," UNNEST("$9") "," UNNEST("$10") "," UNNEST("$11") "," UNNEST("$12") "," UNNEST("$13") ") u" CHANGED_COLUMNS
																																																								   ")"
																																																								   " WHERE c.conversation_id" EQ
																																																								   "u.conversation_id AND c.account_id" EQ
																																																								   "u.account_id",
		 13,
		 {UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
		  INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID,
		  TIMESTAMPTZARRAYOID, INT8ARRAYOID}},
	[STORE_CONVERSATION_SET] = {"UPDATE memory_store.conversations SET"
								" title = CASE WHEN $3 THEN $4 ELSE title END,"
								" metadata = CASE WHEN $5 THEN $6 ELSE metadata END,"
								" archived = COALESCE($7, archived) WHERE " THIS_CONVERSATION,
								7,
								{UUIDOID, TEXTOID, BOOLOID, TEXTOID, BOOLOID, JSONBOID, BOOLOID}},
	[STORE_CONVERSATION_TEXTS] =
		{"SELECT title, metadata, revision FROM memory_store.conversations WHERE " THIS_CONVERSATION,
		 2,
		 {UUIDOID, TEXTOID}},
	[STORE_CONVERSATION_BURY] =
		{"UPDATE memory_store.conversations SET deleted_at = $4, revision = $3,"
		 " revision_bucket = " BUCKET(
			 "$3") ", title = NULL,"
				   " metadata = NULL, head_seq = 0, message_count = 0, token_count = 0, content_bytes = 0,"
				   " tail_bytes = 0, tail_count = 0 WHERE " THIS_CONVERSATION,
		 4,
		 {UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID}},
	[STORE_CONVERSATION_SEALED] =
		{"UPDATE memory_store.conversations SET tail_bytes = 0, tail_count = 0"
		 " WHERE " THIS_CONVERSATION,
		 2,
		 {UUIDOID, TEXTOID}},
	[STORE_CONVERSATION_TOUCH] = {"UPDATE memory_store.conversations SET tail_count = tail_count"
								  " WHERE " THIS_CONVERSATION,
								  2,
								  {UUIDOID, TEXTOID}},
	[STORE_CONVERSATIONS_RECENT] =
		{"SELECT conversation_id, title, metadata, archived,"
		 " CASE WHEN head_seq" EQ "0 THEN NULL ELSE head_seq END, message_count, token_count,"
		 " content_bytes, created_at, updated_at, revision FROM memory_store.conversations"
		 " WHERE account_id" EQ "$1 AND deleted_at IS NULL AND ($6 OR NOT archived)"
		 " AND revision_bucket OPERATOR(pg_catalog.<=) ($2" SHIFT "10)"
		 " AND (revision, updated_at, conversation_id)" LT "($2, $3, $4)"
		 " ORDER BY account_id, revision_bucket DESC, revision DESC, updated_at DESC,"
		 " conversation_id DESC LIMIT $5",
		 6,
		 {TEXTOID, INT8OID, TIMESTAMPTZOID, UUIDOID, INT8OID, BOOLOID}},
	/*
	 * A message behind the last one, where nothing else is to be done: the
	 * conversation lives and is not full, and its head is its last message.
	 * Otherwise seq is null, and only the account has changed.
	 */
	[STORE_APPEND] =
		{"WITH a AS (UPDATE memory_store.accounts SET revision = revision" PLUS "1"
		 " WHERE account_id" EQ "$2 RETURNING revision, subscription_id),"
		 " c AS (UPDATE memory_store.conversations c SET next_seq = c.next_seq" PLUS "1,"
		 " head_seq = c.next_seq, message_count = c.message_count" PLUS "1,"
		 " token_count = c.token_count" PLUS "$6, content_bytes = c.content_bytes" PLUS "$10,"
		 " tail_bytes = c.tail_bytes" PLUS "$10, tail_count = c.tail_count" PLUS "1,"
		 " updated_at = GREATEST(c.updated_at, $7), revision = a.revision,"
		 " revision_bucket = " BUCKET(
			 "a.revision") " FROM a WHERE c.conversation_id" EQ "$1 AND c.account_id" EQ "$2"
						   " AND c.deleted_at IS NULL AND c.head_seq" EQ
						   "(c.next_seq OPERATOR(pg_catalog.-) 1)"
						   " AND c.message_count OPERATOR(pg_catalog.>) 0"
						   " AND c.tail_count" LT "($11 OPERATOR(pg_catalog.-) 1)"
						   " AND (c.tail_bytes" PLUS "$10)" LT "$12"
						   " RETURNING c.head_seq AS seq, a.revision),"
						   " t AS (INSERT INTO memory_store.tail (conversation_id, account_id, " TAIL_COLUMNS
						   ")"
						   " SELECT $1, $2, c.seq, c.seq OPERATOR(pg_catalog.-) 1, $3, $4, $5, $6, $7, $8, $9,"
						   " c.revision, false FROM c)"
						   " SELECT a.revision, a.subscription_id, c.seq FROM a LEFT JOIN c ON true",
		 12,
		 {UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
		  INT8OID, INT4OID, INT8OID}},
	[STORE_TAIL_INSERT] =
		{"INSERT INTO memory_store.tail (conversation_id, account_id, " TAIL_COLUMNS ")"
		 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		 13,
		 {UUIDOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID,
		  TEXTOID, TEXTOID, INT8OID, BOOLOID}},
	[STORE_TAIL_UPDATE] =
		{"UPDATE memory_store.tail SET parent_seq = $4, role = $5, content = $6, model = $7,"
		 " tokens = $8, created_at = $9, message_id = $10, metadata = $11, revision = $12, counted = $13"
		 " WHERE " THIS_CONVERSATION " AND seq" EQ "$3",
		 13,
		 {UUIDOID, TEXTOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID,
		  TEXTOID, TEXTOID, INT8OID, BOOLOID}},
	[STORE_TAIL_DELETE] = {"DELETE FROM memory_store.tail"
						   " WHERE " THIS_CONVERSATION " AND seq" EQ "$3",
						   3,
						   {UUIDOID, TEXTOID, INT8OID}},
	[STORE_TAIL_TAKE] = {"DELETE FROM memory_store.tail WHERE " THIS_CONVERSATION
						 " RETURNING " TAIL_COLUMNS,
						 2,
						 {UUIDOID, TEXTOID}},
	[STORE_TAIL_READ] = {"SELECT " TAIL_COLUMNS " FROM memory_store.tail"
						 " WHERE " THIS_CONVERSATION " AND seq" GE "$3 ORDER BY seq",
						 3,
						 {UUIDOID, TEXTOID, INT8OID}},
	[STORE_TAIL_ONE] = {"SELECT " TAIL_COLUMNS " FROM memory_store.tail"
						" WHERE " THIS_CONVERSATION " AND seq" EQ "$3",
						3,
						{UUIDOID, TEXTOID, INT8OID}},
	[STORE_TOMBSTONE_ID] = {"SELECT seq FROM memory_store.tombstones"
							" WHERE " THIS_CONVERSATION " AND message_id" EQ "$3",
							3,
							{UUIDOID, TEXTOID, TEXTOID}},
	[STORE_TAIL_ID] = {"SELECT " TAIL_COLUMNS " FROM memory_store.tail"
					   " WHERE " THIS_CONVERSATION " AND message_id" EQ "$3",
					   3,
					   {UUIDOID, TEXTOID, TEXTOID}},
	/* the conversation, and the segment that a reader begins with */
	[STORE_BRANCH_OPEN] =
		{"SELECT c.next_seq, c.head_seq, c.branched AND c.message_count OPERATOR(pg_catalog.>) 0,"
		 " c.tail_count, c.deleted_at, s.first_seq, s.last_seq, s.body, s.revision"
		 " FROM memory_store.conversations c LEFT JOIN LATERAL ("
		 "SELECT t.first_seq, t.last_seq, t.body, t.revision FROM memory_store.segments t"
		 " WHERE t.conversation_id" EQ "$1 AND t.account_id" EQ "$2 AND t.first_seq" LT
		 "CASE WHEN c.branched THEN c.head_seq" PLUS "1 ELSE LEAST(c.head_seq" PLUS "1, $3) END"
		 " ORDER BY t.first_seq DESC LIMIT 1) s ON true"
		 " WHERE c.conversation_id" EQ "$1 AND c.account_id" EQ "$2",
		 3,
		 {UUIDOID, TEXTOID, INT8OID}},
	[STORE_TAIL_NEWEST] = {"SELECT " TAIL_COLUMNS " FROM memory_store.tail"
						   " WHERE " THIS_CONVERSATION " AND seq" LT "$3"
						   " ORDER BY seq DESC LIMIT $4",
						   4,
						   {UUIDOID, TEXTOID, INT8OID, INT8OID}},
	/* from conversation to conversation, whatever the number of their messages */
	[STORE_TAIL_IDLE] =
		{"WITH RECURSIVE w AS ((SELECT t.conversation_id, t.account_id FROM memory_store.tail t"
		 " WHERE (t.conversation_id, t.account_id)" GT "($1, $2)"
		 " ORDER BY t.conversation_id, t.account_id LIMIT 1)"
		 " UNION ALL SELECT n.conversation_id, n.account_id FROM w CROSS JOIN LATERAL ("
		 "SELECT t.conversation_id, t.account_id FROM memory_store.tail t"
		 " WHERE (t.conversation_id, t.account_id)" GT "(w.conversation_id, w.account_id)"
		 " ORDER BY t.conversation_id, t.account_id LIMIT 1) n)"
		 " SELECT w.account_id, w.conversation_id FROM w WHERE ($5 IS NULL OR w.account_id" EQ "$5)"
		 " AND (SELECT t.created_at FROM memory_store.tail t WHERE " OF_WALKED(
			 "t") " ORDER BY t.seq DESC LIMIT 1)" LT "$3"
				  " AND (SELECT pg_catalog.max(t.created_at) FROM memory_store.tail t WHERE " OF_WALKED(
					  "t") ")" LT "$3 LIMIT $4",
		 5,
		 {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID, TEXTOID},
		 .ordered = true},
	[STORE_TAIL_ALL] = {"SELECT DISTINCT account_id, conversation_id FROM memory_store.tail"
						" WHERE ($1 IS NULL OR account_id" EQ
						"$1) AND ($2 IS NULL OR conversation_id" EQ "$2)"
						" ORDER BY 1, 2",
						2,
						{TEXTOID, UUIDOID}},
	[STORE_SEGMENT_INSERT] = {INSERT_SEGMENT " VALUES ($1, $2, $3, $4, $5, $6, $7)",
							  7,
							  {UUIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, TRANSCRIPT, BYTEAOID}},
	[STORE_SEGMENTS_INSERT] =
		{INSERT_SEGMENT " SELECT u.* FROM ROWS FROM (" UNNEST("$1") "," UNNEST("$2") "," UNNEST(
			 "$3") "," UNNEST("$4") "," UNNEST("$5") "," UNNEST("$6") "," UNNEST("$7") ") u",
		 7,
		 {UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TRANSCRIPT_ARRAY,
		  BYTEAARRAYOID}},
	[STORE_SEGMENT_DELETE] = {"DELETE FROM memory_store.segments"
							  " WHERE " THIS_CONVERSATION " AND first_seq" EQ "$3",
							  3,
							  {UUIDOID, TEXTOID, INT8OID}},
	[STORE_SEGMENT_BEFORE] =
		{"SELECT first_seq, last_seq, body, revision FROM memory_store.segments"
		 " WHERE " THIS_CONVERSATION " AND first_seq" LT "$3"
		 " ORDER BY first_seq DESC LIMIT 1",
		 3,
		 {UUIDOID, TEXTOID, INT8OID}},
	[STORE_SEGMENT_AFTER] = {"SELECT first_seq, last_seq, body, revision FROM memory_store.segments"
							 " WHERE " THIS_CONVERSATION " AND first_seq" GE "$3"
							 " ORDER BY first_seq LIMIT 1",
							 3,
							 {UUIDOID, TEXTOID, INT8OID}},
	[STORE_SEGMENTS_DELETE] = {"DELETE FROM memory_store.segments WHERE " THIS_CONVERSATION,
							   2,
							   {UUIDOID, TEXTOID}},
	[STORE_SEGMENTS_IDS] = {"SELECT first_seq, message_ids FROM memory_store.segments"
							" WHERE " THIS_CONVERSATION
							" AND message_ids IS NOT NULL ORDER BY first_seq",
							2,
							{UUIDOID, TEXTOID}},
	/* in order of the accounts' locks */
	[STORE_SEGMENTS_LYING] = {"SELECT account_id, conversation_id, first_seq"
							  " FROM memory_store.segments"
							  " WHERE ctid" GE "$1 AND ctid" LT "$2 ORDER BY 1, 2, 3",
							  2,
							  {TIDOID, TIDOID}},
	[STORE_SEGMENTS_TOASTED] = {"SELECT account_id, conversation_id, first_seq"
								" FROM memory_store.segments"
								" WHERE memory_store.toast_value(body)" EQ
								"ANY ($1) OR memory_store.toast_value(message_ids)" EQ
								"ANY ($1) ORDER BY 1, 2, 3",
								1,
								{INT8ARRAYOID}},
	[STORE_SEGMENT_RETOAST] = {"UPDATE memory_store.segments SET body = memory_store.in_line(body),"
							   " message_ids = memory_store.in_line(message_ids)"
							   " WHERE " THIS_CONVERSATION " AND first_seq" EQ "$3",
							   3,
							   {UUIDOID, TEXTOID, INT8OID}},
	[STORE_SEGMENT_MOVE] =
		{"WITH s AS (DELETE FROM memory_store.segments WHERE " THIS_CONVERSATION " AND first_seq" EQ
		 "$3 AND " LIES_IN("$4", "$5") " RETURNING *)"
									   " INSERT INTO memory_store.segments SELECT * FROM s",
		 5,
		 {UUIDOID, TEXTOID, INT8OID, TIDOID, TIDOID}},
	[STORE_CONVERSATIONS_LYING] = {"SELECT account_id, conversation_id, 0::pg_catalog.int8"
								   " FROM memory_store.conversations"
								   " WHERE ctid" GE "$1 AND ctid" LT "$2 ORDER BY 1, 2",
								   2,
								   {TIDOID, TIDOID}},
	[STORE_CONVERSATION_MOVE] =
		{"WITH c AS (DELETE FROM memory_store.conversations WHERE " THIS_CONVERSATION
		 " AND " LIES_IN("$3", "$4") " RETURNING *)"
									 " INSERT INTO memory_store.conversations SELECT * FROM c",
		 4,
		 {UUIDOID, TEXTOID, TIDOID, TIDOID}},
	[STORE_TOMBSTONE_INSERT] =
		{"INSERT INTO memory_store.tombstones AS t"
		 " (conversation_id, account_id, seq, message_id, revision, deleted_at)"
		 " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (conversation_id, account_id, seq)"
		 " DO UPDATE SET revision = excluded.revision, deleted_at = excluded.deleted_at",
		 6,
		 {UUIDOID, TEXTOID, INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID}},
	[STORE_TOMBSTONE_DELETE] = {"DELETE FROM memory_store.tombstones"
								" WHERE " THIS_CONVERSATION " AND seq" EQ "$3",
								3,
								{UUIDOID, TEXTOID, INT8OID}},
	[STORE_TOMBSTONES_DELETE] = {"DELETE FROM memory_store.tombstones WHERE " THIS_CONVERSATION,
								 2,
								 {UUIDOID, TEXTOID}},
	[STORE_LAST_MESSAGE] =
		{"SELECT pg_catalog.max(s.last) FROM ("
		 "(SELECT last_seq AS last FROM memory_store.segments WHERE " THIS_CONVERSATION
		 " ORDER BY first_seq DESC LIMIT 1)"
		 " UNION ALL (SELECT seq FROM memory_store.tail WHERE " THIS_CONVERSATION
		 " ORDER BY seq DESC LIMIT 1)) s",
		 2,
		 {UUIDOID, TEXTOID}},
	[STORE_MESSAGE_BEFORE] =
		{"SELECT pg_catalog.max(s.seq) FROM (SELECT m.seq FROM ("
		 "SELECT body FROM memory_store.segments WHERE " THIS_CONVERSATION " AND first_seq" LT "$3"
		 " ORDER BY first_seq DESC LIMIT 1) b CROSS JOIN LATERAL memory.unpack(b.body) m"
		 " UNION ALL (SELECT seq FROM memory_store.tail WHERE " THIS_CONVERSATION " AND seq" LT
		 "$3 ORDER BY seq DESC LIMIT 1)) s WHERE s.seq" LT "$3",
		 3,
		 {UUIDOID, TEXTOID, INT8OID}},
	[STORE_CONTENT_BYTES] = {"SELECT COALESCE(pg_catalog.sum(content_bytes), 0)::pg_catalog.int8"
							 " FROM memory_store.conversations",
							 0,
							 {0}},
	[STORE_SEGMENTS_PLAN] =
		{"SELECT first_seq, xmin, body, compact IS NOT NULL FROM memory_store.segments"
		 " WHERE " THIS_CONVERSATION " ORDER BY first_seq",
		 2,
		 {UUIDOID, TEXTOID}},
	/* the conversation by its key, whatever the planner knows of either table */
	[STORE_COMPACT_FRESH] =
		{"SELECT w.conversation_id, w.account_id FROM (SELECT DISTINCT s.conversation_id, s.account_id"
		 " FROM memory_store.segments s WHERE s.compact IS NULL"
		 " AND (s.conversation_id, s.account_id)" GT "($1, $2)) w"
		 " WHERE (SELECT c.updated_at FROM memory_store.conversations c WHERE " OF_WALKED(
			 "c") ")" LT "$3 ORDER BY w.conversation_id, w.account_id LIMIT $4",
		 4,
		 {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
		 .ordered = true},
	/* what somebody is at work on will be fresh anyway */
	[STORE_COMPACT_UNMARK] =
		{"UPDATE memory_store.segments s SET compact = NULL FROM (SELECT w.conversation_id, w.account_id,"
		 " w.first_seq FROM memory_store.segments w WHERE (w.conversation_id, w.account_id)" GT
		 "($1, $2) AND ($3 IS NULL OR (w.conversation_id, w.account_id) OPERATOR(pg_catalog.<=) ($3, $4))"
		 " AND w.compact AND NOT memory_store.is_compact(w.body) FOR UPDATE SKIP LOCKED) w"
		 " WHERE " OF_WALKED("s") " AND s.first_seq" EQ "w.first_seq",
		 4,
		 {UUIDOID, TEXTOID, UUIDOID, TEXTOID}},
	[STORE_COMPACTION_READ] = {"SELECT compression FROM memory_store.compaction FOR KEY SHARE",
							   0,
							   {0}},
	[STORE_COMPACTION_CLEAR] = {"DELETE FROM memory_store.compaction", 0, {0}},
	[STORE_COMPACTION_NOTE] =
		{"WITH d AS (DELETE FROM memory_store.compaction"
		 " WHERE compression OPERATOR(pg_catalog.<>) $1)"
		 " INSERT INTO memory_store.compaction VALUES ($1) ON CONFLICT DO NOTHING",
		 1,
		 {TEXTOID}},
	[STORE_SEGMENT_INSERT_COMPACT] =
		{"INSERT INTO memory_store.segments"
		 " (conversation_id, account_id, first_seq, last_seq, revision, body, message_ids, compact)"
		 " VALUES ($1, $2, $3, $4, $5, $6, $7, true)",
		 7,
		 {UUIDOID, TEXTOID, INT8OID, INT8OID, INT8OID, TRANSCRIPT, BYTEAOID}},
	[STORE_SEGMENTS_MARK] =
		{"UPDATE memory_store.segments SET compact = true WHERE " THIS_CONVERSATION
		 " AND compact IS NULL",
		 2,
		 {UUIDOID, TEXTOID}},
	/* either table's key is bounded, whatever they are joined by */
	[STORE_COMPACT_RESTING] = {"SELECT s.conversation_id, s.account_id FROM memory_store.segments s"
							   " JOIN memory_store.conversations c"
							   " ON c.conversation_id" EQ "s.conversation_id AND c.account_id" EQ
							   "s.account_id"
							   " WHERE (s.conversation_id, s.account_id)" GT "($1, $2)"
							   " AND (c.conversation_id, c.account_id)" GT "($1, $2)"
							   " AND c.updated_at" LT "$3 GROUP BY s.conversation_id, s.account_id"
							   " HAVING NOT pg_catalog.bool_and("
							   "s.compact IS TRUE AND memory_store.is_compact(s.body))"
							   " ORDER BY s.conversation_id, s.account_id LIMIT $4",
							   4,
							   {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
							   .ordered = true},
	[STORE_COMPACT_STALE] =
		{"SELECT DISTINCT s.conversation_id, s.account_id FROM memory_store.segments s"
		 " WHERE (s.conversation_id, s.account_id)" GT "($1, $2)"
		 " AND EXISTS (SELECT FROM memory_store.dictionaries WHERE stale_at IS NOT NULL)"
		 " AND $3 IS NOT NULL AND EXISTS (SELECT FROM memory_store.dictionaries d"
		 " WHERE d.stale_at IS NOT NULL AND d.dictionary_id" EQ
		 "memory_store.needed_dictionary(s.body))"
		 " ORDER BY s.conversation_id, s.account_id LIMIT $4",
		 4,
		 {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID},
		 .ordered = true},
	[STORE_DICTIONARY_ACCOUNTS] =
		{"INSERT INTO memory_store.dictionary_accounts (dictionary_id, account_id)"
		 " SELECT $1, " UNNEST("$2") " ON CONFLICT DO NOTHING",
		 2,
		 {INT8OID, TEXTARRAYOID}},
	[STORE_DICTIONARIES_STALE] =
		{"WITH d AS (DELETE FROM memory_store.dictionary_accounts WHERE account_id" EQ "$1"
		 " RETURNING dictionary_id)"
		 " UPDATE memory_store.dictionaries SET is_current = false,"
		 " stale_at = COALESCE(stale_at, pg_catalog.clock_timestamp())"
		 " WHERE dictionary_id" EQ "ANY (SELECT dictionary_id FROM d)"
		 " RETURNING dictionary_id",
		 1,
		 {TEXTOID}},
	[STORE_DICTIONARIES_DROPPABLE] =
		{"SELECT dictionary_id FROM memory_store.dictionaries WHERE NOT is_current ORDER BY 1",
		 0,
		 {0}},
	/* 0: which one it needs cannot be read */
	[STORE_DICTIONARY_USED] = {"SELECT EXISTS (SELECT FROM memory_store.segments"
							   " WHERE memory_store.needed_dictionary(body)" EQ
							   "ANY (ARRAY[$1, 0]))::pg_catalog.int4::pg_catalog.int8",
							   1,
							   {INT8OID}},
	[STORE_SEGMENTS_UNREADABLE] = {"SELECT pg_catalog.count(*) FROM memory_store.segments"
								   " WHERE memory_store.needed_dictionary(body)" EQ "0",
								   0,
								   {0}},
	[STORE_DICTIONARY_DROP] = {"WITH d AS (DELETE FROM memory_store.dictionaries"
							   " WHERE dictionary_id" EQ
							   "$1 AND NOT is_current RETURNING dictionary_id),"
							   " a AS (DELETE FROM memory_store.dictionary_accounts"
							   " WHERE dictionary_id" EQ "ANY (SELECT dictionary_id FROM d))"
							   " SELECT FROM d",
							   1,
							   {INT8OID}},
	/* exactly in a small store; of a large one some pages tell */
	[STORE_TRAINING_DUE] =
		{"SELECT total" GE "$1 AND (last IS NULL OR total" GE "(last OPERATOR(pg_catalog.*) $2))"
		 " FROM (SELECT COALESCE(pg_catalog.sum(content_bytes), 0) OPERATOR(pg_catalog.*) 100"
		 " OPERATOR(pg_catalog./) " SAMPLED_PERCENT "::pg_catalog.numeric AS total"
		 " FROM memory_store.conversations TABLESAMPLE SYSTEM (" SAMPLED_PERCENT ")) t,"
		 " (SELECT pg_catalog.max(content_bytes) AS last FROM memory_store.trainings) l",
		 2,
		 {INT8OID, INT8OID}},
	[STORE_TRAINING_TRIED] = {"SELECT FROM memory_store.trainings LIMIT 1", 0, {0}},
	[STORE_TRAINING_CLEAR] = {"DELETE FROM memory_store.trainings", 0, {0}},
	[STORE_TRAINING_NOTE] =
		{"INSERT INTO memory_store.trainings (trained_at, content_bytes)"
		 " SELECT pg_catalog.clock_timestamp(), pg_catalog.sum(content_bytes)::pg_catalog.int8"
		 " FROM memory_store.conversations",
		 0,
		 {0}},
	/* the account of that name, and those that share the subscription: by two indexes */
	[STORE_SUBSCRIPTION_ACCOUNTS] =
		{"SELECT account_id FROM memory_store.accounts WHERE subscription_id" EQ
		 "$1 AND account_id" EQ "$1 OR subscription_id" EQ
		 "$1 AND subscription_id OPERATOR(pg_catalog.<>) account_id"
		 " ORDER BY account_id FOR NO KEY UPDATE",
		 1,
		 {TEXTOID}},
	[STORE_SUBSCRIPTION_SHARED] = {"SELECT FROM memory_store.accounts WHERE subscription_id" EQ
								   "$1 AND subscription_id OPERATOR(pg_catalog.<>) account_id"
								   " LIMIT 1",
								   1,
								   {TEXTOID}},
	[STORE_ACCOUNT_SUBSCRIBE] =
		{"INSERT INTO memory_store.accounts (account_id, subscription_id, revision, created_at)"
		 " VALUES ($1, $2, 0, $3)"
		 " ON CONFLICT (account_id) DO UPDATE SET subscription_id = excluded.subscription_id",
		 3,
		 {TEXTOID, TEXTOID, TIMESTAMPTZOID}},
	[STORE_FORGET_COUNTS] =
		{"SELECT pg_catalog.count(*), pg_catalog.sum(message_count)::pg_catalog.int8,"
		 " pg_catalog.sum(content_bytes)::pg_catalog.int8,"
		 " pg_catalog.sum(token_count)::pg_catalog.int8"
		 " FROM memory_store.conversations WHERE account_id" EQ "$1 AND deleted_at IS NULL",
		 1,
		 {TEXTOID}},
	[STORE_FORGET_LEDGER] =
		{"SELECT t.seq, t.parent_seq, t.role, t.content, t.model, t.tokens, t.created_at,"
		 " t.message_id, t.metadata, t.revision, t.counted FROM memory_store.tail t"
		 " JOIN memory_store.conversations c ON t.conversation_id" EQ "c.conversation_id"
		 " WHERE c.account_id" EQ "$1 AND t.account_id" EQ "$1 AND NOT t.counted",
		 1,
		 {TEXTOID}},
	[STORE_FORGET_SEEN] =
		{"SELECT (SELECT pg_catalog.count(*) FROM memory_store.accounts WHERE account_id" EQ "$1)"
		 " OPERATOR(pg_catalog.+) (SELECT pg_catalog.count(*)"
		 " FROM memory_store.dictionary_accounts WHERE account_id" EQ "$1)",
		 1,
		 {TEXTOID}},
	[STORE_FORGET_SEGMENTS] = {FORGET_FROM("segments"), 1, {TEXTOID}},
	[STORE_FORGET_TAIL] = {FORGET_FROM("tail"), 1, {TEXTOID}},
	[STORE_FORGET_TOMBSTONES] = {FORGET_FROM("tombstones"), 1, {TEXTOID}},
	[STORE_FORGET_CONVERSATIONS] = {"DELETE FROM memory_store.conversations WHERE account_id" EQ
									"$1",
									1,
									{TEXTOID}},
	[STORE_FORGET_RETENTION] = {"DELETE FROM memory_store.retention WHERE account_id" EQ "$1",
								1,
								{TEXTOID}},
	[STORE_FORGET_PURGED] = {"DELETE FROM memory_store.purged WHERE account_id" EQ "$1",
							 1,
							 {TEXTOID}},
	[STORE_FORGET_ACCOUNT] = {"DELETE FROM memory_store.accounts WHERE account_id" EQ "$1",
							  1,
							  {TEXTOID}},
	[STORE_RETENTION_SET] = {"INSERT INTO memory_store.retention (account_id, keep) VALUES ($1, $2)"
							 " ON CONFLICT (account_id) DO UPDATE SET keep = excluded.keep",
							 2,
							 {TEXTOID, INTERVALOID}},
	[STORE_RETENTION_CLEAR] = {"DELETE FROM memory_store.retention WHERE account_id" EQ "$1",
							   1,
							   {TEXTOID}},
	[STORE_RETENTION_DUE] =
		{"SELECT c.account_id, c.conversation_id, c.updated_at FROM memory_store.conversations c"
		 " LEFT JOIN memory_store.retention own ON own.account_id" EQ "c.account_id"
		 " LEFT JOIN memory_store.retention other ON other.account_id" EQ "''"
		 " WHERE EXISTS (SELECT FROM memory_store.retention)"
		 " AND c.deleted_at IS NULL AND c.updated_at" LT
		 "($1 OPERATOR(pg_catalog.-) COALESCE(own.keep, other.keep))"
		 " ORDER BY 1, 2 LIMIT $2",
		 2,
		 {TIMESTAMPTZOID, INT8OID}},
	[STORE_ERASURE_NOTE] = {"INSERT INTO memory_store.erasures (erased_at)"
							" VALUES (pg_catalog.clock_timestamp()) ON CONFLICT DO NOTHING",
							0,
							{0}},
	[STORE_ERASURES_DONE] = {"DELETE FROM memory_store.erasures", 0, {0}},
	/* in one statement: what it removes is all locked before the first note is written */
	[STORE_PURGE] = {"WITH t AS (DELETE FROM memory_store.tombstones WHERE deleted_at" LT
					 "$1 RETURNING account_id, revision),"
					 " c AS (DELETE FROM memory_store.conversations WHERE deleted_at" LT
					 "$1 RETURNING account_id, revision),"
					 " p AS (INSERT INTO memory_store.purged AS p (account_id, revision)"
					 " SELECT r.account_id, pg_catalog.max(r.revision) FROM ("
					 "SELECT * FROM t UNION ALL SELECT * FROM c) r GROUP BY r.account_id ORDER BY 1"
					 " ON CONFLICT (account_id) DO UPDATE SET"
					 " revision = GREATEST(p.revision, excluded.revision))"
					 " SELECT (SELECT pg_catalog.count(*) FROM t) OPERATOR(pg_catalog.+)"
					 " (SELECT pg_catalog.count(*) FROM c)",
					 1,
					 {TIMESTAMPTZOID}},
};

static SPIPlanPtr statement_plans[STORE_NSTATEMENTS];
static Oid plans_transcript = InvalidOid; /* the type that the plans were made for */

static SPIPlanPtr
statement_prepare(StoreStatement id)
{
	const StatementText *text = &statement_texts[id];
	Oid argtypes[STORE_MAX_ARGS];

	for (int i = 0; i < text->nargs; i++)
	{
		argtypes[i] = text->argtypes[i];
		if (argtypes[i] == TRANSCRIPT)
			argtypes[i] = statement_transcript_type();
		else if (argtypes[i] == TRANSCRIPT_ARRAY)
			argtypes[i] = get_array_type(statement_transcript_type());
	}

	return plan_prepare(text->sql, text->nargs, argtypes);
}

/*
 * DROP EXTENSION and CREATE EXTENSION in one session give the type another
 * OID, which the plans' parameters do not follow.
 */
static void
forget_plans_of_another_extension(void)
{
	Oid transcript = statement_transcript_type();

	if (transcript == plans_transcript)
		return;
	for (int i = 0; i < STORE_NSTATEMENTS; i++)
	{
		if (statement_plans[i] != NULL)
			SPI_freeplan(statement_plans[i]);
		statement_plans[i] = NULL;
	}
	plans_transcript = transcript;
}

/* Runs a statement of the store: see plan_run. */
uint64
store_execute(StoreStatement id, Datum *values, const char *nulls, bool read_only)
{
	PlanManner manner = {.read_only = read_only, .ordered = statement_texts[id].ordered};

	forget_plans_of_another_extension();
	if (statement_plans[id] == NULL)
		statement_plans[id] = statement_prepare(id);
	return plan_run(statement_plans[id], values, nulls, manner);
}

Datum
store_column(uint64 row, int column, bool *isnull)
{
	Assert(row < SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}
