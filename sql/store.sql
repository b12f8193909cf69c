-- The store: appending, editing, deleting, sealing, by functions and through the
-- views; nested statements, subtransactions, revisions and counters.
SET TIME ZONE 'UTC';
SET datestyle = 'ISO';
\getenv abs_srcdir PG_ABS_SRCDIR
\set empty :abs_srcdir '/sql/include/empty.sql'
\i :empty
\pset null '(null)'

CREATE SCHEMA store_test;
SET search_path = store_test, public;

-- What the store must fulfil at any time; each row is a fault.
CREATE VIEW all_messages AS
	SELECT s.conversation_id, s.account_id, m.seq, m.parent_seq, m.content, m.metadata::text AS metadata, m.tokens,
		coalesce(m.revision, s.revision) AS revision
		FROM memory_store.segments s, memory.unpack(s.body) m
	UNION ALL
	SELECT conversation_id, account_id, seq, parent_seq, content, metadata, tokens, revision
		FROM memory_store.tail;
CREATE VIEW faults AS
	-- counters
	SELECT 'counters' AS fault, c.conversation_id, c.account_id
		FROM memory_store.conversations c LEFT JOIN (
			SELECT conversation_id, account_id, count(*) AS n, sum(tokens) AS tokens,
				sum(octet_length(content) + coalesce(octet_length(metadata), 0)) AS bytes
			FROM all_messages GROUP BY 1, 2) m USING (conversation_id, account_id)
		LEFT JOIN (
			SELECT conversation_id, account_id, count(*) AS n, sum(octet_length(content)) AS bytes
			FROM memory_store.tail GROUP BY 1, 2) t USING (conversation_id, account_id)
		WHERE (c.message_count, c.token_count, c.content_bytes, c.tail_count, c.tail_bytes)
			<> (coalesce(m.n, 0), coalesce(m.tokens, 0), coalesce(m.bytes, 0) + coalesce(octet_length(c.title), 0)
				+ coalesce(octet_length(c.metadata::text), 0), coalesce(t.n, 0), coalesce(t.bytes, 0))
	UNION ALL
	-- what belongs to no living conversation
	SELECT 'orphan', conversation_id, account_id FROM (
			SELECT conversation_id, account_id FROM memory_store.segments
			UNION SELECT conversation_id, account_id FROM memory_store.tail
			UNION SELECT conversation_id, account_id FROM memory_store.tombstones) x
		WHERE NOT EXISTS (SELECT FROM memory_store.conversations c WHERE c.conversation_id = x.conversation_id
			AND c.account_id = x.account_id AND c.deleted_at IS NULL)
	UNION ALL
	-- segments say what is in them, do not overlap, and end before the tail
	SELECT 'segment', s.conversation_id, s.account_id FROM memory_store.segments s,
			LATERAL (SELECT min(seq) AS a, max(seq) AS z, max(coalesce(m.revision, s.revision)) AS r FROM memory.unpack(s.body) m) m
		WHERE (s.first_seq, s.last_seq, s.revision) IS DISTINCT FROM (m.a, m.z, m.r) OR NOT memory.verify(s.body)
			OR EXISTS (SELECT FROM memory_store.segments o WHERE o.conversation_id = s.conversation_id
				AND o.account_id = s.account_id AND o.first_seq > s.first_seq AND o.first_seq <= s.last_seq)
			OR EXISTS (SELECT FROM memory_store.tail t WHERE t.conversation_id = s.conversation_id
				AND t.account_id = s.account_id AND t.seq <= s.last_seq)
	UNION ALL
	-- parents are earlier messages or 0; no message has a tombstone; revisions and numbers are behind the row's
	SELECT 'message', m.conversation_id, m.account_id FROM all_messages m
			JOIN memory_store.conversations c USING (conversation_id, account_id)
		WHERE m.parent_seq >= m.seq OR m.seq >= c.next_seq OR m.revision > c.revision
			OR m.parent_seq <> 0 AND NOT EXISTS (SELECT FROM all_messages p WHERE p.conversation_id = m.conversation_id
				AND p.account_id = m.account_id AND p.seq = m.parent_seq)
			OR EXISTS (SELECT FROM memory_store.tombstones t WHERE t.conversation_id = m.conversation_id
				AND t.account_id = m.account_id AND t.seq = m.seq)
	UNION ALL
	-- the head is a message; without branches the tree is the order of seq, and the head its end
	SELECT 'head', c.conversation_id, c.account_id FROM memory_store.conversations c
			JOIN memory_store.accounts a USING (account_id)
		WHERE c.revision > a.revision OR (c.head_seq = 0) <> (c.message_count = 0)
			OR c.head_seq <> 0 AND NOT EXISTS (SELECT FROM all_messages m WHERE m.conversation_id = c.conversation_id
				AND m.account_id = c.account_id AND m.seq = c.head_seq)
			OR NOT c.branched AND EXISTS (SELECT FROM (SELECT *, lag(seq, 1, 0::bigint) OVER w AS before,
					lead(seq) OVER w AS after FROM all_messages m
					WHERE m.conversation_id = c.conversation_id AND m.account_id = c.account_id WINDOW w AS (ORDER BY seq)) m
				WHERE m.parent_seq <> m.before OR m.after IS NULL AND m.seq <> c.head_seq)
	UNION ALL
	-- and what the extension finds by itself
	SELECT problem, conversation_id, account_id FROM memory.verify();

-- A conversation at a glance: segments in brackets, then the tail; each message
-- with its parent; the current branch.
CREATE FUNCTION glance(conversation uuid, OUT stored text, OUT tree text, OUT branch text,
	OUT head bigint, OUT next bigint) LANGUAGE sql AS $$
	SELECT concat_ws(' ',
			(SELECT string_agg('[' || (SELECT string_agg(m.seq::text, ' ' ORDER BY m.seq) FROM memory.unpack(s.body) m)
				|| ']', ' ' ORDER BY s.first_seq) FROM memory_store.segments s WHERE s.conversation_id = c.conversation_id),
			(SELECT string_agg(seq::text, ' ' ORDER BY seq) FROM memory_store.tail t
				WHERE t.conversation_id = c.conversation_id)),
		(SELECT string_agg(seq || '<' || parent_seq, ' ' ORDER BY seq) FROM memory.messages m
			WHERE m.conversation_id = c.conversation_id),
		(SELECT string_agg(seq::text, ' ') FROM memory.history(c.account_id, c.conversation_id, max_messages => NULL)),
		c.head_seq, c.next_seq
	FROM memory_store.conversations c WHERE c.conversation_id = conversation
$$;
-- Revisions: the account's, the conversation's, and each message's.
CREATE FUNCTION revisions(conversation uuid, OUT account bigint, OUT conversation_revision bigint, OUT messages text)
	LANGUAGE sql AS $$
	SELECT a.revision, c.revision, (SELECT string_agg(seq || ':' || m.revision, ' ' ORDER BY seq)
		FROM all_messages m WHERE m.conversation_id = c.conversation_id)
	FROM memory_store.conversations c JOIN memory_store.accounts a USING (account_id)
	WHERE c.conversation_id = conversation
$$;

\set c1 '00000000-0000-0000-0000-000000000001'
\set c2 '00000000-0000-0000-0000-000000000002'
\set c3 '00000000-0000-0000-0000-000000000003'
\set c4 '00000000-0000-0000-0000-000000000004'
\set c5 '00000000-0000-0000-0000-000000000005'
\set c6 '00000000-0000-0000-0000-000000000006'
\set c7 '00000000-0000-0000-0000-000000000007'
\set c8 '00000000-0000-0000-0000-000000000008'
\set c9 '00000000-0000-0000-0000-000000000009'
-- small segments, so that little text goes through all places
SET memory_ext.segment_messages = 4;

--
-- Appending
--
-- unknown accounts and conversations are made
SELECT memory.append('ann', :'c1', 'user', 'first', tokens => 1, created_at => '2026-01-01 10:00Z');
SELECT memory.append('ann', :'c1', 'assistant', 'second', model => 'm-1', tokens => 7, metadata => '{"k": [1]}',
	message_id => 'id-2', created_at => '2026-01-01 10:01Z');
SELECT * FROM memory.messages WHERE conversation_id = :'c1' ORDER BY seq;
SELECT * FROM memory.conversations;
-- left out: tokens are estimated, the time is now
SELECT memory.append('ann', :'c1', 'user', 'How many tokens has this text, about?');
SELECT tokens = memory.estimate_tokens(content) AS estimated, now() - created_at < '1 hour' AS now
	FROM memory.messages WHERE conversation_id = :'c1' AND seq = 3;
SELECT * FROM revisions(:'c1');
-- the fourth message seals the tail; sealing takes no revision of its own
SELECT stored FROM glance(:'c1');
SELECT memory.append('ann', :'c1', 'assistant', 'fourth');
SELECT memory.append('ann', :'c1', 'user', 'fifth');
SELECT * FROM glance(:'c1');
SELECT * FROM revisions(:'c1');
-- a batch is one statement: one revision; seq and parent_seq can be given
SELECT memory.append('ann', :'c1', '[{"role": "assistant", "content": "sixth"},
	{"role": "user", "content": "ninth", "seq": 9, "created_at": "2026-01-02T00:00:00Z"},
	{"role": "user", "content": "again", "parent_seq": 5},
	{"role": "user", "content": "", "parent_seq": 0, "model": "m-2", "tokens": 0, "metadata": {}, "message_id": "x"}]');
SELECT * FROM glance(:'c1');
SELECT * FROM revisions(:'c1');
SELECT memory.append('ann', :'c1', '[]');
SELECT seq, parent_seq, role, content, model, tokens, message_id, metadata FROM memory.message('ann', :'c1', 11);
-- a batch of more messages than a segment has makes a new conversation of segments only
SELECT memory.append('ann', :'c2', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i))
	FROM generate_series(1, 6) i));
SELECT * FROM glance(:'c2');
SELECT memory.append('ann', :'c2', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i))
	FROM generate_series(7, 12) i));
SELECT * FROM glance(:'c2');
-- by size: two messages of half a kilobyte fill a segment of 1 kB
SET memory_ext.segment_size = '1kB';
SELECT memory.append('ann', :'c2', 'user', repeat('x', 512)) FROM generate_series(1, 2);
SELECT memory.append('ann', :'c2', 'user', repeat('x', 4000));
SELECT stored FROM glance(:'c2');
RESET memory_ext.segment_size;
SELECT * FROM faults;

--
-- Conversations
--
SELECT memory.create_conversation('ann', :'c3', 'a title', '{"color": "red"}', '2026-01-03Z');
SELECT * FROM memory.conversations WHERE conversation_id = :'c3';
-- the server's own id has version 7
SELECT substr(memory.create_conversation('ann')::text, 15, 1) AS version;
-- what is null stays; every call takes a revision
SELECT memory.update_conversation('ann', :'c3', title => 'another title', archived => true) AS revision;
SELECT memory.update_conversation('ann', :'c3', metadata => '{}') AS revision;
SELECT title, metadata, archived, head_seq, created_at, now() - updated_at < '1 hour' AS updated_now
	FROM memory.conversations WHERE conversation_id = :'c3';
SELECT memory.append('ann', :'c3', 'user', 'hello');
SELECT memory.delete_conversation('ann', :'c3') AS revision;
SELECT count(*) FROM memory.conversations WHERE conversation_id = :'c3';
SELECT count(*) FROM memory.messages WHERE conversation_id = :'c3';
-- a tombstone without any text stays
SELECT title, metadata, deleted_at IS NOT NULL AS deleted, revision
	FROM memory_store.conversations WHERE conversation_id = :'c3';
-- through the view: several at once, ids made by the server, RETURNING
INSERT INTO memory.conversations (conversation_id, account_id, title, metadata, archived, created_at, updated_at) VALUES
	(:'c4', 'bob', 'one', NULL, NULL, '2026-01-04Z', '2026-01-05Z'), (:'c5', 'ann', 'two', '{"a": 1}', true, '2026-01-06Z', NULL)
	RETURNING conversation_id, account_id, title, archived;
INSERT INTO memory.conversations (account_id, title) VALUES ('bob', 'three') RETURNING conversation_id IS NOT NULL AS has_id;
SELECT account_id, title, metadata, archived, head_seq, created_at, updated_at FROM memory.conversations
	WHERE conversation_id IN (:'c4', :'c5') ORDER BY title;
UPDATE memory.conversations SET title = upper(title), metadata = NULL, updated_at = '2026-01-07Z'
	WHERE conversation_id IN (:'c4', :'c5') RETURNING account_id, title;
SELECT account_id, revision FROM memory_store.accounts ORDER BY 1;
SELECT c.title, c.metadata, c.archived, c.updated_at, s.revision FROM memory.conversations c
	JOIN memory_store.conversations s USING (conversation_id) WHERE conversation_id IN (:'c4', :'c5') ORDER BY title;
-- a statement that finds nothing takes no revision
UPDATE memory.conversations SET title = 'x' WHERE conversation_id = :'c9';
DELETE FROM memory.conversations WHERE account_id = 'bob' RETURNING title;
SELECT account_id, revision FROM memory_store.accounts ORDER BY 1;
SELECT * FROM faults;

--
-- Editing and deleting messages
--
SELECT memory.append('cid', :'c6', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i, 'tokens', 1))
	FROM generate_series(1, 3) i)), memory.append('cid', :'c6', (SELECT jsonb_agg(jsonb_build_object('role', 'user',
	'content', 'm' || i, 'tokens', 1)) FROM generate_series(4, 6) i));
SELECT * FROM glance(:'c6');
-- a sealed message: its segment is rewritten, its own revision moves, the others' do not
SELECT memory.edit_message('cid', :'c6', 2, content => 'edited') AS revision;
-- one of the tail
SELECT memory.edit_message('cid', :'c6', 6, role => 'tool', model => 'm-3', tokens => 11, metadata => '{"e": true}') AS revision;
SELECT seq, role, content, model, metadata, revision FROM memory.history('cid', :'c6');
SELECT seq, tokens FROM memory.messages WHERE conversation_id = :'c6' AND seq <> 2 ORDER BY seq;
SELECT tokens = memory.estimate_tokens('edited') AS estimated_anew FROM memory.message('cid', :'c6', 2);
-- through the view: sealed and tail in one statement, one revision
UPDATE memory.messages SET content = content || '!', message_id = 'id-' || seq WHERE conversation_id = :'c6' AND seq IN (1, 4, 6)
	RETURNING seq, content, tokens = memory.estimate_tokens(content) AS estimated;
-- content and tokens together: the count given counts; NULL: estimated anew
UPDATE memory.messages SET content = 'five', tokens = 55, created_at = '2026-01-01Z' WHERE conversation_id = :'c6' AND seq = 5;
UPDATE memory.messages SET tokens = NULL WHERE conversation_id = :'c6' AND seq = 3;
SELECT seq, content, CASE WHEN tokens = memory.estimate_tokens(content) THEN 'estimated' ELSE tokens::text END AS tokens,
	message_id, revision FROM memory.history('cid', :'c6');
-- a row that gets the values it has counts as changed
UPDATE memory.messages SET role = role WHERE conversation_id = :'c6' AND seq = 1;
SELECT * FROM revisions(:'c6');
-- a join that gives a row twice changes it once
UPDATE memory.messages m SET content = 'v' || v FROM (VALUES (1), (2)) x (v) WHERE m.conversation_id = :'c6' AND m.seq = 3;
SELECT content IN ('v1', 'v2') AS once, tokens = memory.estimate_tokens(content) AS estimated FROM memory.messages
	WHERE conversation_id = :'c6' AND seq = 3;
SELECT * FROM faults;
-- deletes: answers go to the parent, tombstones stay, a number is not given again
SELECT memory.delete_message('cid', :'c6', 2) AS revision;
SELECT * FROM glance(:'c6');
DELETE FROM memory.messages WHERE conversation_id = :'c6' AND seq IN (3, 6) RETURNING seq, content IS NOT NULL AS had_content;
SELECT * FROM glance(:'c6');
SELECT seq, message_id, revision FROM memory_store.tombstones WHERE conversation_id = :'c6' ORDER BY seq;
SELECT memory.append('cid', :'c6', 'user', 'seven');
SELECT * FROM glance(:'c6');
SELECT * FROM revisions(:'c6');
-- a number that was deleted can be given once more; the tombstone goes
INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES (:'c6', 2, 'user', 'back again');
SELECT * FROM glance(:'c6');
SELECT seq FROM memory_store.tombstones WHERE conversation_id = :'c6' ORDER BY seq;
SELECT * FROM faults;
-- every message of a conversation; the conversation stays and goes on
DELETE FROM memory.messages WHERE conversation_id = :'c6';
SELECT * FROM glance(:'c6');
SELECT message_count, token_count, content_bytes, tail_bytes, tail_count FROM memory_store.conversations WHERE conversation_id = :'c6';
SELECT memory.append('cid', :'c6', 'user', 'a new beginning');
SELECT * FROM glance(:'c6');
SELECT * FROM faults;
DELETE FROM memory.conversations WHERE conversation_id = :'c6';
SELECT count(*) AS rows_left FROM (SELECT conversation_id FROM memory_store.segments UNION ALL
	SELECT conversation_id FROM memory_store.tail UNION ALL SELECT conversation_id FROM memory_store.tombstones) x
	WHERE conversation_id = :'c6';

--
-- INSERT
--
-- several rows of several conversations: RETURNING shows the numbers
INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES
	('dot', :'c7', 'user', 'a1'), ('eve', :'c8', 'user', 'b1'), ('dot', :'c7', 'assistant', 'a2'),
	('eve', :'c8', 'assistant', 'b2'), ('dot', :'c7', 'user', 'a3') RETURNING account_id, seq, parent_seq, content;
SELECT account_id, revision FROM memory_store.accounts WHERE account_id IN ('dot', 'eve') ORDER BY 1;
-- account_id left out: the existing conversation's
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c7', 'user', 'a4'), (:'c8', 'user', 'b3')
	RETURNING account_id, seq, parent_seq;
-- numbers given and left out
INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES
	(:'c7', 7, 'user', 'a7'), (:'c7', NULL, 'user', 'a8'), (:'c7', 10, 'user', 'a10'), (:'c7', NULL, 'user', 'a11')
	RETURNING seq, content;
SELECT * FROM glance(:'c7');
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c7' AND seq > 6 ORDER BY seq;
SELECT * FROM faults;

--
-- Late messages: numbers that were passed over
--
DELETE FROM memory.conversations;
TRUNCATE memory_store.conversations;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content)
	SELECT 'fay', :'c1', seq, 'user', 'm' || seq FROM unnest('{2,4,6,8, 14,16,18,20, 26,28}'::bigint[]) seq;
SELECT * FROM glance(:'c1');
-- into a segment's range: it answers the one before, the branch does not see it
INSERT INTO memory.messages (conversation_id, seq, role, content) VALUES (:'c1', 5, 'user', 'late 5');
SELECT * FROM glance(:'c1');
-- before all segments, between two, between the last one and the tail, into the tail
INSERT INTO memory.messages (conversation_id, seq, role, content)
	SELECT :'c1', seq, 'user', 'late ' || seq FROM unnest('{27,22,11,1}'::bigint[]) seq RETURNING seq;
SELECT * FROM glance(:'c1');
-- with a parent given; and in one statement with new ones
INSERT INTO memory.messages (conversation_id, seq, parent_seq, role, content) VALUES
	(:'c1', 3, 1, 'user', 'late 3'), (:'c1', NULL, NULL, 'user', 'm29'), (:'c1', 12, 8, 'user', 'late 12');
SELECT * FROM glance(:'c1');
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c1' AND content LIKE 'late%' ORDER BY seq;
SELECT memory.append('fay', :'c1', '[{"role": "u", "content": "late 7", "seq": 7}, {"role": "u", "content": "m33", "seq": 33},
	{"role": "u", "content": "late 31", "seq": 31}, {"role": "u", "content": "m34"}]');
SELECT * FROM glance(:'c1');
SELECT * FROM faults;
-- many late ones make a long tail, which is sealed into segments of the usual size
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('fay', :'c2', 12, 'user', 'm');
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) SELECT 'fay', :'c2', i, 'user', 'm' FROM generate_series(1, 11) i;
SELECT * FROM glance(:'c2');
SELECT memory.seal('fay', :'c2');
SELECT * FROM glance(:'c2');
SELECT * FROM faults;

--
-- Branches
--
SELECT memory.append('gus', :'c3', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', 'm' || i))
	FROM generate_series(1, 4) i));
-- an answer to an earlier message: the head goes there
SELECT memory.append('gus', :'c3', 'assistant', 'another answer to 1', parent_seq => 1);
SELECT memory.append('gus', :'c3', 'user', 'and on');
SELECT * FROM glance(:'c3');
-- back to the first branch, and on there
SELECT memory.update_conversation('gus', :'c3', head_seq => 4) AS revision;
SELECT * FROM glance(:'c3');
SELECT memory.append('gus', :'c3', 'user', 'after 4');
-- a second root
SELECT memory.append('gus', :'c3', 'user', 'a new root', parent_seq => 0);
SELECT memory.append('gus', :'c3', 'user', 'its answer');
SELECT * FROM glance(:'c3');
-- the head moves with deletes: to the parent, or to the last message when a root goes
SELECT memory.delete_message('gus', :'c3', 9) AS revision;
SELECT * FROM glance(:'c3');
SELECT memory.delete_message('gus', :'c3', 8) AS revision;
SELECT * FROM glance(:'c3');
-- inner messages: several generations at once, in sealed and tail
DELETE FROM memory.messages WHERE conversation_id = :'c3' AND seq IN (1, 3, 4, 5);
SELECT * FROM glance(:'c3');
-- re-parenting by hand
UPDATE memory.messages SET parent_seq = 6 WHERE conversation_id = :'c3' AND seq = 7;
SELECT * FROM glance(:'c3');
UPDATE memory.messages SET parent_seq = 0 WHERE conversation_id = :'c3' AND seq = 7;
UPDATE memory.messages SET parent_seq = NULL WHERE conversation_id = :'c3' AND seq = 6;
SELECT * FROM glance(:'c3');
-- UPDATE of the view moves the head as well
UPDATE memory.conversations SET head_seq = 2 WHERE conversation_id = :'c3';
SELECT * FROM glance(:'c3');
SELECT * FROM faults;
-- a restore promises the head before the messages come
INSERT INTO memory.conversations (conversation_id, account_id, head_seq, created_at, updated_at)
	VALUES (:'c4', 'gus', 3, '2026-01-01Z', '2026-01-02Z');
INSERT INTO memory.messages (conversation_id, seq, parent_seq, role, content, created_at) VALUES
	(:'c4', 1, 0, 'user', 'a', '2026-01-01Z'), (:'c4', 2, 1, 'user', 'b', '2026-01-01Z'), (:'c4', 3, 1, 'user', 'c', '2026-01-01Z'),
	(:'c4', 4, 2, 'user', 'd', '2026-01-01Z');
SELECT * FROM glance(:'c4');
SELECT created_at, updated_at FROM memory.conversations WHERE conversation_id = :'c4';
SELECT memory.append('gus', :'c4', 'user', 'goes on from 3');
SELECT * FROM glance(:'c4');
SELECT * FROM faults;

--
-- Sealing
--
SELECT memory.seal() > 0 AS sealed;
SELECT memory.append('hal', :'c5', 'user', 'one', created_at => '2026-01-01Z'), memory.append('hal', :'c6', 'user', 'two', created_at => '2026-01-01Z'),
	memory.append('ida', :'c7', 'user', 'three', created_at => '2026-01-01Z'), memory.append('ida', :'c8', 'user', 'four', created_at => '2999-01-01Z');
SELECT memory.seal('hal', :'c5') AS one_conversation;
SELECT memory.seal('hal', :'c5') AS nothing_left;
SELECT memory.seal('ida', :'c6') AS not_idas;
SELECT memory.seal('hal') AS one_account;
SELECT memory.seal('nobody'), memory.seal(NULL, :'c9');
SELECT account_id, count(*) AS segments FROM memory_store.segments WHERE account_id IN ('hal', 'ida') GROUP BY 1 ORDER BY 1;
-- what has rested for seal_after; the last message of c8 is yet to come
SET memory_ext.seal_after = 0;
SET memory_ext.compact_after = '10000d';
SET memory_ext.auto_dictionary = off;
SELECT memory.append('hal', :'c5', 'user', 'three', created_at => '2026-01-01Z');
SELECT memory_store.seal_idle(0) AS none, memory_store.seal_idle(1) AS one;
CALL memory.maintain(1);
CALL memory.maintain();
CALL memory.maintain(NULL);
SET memory_ext.seal_after = '1h';
SELECT memory.append('hal', :'c5', 'user', 'now');
CALL memory.maintain();
RESET memory_ext.seal_after;
SELECT account_id, seq FROM memory_store.tail WHERE account_id IN ('hal', 'ida') ORDER BY 1, 2;
SELECT memory.seal() AS all_the_rest;
SELECT count(*) FROM memory_store.tail;
-- no revision was taken
SELECT * FROM revisions(:'c5');
-- metadata counts too: these do not go into one segment
SET memory_ext.segment_messages = 64;
SELECT memory.append('hal', :'c9', 'user', 'x', metadata => jsonb_build_object('k', repeat('x', 15 * 1024 * 1024)))
	FROM generate_series(1, 9);
SELECT memory.seal('hal', :'c9');
SELECT count(*), sum(memory.message_count(body)) AS messages FROM memory_store.segments WHERE conversation_id = :'c9';
SELECT memory.delete_conversation('hal', :'c9') > 0 AS deleted;
SET memory_ext.segment_messages = 4;
SELECT * FROM faults;

--
-- Statements inside statements
--
DELETE FROM memory.conversations;
TRUNCATE memory_store.conversations, memory_store.accounts;
-- a function that writes, called for each row of a statement that writes
CREATE FUNCTION note(conversation uuid, what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('jim', conversation, 'note', 'about ' || what);
	RETURN what;
END $$;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c1', 'user', note(:'c2', 'm' || i) FROM generate_series(1, 3) i RETURNING seq, content;
SELECT conversation_id, seq, content FROM memory.messages ORDER BY 1, 2;
-- each inner statement has its revision, the outer one another
SELECT * FROM revisions(:'c1');
SELECT * FROM revisions(:'c2');
-- likewise with UPDATE and DELETE outside
UPDATE memory.messages SET content = note(:'c2', content) || ' (noted)' WHERE conversation_id = :'c1' AND seq = 1;
DELETE FROM memory.messages WHERE conversation_id = :'c1' AND note(:'c2', content) = 'm2';
SELECT conversation_id, seq, content FROM memory.messages ORDER BY 1, 2;
-- with RETURNING the outer statement has given out its numbers when the inner one takes one: an error,
-- nothing is stored; appending is the same
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c3', 'user', note(:'c3', 'm' || i) FROM generate_series(1, 3) i RETURNING seq;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c3', 'user', 'm' || memory.append('jim', :'c3', 'note', 'n') FROM generate_series(1, 3) i RETURNING seq;
SELECT count(*) FROM memory.messages WHERE conversation_id = :'c3';
-- without, its rows are numbered when it ends, behind theirs
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c3', 'user', note(:'c3', 'm' || i) FROM generate_series(1, 2) i;
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c3', 'user', 'n' || memory.append('jim', :'c3', 'note', 'n') FROM generate_series(1, 2) i;
SELECT seq, parent_seq, role, content FROM memory.messages WHERE conversation_id = :'c3' ORDER BY seq;
DELETE FROM memory.conversations WHERE conversation_id = :'c3';
-- two INSERTs in one statement share the numbering
WITH questions AS (
	INSERT INTO memory.messages (account_id, conversation_id, role, content)
		VALUES ('jim', :'c4', 'user', 'q1'), ('jim', :'c4', 'user', 'q2') RETURNING seq)
INSERT INTO memory.messages (account_id, conversation_id, parent_seq, role, content)
	SELECT 'jim', :'c4', seq, 'assistant', 'answer to ' || seq FROM questions RETURNING seq, parent_seq, content;
WITH a AS (INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c4', 'user', 'x') RETURNING seq),
	b AS (INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c4', 'user', 'y') RETURNING seq)
	SELECT array(SELECT seq FROM a UNION ALL SELECT seq FROM b ORDER BY 1) AS seqs;
-- one that nobody reads runs all the same
WITH a AS (INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c4', 'user', 'z')) SELECT 1 AS one;
SELECT * FROM glance(:'c4');
-- INSERT, UPDATE and DELETE of both relations together
WITH i AS (INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c4', 'user', 'last')),
	u AS (UPDATE memory.messages SET content = 'Q1' WHERE conversation_id = :'c4' AND seq = 1),
	d AS (DELETE FROM memory.messages WHERE conversation_id = :'c4' AND seq = 6)
	UPDATE memory.conversations SET title = 'title' WHERE conversation_id = :'c4';
SELECT c.title, m.seq, m.parent_seq, m.content FROM memory.conversations c JOIN memory.messages m USING (conversation_id)
	WHERE c.conversation_id = :'c4' ORDER BY seq;
-- the numbers as input of another statement
CREATE TABLE log (conversation_id uuid, seq bigint);
WITH new AS (INSERT INTO memory.messages (conversation_id, role, content) SELECT :'c4', 'user', 'logged' FROM generate_series(1, 2)
	RETURNING conversation_id, seq) INSERT INTO log SELECT * FROM new;
SELECT * FROM log ORDER BY seq;
-- a loop over RETURNING, with further writes in it
DO $$
DECLARE
	r record;
BEGIN
	FOR r IN INSERT INTO memory.messages (account_id, conversation_id, role, content)
		SELECT 'jim', '00000000-0000-0000-0000-000000000005', 'user', 'm' || i FROM generate_series(1, 3) i RETURNING seq, content
	LOOP
		PERFORM memory.append('jim', '00000000-0000-0000-0000-000000000005', 'assistant', 'answer to ' || r.content, parent_seq => r.seq);
	END LOOP;
END $$;
SELECT tree FROM glance(:'c5');
-- a statement does not see its own rows
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'jim', :'c5', 'user', 'there are ' || (SELECT count(*) FROM memory.messages WHERE conversation_id = :'c5')
	FROM generate_series(1, 2) RETURNING seq, content;
-- a conversation copied
INSERT INTO memory.messages (account_id, conversation_id, seq, parent_seq, role, content)
	SELECT 'jim', :'c9', seq, parent_seq, role, content FROM memory.messages WHERE conversation_id = :'c5';
SELECT * FROM glance(:'c9');
-- all messages taken out and put in again: as before, and no tombstone left
CREATE TABLE copy AS SELECT * FROM memory.messages;
DELETE FROM memory.messages;
SELECT count(*) FROM memory_store.tombstones;
INSERT INTO memory.messages SELECT * FROM copy;
SELECT count(*) FROM memory_store.tombstones;
SELECT (SELECT count(*) FROM copy) AS messages, count(*) AS different FROM (
	(TABLE copy EXCEPT TABLE memory.messages) UNION ALL (TABLE memory.messages EXCEPT TABLE copy)) x;
SELECT * FROM glance(:'c9');
-- the last messages deleted, and put in again: the branch goes on over them
DELETE FROM memory.messages WHERE conversation_id = :'c9' AND seq > 5;
SELECT * FROM glance(:'c9');
INSERT INTO memory.messages SELECT (c).* FROM copy c WHERE conversation_id = :'c9' AND seq > 5;
SELECT * FROM glance(:'c9');
SELECT * FROM faults;

--
-- What is rolled back leaves no rows behind
--
CREATE FUNCTION fail() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'failed on purpose'; END $$;
-- an exception block around an INSERT that fails after its first rows
DO $$
BEGIN
	BEGIN
		INSERT INTO memory.messages (account_id, conversation_id, role, content)
			SELECT 'kai', '00000000-0000-0000-0000-000000000006', 'user', CASE WHEN i < 3 THEN 'lost' ELSE fail() END
			FROM generate_series(1, 3) i;
	EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE '%', SQLERRM;
	END;
	INSERT INTO memory.messages (account_id, conversation_id, role, content)
		VALUES ('kai', '00000000-0000-0000-0000-000000000006', 'user', 'kept');
END $$;
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c6';
-- the same inside another statement's row
CREATE FUNCTION try_note(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO memory.messages (account_id, conversation_id, role, content) VALUES ('kai', '00000000-0000-0000-0000-000000000007', 'note', what),
		('kai', '00000000-0000-0000-0000-000000000007', 'note', CASE WHEN what = 'b' THEN fail() ELSE what END);
	RETURN what || ' noted';
EXCEPTION WHEN OTHERS THEN
	RETURN what || ' not noted';
END $$;
INSERT INTO memory.messages (conversation_id, role, content)
	SELECT :'c6', 'user', try_note(x) FROM unnest('{a,b,c}'::text[]) x RETURNING seq, content;
SELECT conversation_id, seq, content FROM memory.messages WHERE account_id = 'kai' ORDER BY 1, 2;
SELECT * FROM revisions(:'c6');
-- savepoints
BEGIN;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', 'before');
SAVEPOINT s;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', 'undone') RETURNING seq;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', fail());
ROLLBACK TO s;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', 'after') RETURNING seq;
SAVEPOINT s2;
UPDATE memory.messages SET content = 'overwritten' WHERE conversation_id = :'c6';
DELETE FROM memory.conversations WHERE account_id = 'kai';
SELECT count(*) FROM memory.conversations WHERE account_id = 'kai';
ROLLBACK TO s2;
RELEASE s;
COMMIT;
SELECT seq, content FROM memory.messages WHERE conversation_id = :'c6' ORDER BY seq;
BEGIN;
SELECT memory.append('kai', :'c6', 'user', 'undone');
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', fail());
ROLLBACK;
INSERT INTO memory.messages (conversation_id, role, content) VALUES (:'c6', 'user', fail());
SELECT * FROM glance(:'c6');
-- every row was written to the store by the end of its statement
SELECT * FROM revisions(:'c6');
SELECT * FROM faults;

--
-- Ten thousand rows in one statement
--
RESET memory_ext.segment_messages;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at)
	SELECT 'lea', ('00000000-0000-0000-0001-' || lpad((i % 7)::text, 12, '0'))::uuid, CASE i / 7 % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
		'message ' || i, timestamptz '2026-01-01Z' + i * interval '1 s' FROM generate_series(0, 9999) i;
SELECT count(*), count(DISTINCT conversation_id), sum(message_count) FROM memory.conversations c WHERE account_id = 'lea';
SELECT count(*) FROM memory_store.tail WHERE account_id = 'lea';
-- each conversation is in the order of the rows
SELECT bool_and(content = 'message ' || (seq - 1) * 7 + right(conversation_id::text, 1)::int) AS in_order, max(seq) FROM memory.messages
	WHERE account_id = 'lea';
SELECT revision FROM memory_store.accounts WHERE account_id = 'lea';
-- and ten thousand more, with RETURNING; then edit and delete many
WITH new AS (INSERT INTO memory.messages (conversation_id, role, content)
	SELECT ('00000000-0000-0000-0001-' || lpad((i % 7)::text, 12, '0'))::uuid, 'user', 'more ' || i FROM generate_series(0, 9999) i
	RETURNING conversation_id, seq)
SELECT count(*), count(DISTINCT (conversation_id, seq)), min(seq), max(seq) FROM new;
UPDATE memory.messages SET content = upper(content), tokens = tokens WHERE account_id = 'lea' AND seq % 3 = 0;
SELECT count(*), count(*) FILTER (WHERE content = upper(content)) FROM memory.messages WHERE account_id = 'lea';
DELETE FROM memory.messages WHERE account_id = 'lea' AND seq % 2 = 0;
SELECT count(*), bool_and(seq % 2 = 1), bool_and(parent_seq = greatest(seq - 2, 0)) FROM memory.messages WHERE account_id = 'lea';
SELECT count(*), min(revision), max(revision) FROM memory_store.tombstones WHERE account_id = 'lea';
DELETE FROM memory.messages WHERE account_id = 'lea' AND seq > 3;
SELECT count(*) FROM memory.messages WHERE account_id = 'lea';
-- rows beyond the memory go to temporary files
SET memory_ext.buffer_size = '64kB';
INSERT INTO memory.messages (account_id, conversation_id, role, content)
	SELECT 'mia', ('00000000-0000-0000-0002-' || lpad((i % 7)::text, 12, '0'))::uuid, 'user', repeat('text ' || i || ' ', 10) FROM generate_series(0, 9999) i;
RESET memory_ext.buffer_size;
SELECT count(*), count(DISTINCT content), max(seq) FROM memory.messages WHERE account_id = 'mia';
SELECT * FROM faults;

--
-- What a foreign table cannot do
--
-- ON CONFLICT DO NOTHING without a target skips what is there; with a target it is refused
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('ned', :'c8', 1, 'user', 'x') ON CONFLICT DO NOTHING;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('ned', :'c8', 1, 'user', 'y') ON CONFLICT DO NOTHING;
INSERT INTO memory.messages (account_id, conversation_id, seq, role, content) VALUES ('ned', :'c8', 1, 'user', 'y')
	ON CONFLICT (conversation_id, seq) DO UPDATE SET content = excluded.content;
INSERT INTO memory.conversations (account_id, conversation_id) VALUES ('ned', :'c8') ON CONFLICT (conversation_id) DO NOTHING;
TRUNCATE memory.messages;
SELECT content FROM memory.messages WHERE conversation_id = :'c8';
-- MERGE: no server has it for foreign tables
MERGE INTO memory.messages m USING (VALUES (1, 'merged')) v (seq, content)
	ON m.conversation_id = :'c8' AND m.seq = v.seq WHEN MATCHED THEN UPDATE SET content = v.content;
SELECT * FROM faults;

--
-- A segment whose messages have one revision keeps it in its row alone
--
\set ca '00000000-0000-0000-0000-00000000000a'
CREATE VIEW kept AS
	SELECT s.first_seq, s.revision, string_agg(coalesce(m.revision::text, '-'), ' ' ORDER BY m.seq) AS own
	FROM memory_store.segments s, memory.unpack(s.body) m WHERE s.account_id = 'rev' GROUP BY 1, 2;
SET memory_ext.segment_messages = 4;
SET memory_ext.compact_after = 0;
INSERT INTO memory.messages (account_id, conversation_id, role, content, created_at) SELECT 'rev', :'ca', 'user', 'm' || i, '2020-01-01Z' FROM generate_series(1, 8) i;
SELECT * FROM kept ORDER BY 1;
SELECT memory.edit_message('rev', :'ca', 6, content => 'edited');
SELECT * FROM kept ORDER BY 1;
SELECT memory.delete_message('rev', :'ca', 2);
SELECT * FROM kept ORDER BY 1;
-- what was edited since a statement began is known by its revision, also of the row
UPDATE memory.messages SET content = content || '!' WHERE conversation_id = :'ca' AND seq > 4;
SELECT * FROM kept ORDER BY 1;
SELECT memory.append('rev', :'ca', 'user', 'm' || i, created_at => '2020-01-01Z') FROM generate_series(9, 12) i;
SELECT * FROM kept ORDER BY 1;
SELECT count(*) FROM memory_store.compact_batch('00000000-0000-0000-0000-000000000009', '', 100, false);
SELECT * FROM kept ORDER BY 1;
SELECT seq, m.revision FROM all_messages m WHERE account_id = 'rev' ORDER BY seq;
SELECT * FROM memory.verify('rev');
SELECT * FROM faults;
RESET memory_ext.compact_after;
RESET memory_ext.segment_messages;

-- the last segment of a new conversation is filled from the one before, by messages or by bytes
SET memory_ext.segment_messages = 8;
SET memory_ext.segment_size = '1kB';
CREATE FUNCTION fill(conversation uuid, sizes integer[]) RETURNS text LANGUAGE sql AS $$
	INSERT INTO memory.messages (account_id, conversation_id, role, content)
		SELECT 'fill', conversation, 'user', repeat('x', size) FROM unnest(sizes) WITH ORDINALITY s (size, n) ORDER BY n;
	SELECT stored FROM glance(conversation);
$$;
SELECT fill('00000000-0000-0000-0000-00000000000b', array_fill(1, '{8}'));
SELECT fill('00000000-0000-0000-0000-00000000000c', array_fill(1, '{17}'));
SELECT fill('00000000-0000-0000-0000-00000000000d', array_fill(300, '{9}'));
SELECT fill('00000000-0000-0000-0000-00000000000e', array_fill(1, '{8}') || 2000 || array_fill(1, '{3}'));
SELECT fill('00000000-0000-0000-0000-00000000000f', array_fill(2000, '{3}') || 500);
SELECT fill('00000000-0000-0000-0000-000000000010', array_fill(1, '{8}') || 1000 || 1);
-- the messages that are held back are there for what comes between
INSERT INTO memory.messages (account_id, conversation_id, seq, parent_seq, role, content)
	SELECT 'fill', '00000000-0000-0000-0000-000000000011', seq, parent, 'user', seq::text
	FROM unnest('{2,4,6,8,10,12,14,16,18,20,22}'::bigint[], '{0,2,4,6,8,10,12,14,4,16,20}'::bigint[]) s (seq, parent);
SELECT * FROM glance('00000000-0000-0000-0000-000000000011');
INSERT INTO memory.messages (account_id, conversation_id, seq, parent_seq, role, content)
	SELECT 'fill', '00000000-0000-0000-0000-000000000012', seq, parent, 'user', seq::text
	FROM unnest('{2,4,6,8,10,12,14,16,18,20,22}'::bigint[], '{0,2,4,6,8,10,12,14,5,16,20}'::bigint[]) s (seq, parent);
SELECT * FROM faults;
RESET memory_ext.segment_messages;
RESET memory_ext.segment_size;

\i :empty
SET client_min_messages = warning;
DROP SCHEMA store_test CASCADE;
