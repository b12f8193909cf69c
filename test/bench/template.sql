-- The database that every database of the benchmark is a copy of: the extension, and beside it
-- what an application would make for itself.
--
--	psql -v texts=texts.csv -f template.sql

\set load_texts '\\copy bench.texts_loaded (content) from ''' :texts ''' csv header'

CREATE EXTENSION memory_ext;

CREATE SCHEMA plain;
CREATE TABLE plain.conversations (
	id uuid PRIMARY KEY,
	account_id text NOT NULL,
	title text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversations_recent ON plain.conversations (account_id, updated_at DESC);
CREATE TABLE plain.messages (
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	conversation_id uuid NOT NULL,
	seq bigint NOT NULL,
	role text NOT NULL,
	content text NOT NULL,
	tokens integer,
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (conversation_id, seq)
);
CREATE TABLE plain.usage (
	account_id text,
	day date,
	messages bigint NOT NULL,
	tokens bigint NOT NULL,
	PRIMARY KEY (account_id, day)
);

-- Where a bare INSERT takes its seq from, behind any that the function counts.
CREATE SEQUENCE plain.client_seq START 1000000;

-- The conversation's row first: its lock is what makes max(seq) + 1 safe.
CREATE FUNCTION plain.append(account text, conversation uuid, message_role text, message text)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	estimated integer := octet_length(message) / 4;
	new_seq bigint;
BEGIN
	UPDATE plain.conversations SET updated_at = now() WHERE id = conversation;
	SELECT COALESCE(max(seq), 0) + 1 INTO new_seq FROM plain.messages WHERE conversation_id = conversation;
	INSERT INTO plain.messages (conversation_id, seq, role, content, tokens)
		VALUES (conversation, new_seq, message_role, message, estimated);
	INSERT INTO plain.usage AS u VALUES (account, current_date, 1, estimated)
		ON CONFLICT (account_id, day)
		DO UPDATE SET messages = u.messages + 1, tokens = u.tokens + excluded.tokens;
	RETURN new_seq;
END
$$;

CREATE SCHEMA bench;

-- The id of conversation number n: scattered, as ids are, and cheaper than a hash, so that it
-- weighs little in what is measured.  test/bench/prepare_files makes the same.
CREATE FUNCTION bench.id(n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
	SELECT rpad((n * 2654435761 % 4294967296 + 4294967296)::text, 32, '0')::uuid
$$;

-- The texts that appends write, as a constant: folded when a statement is planned, so that
-- neither side pays for looking them up.
CREATE TABLE bench.texts_loaded (content text NOT NULL);
:load_texts
DO $$
DECLARE
	texts text[];
BEGIN
	SELECT array_agg(content) INTO texts FROM bench.texts_loaded;
	FOR i IN cardinality(texts) .. 255 LOOP
		texts := texts || texts[1 + i % cardinality(texts)];
	END LOOP;
	EXECUTE format('CREATE FUNCTION bench.texts() RETURNS text[] IMMUTABLE LANGUAGE sql AS %L',
		format('SELECT %L::text[]', texts));
END
$$;
DROP TABLE bench.texts_loaded;
VACUUM (ANALYZE);
