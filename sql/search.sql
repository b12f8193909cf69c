-- Search: queries, filters, snippets, pages, ranking, who may search what.
SET timezone = 'UTC';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty

CREATE FUNCTION c(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;
INSERT INTO memory.messages (account_id, conversation_id, role, content, model, created_at) VALUES
	('search', c(1), 'user', 'How do I bake sourdough bread? My oven is an Élan, Müllerstraße 5.', NULL, '2026-01-01Z'),
	('search', c(1), 'assistant', 'Bread wants time: mix, fold, wait, bake. Don''t hurry.', 'm-1', '2026-01-02Z'),
	('search', c(2), 'user', '我想学烤面包，面粉放多少？', NULL, '2026-01-03Z'),
	('search', c(2), 'assistant', 'ｶﾞﾗｽ の型、東京タワー', 'm-2', '2026-01-04Z'),
	('search', c(3), 'user', 'ΟΔΥΣΣΕΎΣ и Ёжик: snake_case, C++, user@host.example <b>', NULL, '2026-01-05Z'),
	('search', c(4), 'user', 'bread, bread and more bread; a breadboard', NULL, '2026-01-06Z');
SELECT memory.update_conversation('search', c(1), title => 'Baking at home');
SELECT memory.update_conversation('search', c(4), archived => true);
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at) VALUES ('other', c(1), 'user', 'bread of somebody else', '2026-01-07Z');

CREATE FUNCTION found(query text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(right(conversation_id::text, 1) || '/' || seq, ' ') FROM memory.search('search', query, include_archived => true) $$;

-- words, their beginnings, case, accents, width
SELECT q, found(q) FROM unnest(ARRAY['bread', 'BREA', 'read', '*read', '=bread', '=brea', 'elan', 'ÉLAN', 'mullerstrasse', 'müllerstraße',
	'οδυσσευς', 'ежик', 'Case', 'c++', 'host', '面包', '包', '面粉 面包', 'ガラス', 'ﾗｽ', '京タ', 'タワー']) q;
-- phrases, alternatives, what must not be there, and what is no operator
SELECT q, found(q) FROM unnest(ARRAY['bread time', '"bread time"', '"bread wants time"', '"fold, wait"', '"wait fold"', 'user@host.example', 'bread -time',
	'"sourdough bread" OR タワー', 'bread OR 面包 time', 'sourdough OR', 'OR sourdough', '-bread', '- bread', '"bread', 'bread"', '“bread wants”', 'don''t', 'dont', '=*read', '-"more bread" bread']) q;
-- nothing to search for
SELECT found('');
SELECT found(' .,; ');
SELECT found(repeat('x', 2001));
SELECT found(string_agg('w' || i, ' ')) FROM generate_series(1, 33) i;
SELECT found(string_agg('w' || i, ' ')) FROM generate_series(1, 32) i;

-- snippets and highlights
SELECT seq, role, model, created_at, title, score, snippet, highlights, memory.highlight(snippet, highlights) FROM memory.search('search', 'bread bake');
SELECT snippet, highlights, memory.highlight(snippet, highlights, '[', ']', false) FROM memory.search('search', '面', snippet_length => 6);
SELECT memory.highlight(snippet, highlights) FROM memory.search('search', 'host', snippet_length => 40);
SELECT memory.highlight('<a> & "b"', '{0,3,4,4,6,9}'), memory.highlight('ab', '{0,1,1,2}', '(', ')'), memory.highlight('ab', '{1,9}', '(', ')'), memory.highlight('', '{}');
SELECT memory.highlight('ab', '{1}');
SELECT memory.highlight('ab', '{2,1}');
SELECT memory.highlight(repeat('x', 300) || ' needle ' || repeat('y', 300), '{}', '', '') = repeat('x', 300) || ' needle ' || repeat('y', 300) AS whole;

-- filters, with words and without
SELECT conversation_id, seq FROM memory.search('search', 'bread', roles => '{assistant}');
SELECT conversation_id, seq FROM memory.search('search', models => '{m-1,m-2}');
SELECT conversation_id, seq FROM memory.search('search', conversation_id => c(2));
SELECT conversation_id, seq FROM memory.search('search', created_from => '2026-01-02Z', created_to => '2026-01-04Z');
SELECT conversation_id, seq FROM memory.search('search', 'bread', per_conversation => 1);
SELECT conversation_id, seq FROM memory.search('search', 'bread', roles => '{}');
SELECT * FROM memory.search('search', roles => '{NULL}');
SELECT * FROM memory.search('search', max_results => 0);
SELECT * FROM memory.search('search', order_by => 'best');
SELECT * FROM memory.search('search', 'bread', snippet_length => 1001);
SELECT count(*) FROM memory.search('nobody', 'bread');

-- pages go on where the last one ended, whatever has come since
SELECT conversation_id, seq, page_key FROM memory.search('search', max_results => 2);
SELECT memory.append('search', c(5), 'user', 'newer than all', created_at => '2026-02-01Z');
SELECT conversation_id, seq FROM memory.search('search', max_results => 2, page_key => 'n1:820886400000000:00000000-0000-0000-0000-000000000002:2:search');
SELECT * FROM memory.search('search', page_key => 'n1:1:2:3:4');
SELECT * FROM memory.search('search', 'bread', order_by => 'relevance', page_key => 'n1:820886400000000:00000000-0000-0000-0000-000000000002:2:search');

-- by relevance: rare words, words in a row, words in the title
SELECT conversation_id, seq, round(score::numeric, 3) AS score FROM memory.search('search', 'bread', order_by => 'relevance', include_archived => true);
SELECT conversation_id, seq, round(score::numeric, 3) AS score FROM memory.search('search', 'bread OR bake', order_by => 'relevance', include_archived => true);
WITH first AS (SELECT * FROM memory.search('search', 'bread', order_by => 'relevance', include_archived => true, max_results => 1))
SELECT s.conversation_id, s.seq FROM first, memory.search('search', 'bread', order_by => 'relevance', include_archived => true, page_key => first.page_key) s;

-- only the current branch, or all
SELECT memory.append('search', c(6), 'user', 'a question of trees');
SELECT memory.append('search', c(6), 'assistant', 'oaks');
SELECT memory.append('search', c(6), 'assistant', 'birches', parent_seq => 1);
SELECT seq FROM memory.search('search', 'oaks OR birches');
SELECT seq FROM memory.search('search', 'oaks OR birches', all_branches => true);

-- conversations whose messages and title hold the words together
SELECT conversation_id, title, title_highlights, hits, seq, role, snippet, highlights FROM memory.search_conversations('search', 'home oven hurry');
SELECT conversation_id, title, hits, seq FROM memory.search_conversations('search', 'bread OR タワー');
SELECT conversation_id FROM memory.search_conversations('search', 'bread', include_archived => true);
SELECT conversation_id FROM memory.search_conversations('search', 'bread -oven', include_archived => true);
WITH first AS (SELECT * FROM memory.search_conversations('search', 'bread', include_archived => true, max_results => 1))
SELECT s.conversation_id FROM first, memory.search_conversations('search', 'bread', include_archived => true, page_key => first.page_key) s;
SELECT * FROM memory.search_conversations('search', NULL);

-- lists
SELECT memory.update_conversation('search', c(2), title => 'Ägypten', metadata => '{"tags": ["travel", "food"]}');
SELECT conversation_id, title, message_count FROM memory.list_conversations('search', order_by => 'title');
SELECT conversation_id FROM memory.list_conversations('search', order_by => 'size', archived => NULL);
SELECT conversation_id FROM memory.list_conversations('search', title => 'agy');
SELECT conversation_id FROM memory.list_conversations('search', models => '{m-2}');
SELECT conversation_id FROM memory.list_conversations('search', metadata => '{"tags": ["food"]}');
SELECT conversation_id FROM memory.list_conversations('search', archived => true);
SELECT conversation_id FROM memory.list_conversations('search', min_tokens => 30, order_by => 'created');
WITH first AS (SELECT * FROM memory.list_conversations('search', order_by => 'title', max_conversations => 1))
SELECT l.conversation_id FROM first, memory.list_conversations('search', order_by => 'title', page_key => first.page_key) l;
SELECT * FROM memory.list_conversations('search', order_by => 'mood');
SELECT * FROM memory.list_conversations('search', page_key => 'x');

-- the same with blocks; what is erased loses its filter, what is deleted its entries
SET memory_ext.compact_after = 0;
SELECT accounts > 0 FROM memory_store.build_search_blocks('');
SELECT accounts > 0 FROM memory_store.build_search_blocks('');
SELECT revision > 0, blocks, sum(entries), sum(erased) FROM memory_store.search_accounts JOIN memory_store.search_blocks USING (account_id) WHERE account_id = 'search' GROUP BY 1, 2;
SELECT found('bread time'), found('面包'), found('*read'), found('nowhere');
SELECT memory.edit_message('search', c(1), 2, 'nothing of it') > 0 AS edited;
SELECT entries, erased FROM memory_store.search_blocks WHERE account_id = 'search';
SELECT found('bread time'), found('nothing');
SELECT memory.delete_conversation('search', c(2)) > 0 AS deleted;
SELECT entries, erased FROM memory_store.search_blocks WHERE account_id = 'search';
SELECT found('面包');
SELECT accounts FROM memory_store.build_search_blocks('');
SELECT entries, erased FROM memory_store.search_blocks WHERE account_id = 'search';
DELETE FROM memory_store.search_blocks WHERE account_id = 'search';
SELECT found('bread'), found('nothing');
SELECT accounts FROM memory_store.build_search_blocks('');
SELECT entries FROM memory_store.search_blocks WHERE account_id = 'search';

-- who may search what
CREATE ROLE search_reader;
SELECT memory.grant_access('search_reader', 'reader');
CREATE ROLE search_operator;
SELECT memory.grant_access('search_operator', 'operator');
SET ROLE search_operator;
SELECT account_id, seq FROM memory.search(NULL, '"of somebody"');
SELECT memory_store.build_search_blocks('');
RESET ROLE;
SET ROLE search_reader;
SELECT count(*) FROM memory.search('search', 'bread');
SELECT * FROM memory.search(NULL, 'bread');
SELECT memory_store.build_search_blocks('');
RESET ROLE;
SET memory_ext.account = 'other';
SELECT account_id, snippet FROM memory.search(NULL, 'bread');
SELECT * FROM memory.search('search', 'bread');
SELECT * FROM memory.search_conversations('search', 'bread');
SELECT * FROM memory.list_conversations('search');
SELECT memory_store.build_search_blocks('');
SET memory_ext.account = '';
SELECT memory.forget('search') IS NOT NULL AS forgotten;
SELECT count(*) FROM memory_store.search_blocks WHERE account_id = 'search';
SELECT count(*) FROM memory_store.search_accounts WHERE account_id = 'search';
SELECT memory.revoke_access('search_reader');
SELECT memory.revoke_access('search_operator');
DROP ROLE search_reader, search_operator;
DROP FUNCTION found(text), c(integer);
