-- A model of memory.messages and memory.conversations: plain tables with the same
-- columns, and triggers that state the rules the plain way.  The same statement is
-- run against both (test/t/130_relation_model.pl), and model.difference compares.
--
-- Rules that hold for a row are in BEFORE ROW triggers; those that need to know the
-- whole statement are in AFTER STATEMENT triggers, by account, conversation and seq.
-- Triggers fire in every replication role, and not for what triggers write.
CREATE SCHEMA model;

CREATE TABLE model.conversations (
	conversation_id uuid, account_id text, title text, metadata jsonb, archived boolean, head_seq bigint,
	created_at timestamptz, updated_at timestamptz,
	message_count bigint, token_count bigint, content_bytes bigint,
	PRIMARY KEY (account_id, conversation_id)
);
CREATE TABLE model.messages (
	conversation_id uuid, account_id text, seq bigint, parent_seq bigint, role text, content text, model text,
	tokens integer, created_at timestamptz, message_id text, metadata jsonb,
	PRIMARY KEY (account_id, conversation_id, seq)
);
-- What a conversation remembers and does not show: the next number, and that it was deleted.
CREATE TABLE model.numbers (
	conversation_id uuid, account_id text,
	next_seq bigint NOT NULL DEFAULT 1, deleted boolean NOT NULL DEFAULT false,
	PRIMARY KEY (account_id, conversation_id)
);

CREATE FUNCTION model.refuse(state text, VARIADIC what text[] DEFAULT '{}') RETURNS void LANGUAGE plpgsql
	AS $$ BEGIN RAISE EXCEPTION USING errcode = state, message = concat_ws(' ', VARIADIC what); END $$;

CREATE FUNCTION model.check_keys(account_id text, metadata jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF account_id IS NULL THEN
		PERFORM model.refuse('22004', 'account_id');
	ELSIF octet_length(account_id) NOT BETWEEN 1 AND 255 THEN
		PERFORM model.refuse('22023', 'account_id');
	ELSIF jsonb_typeof(metadata) <> 'object' THEN
		PERFORM model.refuse('22023', 'metadata');
	END IF;
END $$;

-- The conversation's numbers, made when it is new; refuses one that is deleted.
CREATE FUNCTION model.numbers_of(conversation uuid, account text) RETURNS model.numbers LANGUAGE plpgsql AS $$
DECLARE
	known model.numbers;
BEGIN
	INSERT INTO model.numbers VALUES (conversation, account) ON CONFLICT DO NOTHING;
	SELECT * INTO known FROM model.numbers WHERE conversation_id = conversation AND account_id = account;
	IF known.deleted THEN
		PERFORM model.refuse('55000', 'conversation_id');
	END IF;
	RETURN known;
END $$;

-- The message that the next one answers: the head, or the last one while the head is still to come.
CREATE FUNCTION model.leaf_of(numbers model.numbers) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	head bigint := (SELECT c.head_seq FROM model.conversations c
		WHERE c.conversation_id = numbers.conversation_id AND c.account_id = numbers.account_id);
BEGIN
	IF head < numbers.next_seq THEN
		RETURN head;
	END IF;
	RETURN COALESCE((SELECT max(m.seq) FROM model.messages m WHERE m.conversation_id = numbers.conversation_id
		AND m.account_id = numbers.account_id AND m.seq < numbers.next_seq), 0);
END $$;

-- ---- messages ----

CREATE FUNCTION model.check_message(m model.messages) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM model.check_keys(m.account_id, m.metadata);
	IF m.role IS NULL OR m.content IS NULL THEN
		PERFORM model.refuse('22004', 'role or content');
	ELSIF octet_length(m.role) NOT BETWEEN 1 AND 64 OR m.tokens < 0 OR m.parent_seq < 0 OR NOT isfinite(m.created_at) THEN
		PERFORM model.refuse('22023', 'role, tokens, parent_seq or created_at');
	ELSIF octet_length(m.model) > 255 OR octet_length(m.message_id) > 255 THEN
		PERFORM model.refuse('54000', 'model or message_id');
	END IF;
END $$;

-- A message without a number has the next one at once, for RETURNING.
CREATE FUNCTION model.before_message_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	numbers model.numbers;
	last bigint;
BEGIN
	IF NEW.conversation_id IS NULL THEN
		PERFORM model.refuse('22004', 'conversation_id');
	ELSIF NEW.seq NOT BETWEEN 1 AND 4611686018427387903 THEN
		PERFORM model.refuse('22023', 'seq');
	END IF;
	-- who leaves the account out means the only one that has the conversation
	NEW.account_id := COALESCE(NEW.account_id, (SELECT max(n.account_id) FROM model.numbers n
		WHERE n.conversation_id = NEW.conversation_id HAVING count(*) = 1));
	PERFORM model.check_message(NEW);
	NEW.tokens := COALESCE(NEW.tokens, memory.estimate_tokens(NEW.content));
	NEW.created_at := COALESCE(NEW.created_at, statement_timestamp());
	numbers := model.numbers_of(NEW.conversation_id, NEW.account_id);
	IF NEW.seq IS NULL THEN
		-- what the statement has added so far
		SELECT max(m.seq) INTO last FROM model.messages m WHERE m.conversation_id = NEW.conversation_id
			AND m.account_id = NEW.account_id AND m.seq >= numbers.next_seq;
		NEW.seq := COALESCE(last + 1, numbers.next_seq);
		NEW.parent_seq := COALESCE(NEW.parent_seq, last, model.leaf_of(numbers));
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION model.message_before(m model.messages) RETURNS bigint LANGUAGE sql AS $$
	SELECT COALESCE(max(b.seq), 0) FROM model.messages b
	WHERE b.conversation_id = m.conversation_id AND b.account_id = m.account_id AND b.seq < m.seq
$$;

CREATE FUNCTION model.check_parent(m model.messages) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF m.parent_seq <> 0 AND (m.parent_seq >= m.seq OR NOT EXISTS (SELECT FROM model.messages p
		WHERE p.conversation_id = m.conversation_id AND p.account_id = m.account_id AND p.seq = m.parent_seq)) THEN
		PERFORM model.refuse('22023', 'parent_seq');
	END IF;
END $$;

-- A conversation's own bytes.
CREATE FUNCTION model.fields_bytes(c model.conversations) RETURNS bigint LANGUAGE sql AS $$
	SELECT COALESCE(octet_length(c.title), 0) + COALESCE(octet_length(c.metadata::text), 0)
$$;

-- Sets what is derived from the messages.
CREATE FUNCTION model.count_messages(conversation uuid, account text) RETURNS void LANGUAGE sql AS $$
	UPDATE model.conversations c SET (message_count, token_count, content_bytes) = (
		SELECT count(*), COALESCE(sum(tokens), 0), COALESCE(sum(octet_length(content) + COALESCE(octet_length(metadata::text), 0)), 0)
			+ model.fields_bytes(c)
		FROM model.messages m WHERE m.conversation_id = conversation AND m.account_id = account)
	WHERE c.conversation_id = conversation AND c.account_id = account
$$;

CREATE FUNCTION model.after_message_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	numbers model.numbers;
	conversation record;
	m model.messages;
	leaf bigint;
	last bigint;
	head bigint;
	pinned boolean;
BEGIN
	FOR conversation IN SELECT conversation_id AS id, account_id AS account, min(created_at) AS first_at,
		max(created_at) AS last_at FROM added GROUP BY 1, 2
	LOOP
		numbers := model.numbers_of(conversation.id, conversation.account);
		SELECT COALESCE(max(o.seq), 0) INTO last FROM model.messages o
			WHERE o.conversation_id = conversation.id AND o.account_id = conversation.account AND NOT EXISTS
			(SELECT FROM added a WHERE a.conversation_id = o.conversation_id AND a.account_id = o.account_id AND a.seq = o.seq);
		SELECT COALESCE(c.head_seq, 0) INTO head FROM model.conversations c
			WHERE c.conversation_id = conversation.id AND c.account_id = conversation.account;
		head := COALESCE(head, 0);
		pinned := head >= numbers.next_seq;
		leaf := CASE WHEN pinned THEN last ELSE head END;
		FOR m IN SELECT * FROM added a WHERE a.conversation_id = conversation.id AND a.account_id = conversation.account
			ORDER BY seq
		LOOP
			IF m.parent_seq IS NULL THEN
				UPDATE model.messages u SET parent_seq = CASE WHEN m.seq <= last THEN model.message_before(m) ELSE leaf END
					WHERE u.conversation_id = m.conversation_id AND u.account_id = m.account_id AND u.seq = m.seq;
			ELSE
				PERFORM model.check_parent(m);
			END IF;
			CONTINUE WHEN m.seq <= last;
			leaf := m.seq;
			last := m.seq;
			head := CASE WHEN pinned THEN head ELSE m.seq END;
			numbers.next_seq := greatest(numbers.next_seq, m.seq + 1);
		END LOOP;
		IF pinned AND head < numbers.next_seq AND NOT EXISTS (SELECT FROM model.messages h
			WHERE h.conversation_id = conversation.id AND h.account_id = conversation.account AND h.seq = head) THEN
			head := leaf;	-- the number that was promised did not come
		END IF;

		UPDATE model.numbers n SET next_seq = numbers.next_seq
			WHERE n.conversation_id = conversation.id AND n.account_id = conversation.account;
		INSERT INTO model.conversations AS c
			VALUES (conversation.id, conversation.account, NULL, NULL, false, head, conversation.first_at, conversation.last_at)
			ON CONFLICT (account_id, conversation_id) DO UPDATE
			SET head_seq = excluded.head_seq, updated_at = greatest(c.updated_at, excluded.updated_at);
		PERFORM model.count_messages(conversation.id, conversation.account);
	END LOOP;
	RETURN NULL;
END $$;

CREATE FUNCTION model.before_message_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF (NEW.conversation_id, NEW.account_id, NEW.seq) IS DISTINCT FROM (OLD.conversation_id, OLD.account_id, OLD.seq) THEN
		PERFORM model.refuse('0A000', 'key');
	END IF;
	PERFORM model.check_message(NEW);
	IF NEW.tokens IS NULL OR (NEW.content <> OLD.content AND NEW.tokens = OLD.tokens) THEN
		NEW.tokens := memory.estimate_tokens(NEW.content);
	END IF;
	NEW.created_at := COALESCE(NEW.created_at, statement_timestamp());
	NEW.parent_seq := COALESCE(NEW.parent_seq, model.message_before(NEW));
	IF NEW.parent_seq <> OLD.parent_seq THEN
		PERFORM model.check_parent(NEW);
	END IF;
	RETURN NEW;
END $$;

CREATE FUNCTION model.after_message_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE model.conversations c SET updated_at = greatest(c.updated_at, statement_timestamp())
		FROM changed u WHERE u.conversation_id = c.conversation_id AND u.account_id = c.account_id;
	PERFORM model.count_messages(conversation_id, account_id)
		FROM (SELECT DISTINCT conversation_id, account_id FROM changed) u;
	RETURN NULL;
END $$;

-- The answers of a deleted message answer its parent; so does the branch's next message.
CREATE FUNCTION model.after_message_delete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	conversation record;
	m model.messages;
	head bigint;
	pinned boolean;
BEGIN
	FOR conversation IN SELECT DISTINCT conversation_id AS id, account_id AS account FROM removed
	LOOP
		SELECT c.head_seq, c.head_seq >= n.next_seq INTO head, pinned
			FROM model.conversations c JOIN model.numbers n USING (conversation_id, account_id)
			WHERE c.conversation_id = conversation.id AND c.account_id = conversation.account;
		FOR m IN SELECT * FROM removed r WHERE r.conversation_id = conversation.id AND r.account_id = conversation.account
			ORDER BY seq DESC
		LOOP
			UPDATE model.messages a SET parent_seq = m.parent_seq WHERE a.conversation_id = m.conversation_id
				AND a.account_id = m.account_id AND a.parent_seq = m.seq;
			head := CASE WHEN head = m.seq AND NOT pinned THEN m.parent_seq ELSE head END;
		END LOOP;
		IF head = 0 THEN
			SELECT max(l.seq) INTO head FROM model.messages l
				WHERE l.conversation_id = conversation.id AND l.account_id = conversation.account;
		END IF;
		UPDATE model.conversations c SET head_seq = head, updated_at = greatest(c.updated_at, statement_timestamp())
			WHERE c.conversation_id = conversation.id AND c.account_id = conversation.account;
		PERFORM model.count_messages(conversation.id, conversation.account);
	END LOOP;
	RETURN NULL;
END $$;

CREATE TRIGGER before_insert BEFORE INSERT ON model.messages FOR EACH ROW
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.before_message_insert();
CREATE TRIGGER after_insert AFTER INSERT ON model.messages REFERENCING NEW TABLE AS added FOR EACH STATEMENT
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.after_message_insert();
CREATE TRIGGER before_update BEFORE UPDATE ON model.messages FOR EACH ROW
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.before_message_update();
CREATE TRIGGER after_update AFTER UPDATE ON model.messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.after_message_update();
CREATE TRIGGER after_delete AFTER DELETE ON model.messages REFERENCING OLD TABLE AS removed FOR EACH STATEMENT
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.after_message_delete();

-- ---- conversations ----

CREATE FUNCTION model.before_conversation_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM model.check_keys(NEW.account_id, NEW.metadata);
	PERFORM model.numbers_of(NEW.conversation_id, NEW.account_id);
	IF NOT isfinite(NEW.created_at) OR NOT isfinite(NEW.updated_at) OR NEW.head_seq < 1 THEN
		PERFORM model.refuse('22023', 'created_at, updated_at or head_seq');
	END IF;
	NEW.archived := COALESCE(NEW.archived, false);
	NEW.created_at := COALESCE(NEW.created_at, statement_timestamp());
	NEW.updated_at := COALESCE(NEW.updated_at, NEW.created_at);
	NEW.message_count := 0;
	NEW.token_count := 0;
	NEW.content_bytes := model.fields_bytes(NEW);
	RETURN NEW;
END $$;

CREATE FUNCTION model.before_conversation_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	numbers model.numbers;
BEGIN
	IF (NEW.conversation_id, NEW.account_id, NEW.message_count, NEW.token_count, NEW.content_bytes)
		IS DISTINCT FROM (OLD.conversation_id, OLD.account_id, OLD.message_count, OLD.token_count, OLD.content_bytes) THEN
		PERFORM model.refuse('0A000', 'key or derived');
	ELSIF NEW.archived IS NULL OR NEW.created_at IS NULL OR NEW.updated_at IS NULL
		OR (NEW.head_seq IS NULL AND OLD.head_seq IS NOT NULL) THEN
		PERFORM model.refuse('22004', 'archived, head_seq, created_at or updated_at');
	ELSIF NOT isfinite(NEW.created_at) OR NOT isfinite(NEW.updated_at) THEN
		PERFORM model.refuse('22023', 'created_at or updated_at');
	END IF;
	PERFORM model.check_keys(NEW.account_id, NEW.metadata);
	IF NEW.head_seq IS DISTINCT FROM OLD.head_seq THEN
		numbers := model.numbers_of(NEW.conversation_id, NEW.account_id);
		IF NOT (NEW.message_count = 0 AND NEW.head_seq >= numbers.next_seq) AND NOT EXISTS (SELECT FROM model.messages m
			WHERE m.conversation_id = NEW.conversation_id AND m.account_id = NEW.account_id AND m.seq = NEW.head_seq) THEN
			PERFORM model.refuse('22023', 'head_seq');
		END IF;
	END IF;
	IF NEW.updated_at = OLD.updated_at THEN
		NEW.updated_at := statement_timestamp();
	END IF;
	NEW.content_bytes := OLD.content_bytes - model.fields_bytes(OLD) + model.fields_bytes(NEW);
	RETURN NEW;
END $$;

CREATE FUNCTION model.after_conversation_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM model.messages m WHERE m.conversation_id = OLD.conversation_id AND m.account_id = OLD.account_id;
	UPDATE model.numbers n SET deleted = true WHERE n.conversation_id = OLD.conversation_id AND n.account_id = OLD.account_id;
	RETURN NULL;
END $$;

CREATE TRIGGER before_insert BEFORE INSERT ON model.conversations FOR EACH ROW
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.before_conversation_insert();
CREATE TRIGGER before_update BEFORE UPDATE ON model.conversations FOR EACH ROW
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.before_conversation_update();
CREATE TRIGGER after_delete AFTER DELETE ON model.conversations FOR EACH ROW
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION model.after_conversation_delete();

ALTER TABLE model.messages ENABLE ALWAYS TRIGGER before_insert;
ALTER TABLE model.messages ENABLE ALWAYS TRIGGER after_insert;
ALTER TABLE model.messages ENABLE ALWAYS TRIGGER before_update;
ALTER TABLE model.messages ENABLE ALWAYS TRIGGER after_update;
ALTER TABLE model.messages ENABLE ALWAYS TRIGGER after_delete;
ALTER TABLE model.conversations ENABLE ALWAYS TRIGGER before_insert;
ALTER TABLE model.conversations ENABLE ALWAYS TRIGGER before_update;
ALTER TABLE model.conversations ENABLE ALWAYS TRIGGER after_delete;

-- ---- comparing ----

-- Times that the test gives are of long ago; one that was filled in is only known to be later.
CREATE FUNCTION model.shown(moment timestamptz) RETURNS text LANGUAGE sql STABLE
	AS $$ SELECT CASE WHEN moment < '2020-01-01' THEN moment::text ELSE 'set' END $$;

-- What differs in the conversations (NULL: in all), a line for each row that only one side has.
CREATE FUNCTION model.difference(ids uuid[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	WITH stored AS MATERIALIZED (
		SELECT conversation_id, account_id, seq, parent_seq, role, content, m.model, tokens,
			model.shown(created_at) AS created, message_id, metadata
		FROM memory.messages m WHERE ids IS NULL OR conversation_id = ANY (ids)
	), expected AS MATERIALIZED (
		SELECT conversation_id, account_id, seq, parent_seq, role, content, m.model, tokens,
			model.shown(created_at) AS created, message_id, metadata
		FROM model.messages m WHERE ids IS NULL OR conversation_id = ANY (ids)
	)
	SELECT left('only stored: ' || d::text, 1000) FROM (TABLE stored EXCEPT ALL TABLE expected) d
	UNION ALL SELECT left('only expected: ' || d::text, 1000) FROM (TABLE expected EXCEPT ALL TABLE stored) d;

	RETURN QUERY
	WITH stored AS MATERIALIZED (
		SELECT conversation_id, account_id, title, metadata, archived, head_seq, model.shown(created_at) AS created,
			model.shown(updated_at) AS updated, message_count, token_count, content_bytes
		FROM memory.conversations WHERE ids IS NULL OR conversation_id = ANY (ids)
	), expected AS MATERIALIZED (
		SELECT conversation_id, account_id, title, metadata, archived, head_seq, model.shown(created_at) AS created,
			model.shown(updated_at) AS updated, message_count, token_count, content_bytes
		FROM model.conversations WHERE ids IS NULL OR conversation_id = ANY (ids)
	)
	SELECT left('only stored: ' || d::text, 1000) FROM (TABLE stored EXCEPT ALL TABLE expected) d
	UNION ALL SELECT left('only expected: ' || d::text, 1000) FROM (TABLE expected EXCEPT ALL TABLE stored) d;
END $$;
