-- What memory_ext does, in a few minutes: conversations in as CSV, new
-- messages, context windows, compression, and the same CSV out again.
--
--	psql -X -v ON_ERROR_STOP=1 -v samples=test/samples -d an_empty_database -f test/demo.sql
--
-- Creates a second database, <this one>_copy, and removes it at the end.
\set QUIET on
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset linestyle ascii
\pset border 1
\pset footer off
\encoding UTF8

\set original :DBNAME
\set copy :DBNAME _copy
\set out `mktemp -d`
\set difference 'DO $$ BEGIN RAISE EXCEPTION ''the files differ''; END $$;'

-- \copy replaces no variables in its line; a variable that holds the line does it
\set conversation_columns 'conversation_id, account_id, title, metadata, archived, head_seq, created_at, updated_at'
\set load_conversations '\\copy memory.conversations (' :conversation_columns ') from ''' :samples '/conversations.csv'' csv header'
\set load_messages '\\copy memory.messages from ''' :samples '/messages.csv'' csv header'
\set dump_conversations '\\copy (select ' :conversation_columns ' from memory.conversations order by conversation_id) to ''' :out '/conversations.csv'' csv header'
\set dump_messages '\\copy (select * from memory.messages order by conversation_id, seq) to ''' :out '/messages.csv'' csv header'
\set reload_conversations '\\copy memory.conversations (' :conversation_columns ') from ''' :out '/conversations.csv'' csv header'
\set reload_messages '\\copy memory.messages from ''' :out '/messages.csv'' csv header'
\set redump_conversations '\\copy (select ' :conversation_columns ' from memory.conversations order by conversation_id) to ''' :out '/conversations2.csv'' csv header'
\set redump_messages '\\copy (select * from memory.messages order by conversation_id, seq) to ''' :out '/messages2.csv'' csv header'

\echo
\echo '== The extension'
CREATE EXTENSION memory_ext;
SELECT extname AS extension, extversion AS version FROM pg_extension WHERE extname = 'memory_ext';

\echo '== CSV in: plain \\copy into two views'
:load_conversations
:load_messages
SELECT (SELECT count(*) FROM memory.conversations) AS conversations, count(*) AS messages,
	count(DISTINCT account_id) AS accounts, sum(tokens) AS tokens,
	pg_size_pretty(sum(octet_length(content))) AS text
FROM memory.messages;

\echo '== CSV out: is it what came in?'
:dump_conversations
:dump_messages
\set same `cmp -s :'samples'/conversations.csv :'out'/conversations.csv && cmp -s :'samples'/messages.csv :'out'/messages.csv && echo on || echo off`
\if :same
	\echo 'conversations.csv and messages.csv: identical, byte for byte'
\else
	:difference
\endif

\echo
\echo '== What account acme talked about lately'
SELECT left(title, 50) AS title, message_count AS messages, token_count AS tokens, updated_at
FROM memory.recent_conversations('acme', max_conversations => 5);

SELECT conversation_id AS longest
FROM memory.conversations WHERE account_id = 'acme' ORDER BY message_count DESC LIMIT 1 \gset
SELECT conversation_id AS branched
FROM memory.conversations WHERE account_id = 'acme' AND title LIKE 'Draft:%' \gset

\echo '== Two messages more, each one call; tokens that are left out are estimated'
SELECT memory.append('acme', :'longest', 'user', 'Lena: the partner has switched, a week early. What may I delete?') AS seq;
SELECT memory.append('acme', :'longest', 'assistant',
	'The small MySQL with `partner_feed`, its cron job and its firewall rule. Keep one dump of it until summer.',
	model => 'gpt-4o', tokens => 27) AS seq;

\echo '== Or INSERT; a conversation that is unknown is made'
SELECT memory.uuid_v7() AS fresh \gset
INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES
	(:'fresh', 'acme', 'system', 'You answer in one sentence.'),
	(:'fresh', 'acme', 'user', 'Why is the sky blue?'),
	(:'fresh', 'acme', 'assistant', 'Air scatters short waves more than long ones, so blue light reaches us from everywhere.')
RETURNING seq, role, tokens;
UPDATE memory.conversations SET title = 'Blue sky' WHERE conversation_id = :'fresh' AND account_id = 'acme';

\echo '== What to send to the model: the newest messages that fit 300 tokens, and the system prompt'
SELECT seq, role, tokens, left(replace(content, E'\n', ' '), 72) AS content
FROM memory.context('acme', :'longest', 300);

\echo '== A conversation with branches: all its messages ...'
SELECT seq, parent_seq, role, left(replace(content, E'\n', ' '), 60) AS content
FROM memory.messages WHERE conversation_id = :'branched' AND account_id = 'acme' ORDER BY seq;
\echo '== ... and its history, which follows the current branch'
SELECT seq, parent_seq, role, left(replace(content, E'\n', ' '), 60) AS content
FROM memory.history('acme', :'branched');

\echo '== Storage of the largest accounts, before and after sealing'
SELECT * FROM memory.storage ORDER BY raw_bytes DESC LIMIT 4;
SELECT memory.seal() AS sealed;
SELECT * FROM memory.storage ORDER BY raw_bytes DESC LIMIT 4;

\echo '== Sealed messages read as before'
SELECT seq, role, tokens, left(replace(content, E'\n', ' '), 72) AS content
FROM memory.history('acme', :'longest', max_messages => 3);

\echo '== A move to another database: dump, load there, dump again'
:dump_conversations
:dump_messages
DROP DATABASE IF EXISTS :"copy";
CREATE DATABASE :"copy" TEMPLATE template0;
\connect :"copy"
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
CREATE EXTENSION memory_ext;
:reload_conversations
:reload_messages
SELECT (SELECT count(*) FROM memory.conversations) AS conversations, count(*) AS messages FROM memory.messages;
:redump_conversations
:redump_messages
\set same `cmp -s :'out'/conversations.csv :'out'/conversations2.csv && cmp -s :'out'/messages.csv :'out'/messages2.csv && echo on || echo off`
\if :same
	\echo 'both dumps: identical, byte for byte'
\else
	:difference
\endif

\connect :"original"
DROP DATABASE :"copy";
\set removed `rm -r :'out' && echo on`
\echo
