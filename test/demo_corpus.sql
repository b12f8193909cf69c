-- Loads one corpus, made CSV by test/corpus_to_csv, and shows sizes and times
-- beside those of a plain table.
--
--	psql -X -v ON_ERROR_STOP=1 -v csv=messages.csv [-v conversations=conversations.csv]
--		[-v name=corpus] -f test/demo_corpus.sql
--
-- Works in a database of its own, memory_ext_corpus, and removes it at the end.
\set QUIET on
\timing off
\if :{?name}
\else
	\set name :csv
\endif
\pset linestyle ascii
\pset border 1
\pset footer off
\set original :DBNAME
\set columns 'conversation_id, account_id, seq, role, content'
\set load_plain '\\copy plain (' :columns ') from ''' :csv ''' csv header'
\set load_messages '\\copy memory.messages (' :columns ') from ''' :csv ''' csv header'
\set dump_messages '\\copy (select ' :columns ' from memory.messages order by conversation_id, seq) to ''/dev/null'' csv header'

SET client_min_messages = warning;
DROP DATABASE IF EXISTS memory_ext_corpus;
CREATE DATABASE memory_ext_corpus TEMPLATE template0;
\connect memory_ext_corpus
SET client_min_messages = warning;
CREATE EXTENSION memory_ext;
CREATE TABLE plain (
	conversation_id uuid NOT NULL,
	account_id text NOT NULL,
	seq bigint NOT NULL,
	role text NOT NULL,
	content text NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (conversation_id, account_id, seq)
);

\echo '==' :name
\echo '-- COPY into a plain table with a primary key'
\timing on
:load_plain
\echo '-- COPY into memory.messages'
:load_messages
\timing off
\if :{?conversations}
	\set load_conversations '\\copy memory.conversations (conversation_id, account_id, title) from ''' :conversations ''' csv header'
	\echo '-- COPY the titles into memory.conversations'
	\timing on
	:load_conversations
	\timing off
\endif
VACUUM ANALYZE;

\echo '-- seal what is left'
\timing on
SELECT memory.seal() AS sealed;
\timing off
VACUUM ANALYZE;

SELECT sum(conversations) AS conversations, sum(messages) AS messages, sum(segments) AS segments,
	sum(tail_messages) AS tail_messages, sum(raw_bytes) AS raw_bytes, sum(stored_bytes) AS stored_bytes,
	round(sum(raw_bytes) / nullif(sum(stored_bytes), 0), 2) AS ratio
FROM memory.storage;
SELECT pg_size_pretty(pg_total_relation_size('plain')) AS plain_table,
	pg_size_pretty(sum(pg_total_relation_size(c.oid))) AS memory_ext,
	round(pg_total_relation_size('plain') / sum(pg_total_relation_size(c.oid)), 2) AS times_smaller
FROM pg_class c WHERE c.relnamespace = 'memory_store'::regnamespace AND c.relkind = 'r';

\echo '-- messages that differ from the plain table (must be 0)'
SELECT count(*) AS different
FROM plain p FULL JOIN memory.messages m USING (conversation_id, account_id, seq)
WHERE (p.role, p.content) IS DISTINCT FROM (m.role, m.content);

\echo '-- COPY everything out'
\timing on
:dump_messages
\timing off

SELECT conversation_id, account_id, count(*) AS longest
FROM plain GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT 1 \gset
\echo '-- the longest conversation has' :longest 'messages: its last 50, a context of 4000 tokens, one append'
\timing on
SELECT count(*) AS history FROM memory.history(:'account_id', :'conversation_id');
SELECT count(*) AS context, sum(tokens) AS tokens FROM memory.context(:'account_id', :'conversation_id', 4000);
SELECT memory.append(:'account_id', :'conversation_id', 'user', 'One more question.') AS seq;
\timing off

\connect :"original"
DROP DATABASE memory_ext_corpus;
