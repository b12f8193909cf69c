-- Fails unless both sides hold the same messages and give the same context windows.
DO $$
DECLARE
	different bigint;
BEGIN
	SELECT count(*) INTO different
	FROM plain.messages p FULL JOIN memory.messages m USING (conversation_id, seq)
	WHERE (p.role, p.content) IS DISTINCT FROM (m.role, m.content);
	IF different > 0 THEN
		RAISE EXCEPTION '% messages differ between memory_ext and the plain tables', different;
	END IF;

	SELECT count(*) INTO different FROM memory.conversations c
	WHERE c.account_id = 'long' AND
		(SELECT array_agg(seq ORDER BY seq)
		FROM memory.context(c.account_id, c.conversation_id, 4000)) IS DISTINCT FROM
		(SELECT array_agg(seq ORDER BY seq) FROM (
			SELECT seq, sum(tokens) OVER (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING) AS total
			FROM plain.messages p WHERE p.conversation_id = c.conversation_id) w
		WHERE total <= 4000);
	IF different > 0 THEN
		RAISE EXCEPTION '% context windows differ between memory_ext and the plain tables', different;
	END IF;
END
$$;
