-- Importing documents: the view, the function, what is rejected, what is there already.
\set VERBOSITY default
SET memory_ext.import_account = 'imp';

CREATE FUNCTION pg_temp.shown() RETURNS TABLE (account text, n int, title text, head bigint, seq bigint, parent bigint, role text, content text)
LANGUAGE sql AS $$
	SELECT c.account_id, dense_rank() OVER (ORDER BY c.title, c.conversation_id)::int, c.title, c.head_seq, m.seq, m.parent_seq, m.role, m.content
	FROM memory.conversations c LEFT JOIN memory.messages m USING (conversation_id, account_id)
	WHERE c.account_id LIKE 'imp%' ORDER BY 2, 5
$$;
CREATE VIEW pg_temp.outcome AS
	SELECT state, documents, imported, extended, unchanged, rejected, messages
	FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
-- jobs are numbered on; the number is not shown
SET client_min_messages = warning;

-- one document over several lines, a tree, a head that is not the last message
INSERT INTO memory.import_documents VALUES
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a1", "title": "tree", "head_seq": 2, "metadata": {"k": [1, "ü"]},'),
	(NULL),
	(' "created_at": "2024-02-01T10:00:00Z", "updated_at": "2024-02-03", "archived": true, "messages": ['),
	('  {"role": "user", "content": "hi", "created_at": "2024-02-01T11:00:00.25+01:00", "message_id": "m1"},'),
	('  {"role": "assistant", "content": "one", "model": "m", "tokens": 7},'),
	('  {"role": "assistant", "content": "two", "parent_seq": 1, "metadata": {"a": null}, "created_at": "2024-02-02 10:00:00"}]}');
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.shown();
SELECT title, metadata, archived, head_seq, created_at AT TIME ZONE 'UTC' AS created, updated_at AT TIME ZONE 'UTC' AS updated
FROM memory.conversations WHERE account_id = 'imp';
SELECT seq, model, tokens, message_id, metadata, created_at AT TIME ZONE 'UTC' AS created
FROM memory.messages WHERE account_id = 'imp' ORDER BY seq;

-- the same again, then grown, then grown at another branch
CREATE FUNCTION pg_temp.tree(more text, head int) RETURNS text LANGUAGE sql AS $$
	SELECT '{"conversation_id": "00000000-0000-0000-0000-0000000000a1", "head_seq": ' || head || ', "messages": ['
		|| '{"role": "user", "content": "hi"}, {"role": "assistant", "content": "one"},'
		|| '{"role": "assistant", "content": "two", "parent_seq": 1}' || more || ']}'
$$;
INSERT INTO memory.import_documents VALUES (pg_temp.tree('', 2));
TABLE pg_temp.outcome;
INSERT INTO memory.import_documents VALUES (pg_temp.tree(', {"role": "user", "content": "three", "parent_seq": 2}', 4));
TABLE pg_temp.outcome;
INSERT INTO memory.import_documents VALUES
	(pg_temp.tree(', {"role": "user", "content": "three", "parent_seq": 2}, {"role": "user", "content": "four", "parent_seq": 3}', 4));
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.shown();

-- the same document twice in a file, and grown in the same file
INSERT INTO memory.import_documents VALUES
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "title": "twice", "messages": [{"role": "user", "content": "a"}]}'),
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "title": "twice", "messages": [{"role": "user", "content": "a"}]}'),
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "title": "twice", "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}');
TABLE pg_temp.outcome;

-- an array, a byte order mark, documents one behind the other, records with separators
INSERT INTO memory.import_documents VALUES (U&'\FEFF['), ('{"account_id": "x", "title": "in array 1", "messages": []}'),
	(','), ('{"account_id": "x", "title": "in array 2", "messages": [{"role": "user", "content": "[\"{"}]}]');
TABLE pg_temp.outcome;
INSERT INTO memory.import_documents VALUES
	('{"account_id": "x", "title": "behind 1", "messages": []}{"account_id": "x", "title": "behind 2", "messages": []} '),
	(E'\x1e{"account_id": "x", "title": "behind 3", "messages": []}\r');
TABLE pg_temp.outcome;
INSERT INTO memory.import_documents VALUES (''), ('[]'), (' [ ] ');
TABLE pg_temp.outcome;
INSERT INTO memory.import_documents SELECT 'x' WHERE false;
TABLE pg_temp.outcome;
SELECT title FROM memory.conversations WHERE account_id = 'imp' AND title ~ '^(in|be)' ORDER BY 1;

-- messages deleted here do not come back; their answers answer their parent
SELECT memory.delete_message('imp', '00000000-0000-0000-0000-0000000000a2', 1) IS NOT NULL AS deleted;
INSERT INTO memory.import_documents VALUES
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "user", "content": "c", "parent_seq": 1}]}');
TABLE pg_temp.outcome;
SELECT * FROM pg_temp.shown() WHERE title = 'twice';

-- nothing is stored of a file with one bad document
INSERT INTO memory.import_documents VALUES
	('{"account_id": "x", "title": "good", "messages": []}'), ('{"account_id": "x", "title": "bad", "messages": 1}');
SELECT count(*) FROM memory.conversations WHERE title = 'good';

-- every reason, its SQLSTATE, and its note
CREATE TEMP TABLE bad (n int, line text);
INSERT INTO bad VALUES
	(1, '{"account_id": "x", "messages": ['),
	(2, '{"account_id": "x", "messages": tru}'),
	(3, '{"what": "is this?"}'),
	(4, '{"conversation_id": "00000000-0000-0000-0000-0000000000a3", "messages": [{"content": "c"}]}'),
	(5, '{"conversation_id": "00000000-0000-0000-0000-0000000000a3", "messages": [{"role": "r", "content": "c"}, {"role": "", "content": "c"}]}'),
	(6, '{"account_id": "x", "messages": [{"role": "' || repeat('r', 65) || '", "content": "c"}]}'),
	(7, '{"account_id": "x", "messages": [{"role": "r", "content": "c", "parent_seq": 1}]}'),
	(8, '{"account_id": "x", "head_seq": 0, "messages": [{"role": "r", "content": "c"}]}'),
	(9, '{"account_id": "x", "messages": [{"role": "r", "content": "c", "created_at": "yesterday"}]}'),
	(10, '{"account_id": "x", "updated_at": "2023-02-29", "messages": [{"role": "r", "content": "c"}]}'),
	(11, '{"account_id": "x", "messages": [{"role": "r", "content": 5}]}'),
	(12, '{"account_id": "x", "messages": [{"role": "r", "content": "a\u0000b"}]}'),
	(13, '{"account_id": "x", "messages": [{"role": "r", "content": "c", "model": "' || repeat('m', 256) || '"}]}'),
	(14, '{"account_id": "x", "messages": [{"role": "r", "content": "c", "tokens": 1e999999}]}'),
	(15, '{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "B"}]}'),
	(16, '{"conversation_id": "00000000-0000-0000-0000-0000000000a4", "messages": []}'),
	(17, '{"conversation_id": "00000000-0000-0000-0000-0000000000a5", "messages": []}'),
	(18, '"text"'),
	(19, repeat('[', 20000) || repeat(']', 20000)),
	(20, '{"account_id": "x", "messages": [{"role": "r", "content": "\ud800"}]}'),
	(21, '{"account_id": "x", "messages": []}}');
SELECT memory.create_conversation('imp', '00000000-0000-0000-0000-0000000000a4') IS NOT NULL AS made;
SELECT memory.delete_conversation('imp', '00000000-0000-0000-0000-0000000000a4') IS NOT NULL AS deleted;
SELECT memory.create_conversation('imp other', '00000000-0000-0000-0000-0000000000a5') IS NOT NULL AS made;
DO $$
DECLARE
	b record;
	why text;
BEGIN
	FOR b IN SELECT * FROM bad ORDER BY n LOOP
		BEGIN
			INSERT INTO memory.import_documents VALUES (b.line);
			RAISE WARNING '%: stored', b.n;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
			RAISE WARNING '%: % %', b.n, SQLSTATE, split_part(why, ',', 1);
		END;
	END LOOP;
END
$$;
SET memory_ext.import_on_error = skip;
INSERT INTO memory.import_documents SELECT line FROM bad ORDER BY n <> 3, n;
TABLE pg_temp.outcome;
SELECT document, line, byte_offset, reason, path, left(message, 50) AS message, left(excerpt, 30) AS excerpt
FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs) ORDER BY document;

-- the character with code 0
SET memory_ext.import_on_nul = replace;
INSERT INTO memory.import_documents VALUES
	('{"account_id": "x", "title": "nul\u0000 \\u0000 \\\u0000", "messages": [{"role": "r", "content": "\u0000"}]}');
SELECT title, content FROM pg_temp.shown() WHERE title ~ 'nul';
RESET memory_ext.import_on_nul;

-- a document over the limit; the next one is stored
SET memory_ext.import_max_document = '2kB';
INSERT INTO memory.import_documents VALUES
	('{"account_id": "x", "title": "large", "messages": [{"role": "r", "content": "' || repeat('x', 3000) || '"}]}'),
	('{"account_id": "x", "title": "small", "messages": []}');
TABLE pg_temp.outcome;
SELECT reason, message, length(excerpt) FROM memory.job_errors WHERE job_id = (SELECT max(job_id) FROM memory.jobs);
RESET memory_ext.import_max_document;

-- accounts: what the document names, the setting, the session's
RESET memory_ext.import_account;
INSERT INTO memory.import_documents VALUES ('{"account_id": "imp named", "title": "named", "messages": []}');
INSERT INTO memory.import_documents VALUES ('{"account_id": "", "title": "empty", "messages": []}');
SELECT reason, path, message FROM memory.job_errors ORDER BY rejected_at DESC LIMIT 1;
INSERT INTO memory.import_documents VALUES ('{"conversation_id": "00000000-0000-0000-0000-0000000000a6", "messages": []}');
SET memory_ext.account = 'imp named';
INSERT INTO memory.import_documents VALUES ('{"conversation_id": "00000000-0000-0000-0000-0000000000a6", "title": "mine", "messages": []}'),
	('{"account_id": "imp", "title": "not mine", "messages": []}'),
	('{"conversation_id": "00000000-0000-0000-0000-0000000000a2", "messages": []}');
TABLE pg_temp.outcome;
SELECT document, account_id, reason, message FROM memory.job_errors ORDER BY job_id, document;
SELECT account_id, title FROM memory.conversations ORDER BY 2;
SET memory_ext.import_account = 'imp';
INSERT INTO memory.import_documents VALUES ('{"account_id": "imp named", "messages": []}');
RESET memory_ext.import_account;
RESET memory_ext.account;

-- settings
\set VERBOSITY terse
SET memory_ext.import_format = 'nothing';
SET memory_ext.import_on_error = 'perhaps';
\set VERBOSITY default
SET memory_ext.import_format = native;
INSERT INTO memory.import_documents VALUES ('{"account_id": "imp named", "what": 1, "messages": []}');
SELECT reason, path, message FROM memory.job_errors ORDER BY rejected_at DESC LIMIT 1;
RESET memory_ext.import_format;

-- one document by function: a rejection is a result
SELECT state, messages, reason, path, message, conversation_id IS NOT NULL AS has_id
FROM unnest('{"{\"account_id\": \"y\", \"messages\": [{\"role\": \"r\", \"content\": \"function\"}]}",
	"{\"account_id\": \"y\", \"messages\": [{\"role\": \"r\", \"content\": \"function\"}]}",
	"{\"account_id\": \"y\", \"messages\": [{\"role\": \"r\"}]}", "{\"account_id\": \"y\",", "", "[1]"}'::text[]) WITH ORDINALITY d (document, n),
	memory.import_document('imp', d.document) ORDER BY n;
SELECT state FROM memory.import_document(NULL, '{"account_id": "imp named", "messages": []}', 'native');
SELECT state FROM memory.import_document(NULL, '{"conversation_id": "00000000-0000-0000-0000-0000000000a6", "messages": []}');
SELECT state FROM memory.import_document('imp', NULL);
\set VERBOSITY terse
SELECT state FROM memory.import_document('imp', '{}', 'word');
\set VERBOSITY default

-- statements nest, and subtransactions take their documents along
RESET memory_ext.import_on_error;
SET memory_ext.import_account = 'imp nested';
CREATE FUNCTION pg_temp.nested(title text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO memory.import_documents VALUES (format('{"account_id": "x", "title": "%s", "messages": []}', title));
	BEGIN
		INSERT INTO memory.import_documents VALUES ('{"account_id": "x", "title": "gone", "messages": []}'), ('{"account_id": "x"');
	EXCEPTION WHEN invalid_text_representation THEN
		NULL;
	END;
	RETURN format('{"account_id": "x", "title": "outside %s", "messages": []}', title);
END
$$;
INSERT INTO memory.import_documents SELECT pg_temp.nested('inside ' || n) FROM generate_series(1, 2) n;
SELECT title FROM memory.conversations WHERE account_id = 'imp nested' ORDER BY 1;

-- more values than PostgreSQL's parser has room for: refused, with nothing said inside of strings counted
SELECT state, reason, message FROM memory.import_document('imp', '[' || repeat('0,', 8000001) || '0]', 'auto');
SELECT state FROM memory.import_document('imp', '{"messages": [{"role": "user", "content": "\"' || repeat(',,', 8000001) || '"}]}', 'auto');

SELECT bool_and(c.documents = c.imported + c.extended + c.unchanged + c.rejected) AS nothing_is_lost FROM memory.jobs c;
RESET memory_ext.import_account;

-- an account takes along what its imports rejected, and the texts of what nobody knows whose it was
SELECT account_id, count(*) > 0 AS rejects, bool_and(excerpt <> '') AS excerpts FROM memory.job_errors
WHERE account_id LIKE 'imp%' GROUP BY 1 ORDER BY 1;
SET memory_ext.import_on_error = skip;
INSERT INTO memory.import_documents VALUES ('{"account_id": "imp 2", "text": "secret"}');
SELECT account_id, excerpt FROM memory.job_errors WHERE account_id IS NULL AND excerpt ~ 'secret';
SELECT memory.forget('imp') ->> 'account_id' AS forgotten;
SELECT count(*) FROM memory.job_errors WHERE account_id = 'imp';
SELECT count(*) FROM memory.jobs WHERE account_id = 'imp';
SELECT DISTINCT path, message, excerpt FROM memory.job_errors WHERE account_id IS NULL;
SELECT count(*) > 0 AS others FROM memory.jobs;

-- jobs are not kept for ever
SELECT memory_store.trim_jobs() AS removed;
SET memory_ext.job_retention = 0;
SELECT memory_store.trim_jobs() > 0 AS removed;
SELECT (SELECT count(*) FROM memory.jobs) AS jobs, (SELECT count(*) FROM memory.job_errors) AS errors, (SELECT count(*) FROM memory_store.job_parts) AS parts;
RESET memory_ext.job_retention;
RESET memory_ext.import_on_error;
DELETE FROM memory.conversations WHERE account_id LIKE 'imp%';
