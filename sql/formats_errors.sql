-- What the chat formats refuse, with its place; large and deep documents.
\set VERBOSITY default

CREATE FUNCTION pg_temp.refused(doc jsonb, format text DEFAULT 'auto') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	why text;
	place text;
BEGIN
	RETURN 'read: ' || memory.convert(doc, format, 'native')::text;
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, place = PG_EXCEPTION_DETAIL;
	RETURN why || ' ' || coalesce(place, '');
END $$;

-- of no format
SELECT doc, memory.document_format(doc) FROM unnest('{"null", "5", "\"text\"", "[]", "[1, {}]", "{}", "{\"a\": 1}", "{\"text\": \"user: hi\"}", "{\"role\": \"user\", \"content\": \"hi\"}"}'::jsonb[]) doc;
SELECT pg_temp.refused('{"messages_display": "user: hi"}');

-- each with a reason and a place
SELECT pg_temp.refused(doc) FROM (VALUES
	('{"messages": []}'::jsonb), ('{"messages": {}}'), ('{"messages": ["x"]}'), ('{"messages": [{"content": "x"}]}'),
	('{"messages": [{"role": "user", "content": "a"}, {"role": "wizard", "content": "b"}]}'),
	('{"messages": [{"role": 1}]}'), ('{"messages": [{"role": "user", "content": 5}]}'), ('{"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}'),
	('{"messages": [{"role": "user", "content": "x", "tool_calls": {}}]}'), ('{"messages": [{"role": "user", "content": "x", "name": []}]}'),
	('{"conversations": []}'), ('{"conversations": [{"from": "human"}]}'), ('{"conversations": [{"from": "alien", "value": "x"}]}'), ('{"conversations": [{"from": "human", "value": {}}]}'),
	('{"title": "no mapping", "create_time": 1, "update_time": 2}'), ('{"mapping": {}}'), ('{"mapping": []}'), ('{"mapping": {"a": {"message": null}}}'), ('{"mapping": {"a b": 5}}'),
	('{"mapping": {"a": {"message": {"author": {"role": "user"}}, "parent": "gone"}}}'),
	('{"mapping": {"a": {"parent": "b"}, "b": {"parent": "c", "message": {"author": {"role": "user"}}}, "c": {"parent": "a"}}}'),
	('{"mapping": {"a": {"message": {"author": {"role": "user"}, "create_time": "soon"}}}}'), ('{"mapping": {"a": {"message": {"author": {"role": "user"}, "create_time": 1e300}}}}'),
	('{"mapping": {"a": {"message": {"author": {}}}}}'), ('{"mapping": {"a": {"message": {}}}}'), ('{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": "x"}}}}'),
	('{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": [true, 1]}}}}}'), ('{"title": [], "mapping": {"a": {"message": {"author": {"role": "user"}}}}}'),
	('{"chat_messages": []}'), ('{"chat_messages": null}'), ('{"chat_messages": [{"sender": "robot"}]}'), ('{"chat_messages": [{"sender": "human", "text": 1}]}'), ('{"chat_messages": [{"sender": "human", "content": {}}]}'),
	('{"chat_messages": [{"sender": "human", "created_at": "2025-13-01T00:00:00Z"}]}'), ('{"chat_messages": [{"uuid": "a", "sender": "human"}, {"uuid": "a", "sender": "human"}]}'),
	('{"chat_messages": [{"uuid": "a", "sender": "human", "parent_message_uuid": "b"}]}'), ('{"chat_messages": [{"uuid": "a", "sender": "human", "parent_message_uuid": "b"}, {"uuid": "b", "sender": "human", "parent_message_uuid": "a"}]}'),
	('{"chat_messages": [{"uuid": "a", "sender": "human", "parent_message_uuid": 7}]}'),
	('{"type": "martian", "data": {}}'), ('{"type": "human", "data": {"content": true}}'), ('{"session_id": 5, "message": {}}'), ('{"session_id": "s", "message": "{broken"}'), ('{"session_id": "s", "message": "[1]"}'),
	('{"session_id": "s", "message": "{\"type\": \"human\", \"data\": {\"content\": \"\\u0000\"}}"}'), ('[{"type": "human", "content": "a"}, {"x": 1}]'), ('[{"session_id": "a", "message": {"type": "human", "content": "x"}}, {"session_id": "b", "message": {"type": "human", "content": "x"}}]'),
	('{"session_id": "s", "message_data": "not JSON"}'), ('{"message_data": "{}"}'), ('[{"type": "function_call", "name": "f"}]'), ('[{"type": "function_call"}]'), ('[{"type": "message"}]'), ('[{"type": "reasoning"}, 5]'),
	('{"role": "user", "parts": [], "chatId": 5}'), ('[{"role": "owl", "parts": []}]'), ('[{"role": "user", "parts": []}, {"role": "user", "parts": {}}]'), ('{"messages": [{"role": "user", "parts": [], "createdAt": "then"}]}'),
	('{"history": {"messages": {}}}'), ('{"chat": {"history": {"messages": {"a": 1}}}}'), ('{"history": {"messages": {"a": {"role": "user", "content": "x", "parentId": "b"}}}}'), ('{"history": {"messages": {"a": {"role": "user", "content": "x", "parentId": "a"}}}}'), ('{"history": {"currentId": 1, "messages": {"a": {"role": "user", "content": "x"}}}}'),
	('{"messageId": "a"}'), ('{"conversationId": "c", "messages": [1]}'), ('{"conversationId": "c", "messages": [{"isCreatedByUser": "yes"}]}'), ('{"conversationId": "c", "messages": [{"messageId": "a", "parentMessageId": "b"}]}'), ('{"conversationId": "c", "messages": [{"messageId": "a", "tokenCount": "many"}]}')
) AS v (doc);
-- named, though it is another one
SELECT f AS format, pg_temp.refused('{"some": "thing"}', f), pg_temp.refused('5', f) = pg_temp.refused('"x"', f) AS same
FROM unnest('{openai,sharegpt,chatgpt,claude,langchain,agents,vercel,openwebui,librechat}'::text[]) f;

-- nested deeper than metadata may be; ids that are too long for the column come back, too
SELECT pg_temp.refused(('{"messages": [{"role": "user", "content": "x", "deep": ' || repeat('[', 600) || repeat(']', 600) || '}]}')::jsonb);
SELECT pg_temp.refused(('{"messages": [{"role": "user", "content": [' || repeat('[', 600) || repeat(']', 600) || ']}]}')::jsonb);
SELECT pg_temp.refused(('{"messages": [{"role": "user", "content": "x", "tool_calls": ' || repeat('[', 600) || repeat(']', 600) || '}]}')::jsonb);
SELECT pg_temp.refused(('{"chat_messages": [{"sender": "assistant", "content": [{"type": "tool_use", "name": "f", "input": ' || repeat('[', 600) || repeat(']', 600) || '}]}]}')::jsonb);
SELECT memory.convert(doc, 'claude', 'claude') = doc AS lossless, memory.convert(doc, 'claude', 'native') #> '{messages,1}' AS second
FROM (SELECT jsonb_build_object('chat_messages', jsonb_build_array(jsonb_build_object('uuid', repeat('ü', 200), 'sender', 'human', 'text', 'a'),
	jsonb_build_object('uuid', 'b', 'sender', 'human', 'text', 'b', 'parent_message_uuid', repeat('ü', 200)))) AS doc) d;

-- large trees: a chain, a comb, everything below one node, answers first
CREATE FUNCTION pg_temp.parent(shape text, i int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE shape WHEN 'chain' THEN i - 1 WHEN 'comb' THEN greatest(i - 1 - i % 2, 0) WHEN 'star' THEN CASE WHEN i > 1 THEN 1 ELSE 0 END ELSE i + 1 END
$$;
CREATE TEMP TABLE large AS
SELECT shape, 'chatgpt' AS format, jsonb_build_object('current_node', 'n7', 'mapping', jsonb_object_agg('n' || i, jsonb_build_object('parent', 'n' || pg_temp.parent(shape, i),
	'message', jsonb_build_object('id', 'n' || i, 'author', '{"role": "user"}'::jsonb, 'create_time', i, 'content', jsonb_build_object('content_type', 'text', 'parts', jsonb_build_array('text ' || i))))) ||
	jsonb_build_object('n' || CASE shape WHEN 'reverse' THEN 20001 ELSE 0 END, '{"message": null}'::jsonb)) AS doc
FROM generate_series(1, 20000) i, unnest('{chain,comb,star,reverse}'::text[]) shape GROUP BY shape
UNION ALL
SELECT shape, 'claude', jsonb_build_object('uuid', 'x', 'chat_messages', jsonb_agg(jsonb_build_object('uuid', i::text, 'sender', 'human', 'text', 'text ' || i,
	'parent_message_uuid', CASE WHEN pg_temp.parent(shape, i) BETWEEN 1 AND 20000 THEN pg_temp.parent(shape, i)::text END) ORDER BY i))
FROM generate_series(1, 20000) i, unnest('{chain,comb,star,reverse}'::text[]) shape GROUP BY shape
UNION ALL
SELECT shape, 'librechat', jsonb_build_object('conversationId', 'x', 'messages', jsonb_agg(jsonb_build_object('messageId', i::text, 'isCreatedByUser', true, 'text', 'text ' || i,
	'parentMessageId', CASE WHEN pg_temp.parent(shape, i) BETWEEN 1 AND 20000 THEN pg_temp.parent(shape, i)::text END) ORDER BY i))
FROM generate_series(1, 20000) i, unnest('{chain,comb,star,reverse}'::text[]) shape GROUP BY shape
UNION ALL
SELECT shape, 'openwebui', jsonb_build_object('history', jsonb_build_object('messages', jsonb_object_agg(i::text, jsonb_build_object('id', i::text, 'role', 'user', 'content', 'text ' || i,
	'parentId', CASE WHEN pg_temp.parent(shape, i) BETWEEN 1 AND 20000 THEN pg_temp.parent(shape, i)::text END))))
FROM generate_series(1, 20000) i, unnest('{chain,comb,star,reverse}'::text[]) shape GROUP BY shape;
SELECT format, shape, memory.document_format(doc) = format AS told, memory.convert(doc, format, format) = doc AS lossless FROM large ORDER BY 1, 2;

-- deep nesting is read without recursion, and written as a list once it would be too deep
SELECT memory.convert(doc, 'librechat', 'librechat') = doc AS lossless
FROM (SELECT ('{"conversationId": "x", "messages": [' || string_agg('{"messageId": "' || i || '", "parentMessageId": "' || CASE i WHEN 1 THEN '00000000-0000-0000-0000-000000000000' ELSE (i - 1)::text END || '", "text": "", "isCreatedByUser": true, "children": [', '' ORDER BY i) || repeat(']}', 400) || ']}')::jsonb AS doc FROM generate_series(1, 400) i) d;
SELECT back -> 'recursive' AS recursive, jsonb_array_length(back -> 'messages') AS messages
FROM (SELECT memory.convert(('{"conversationId": "x", "messages": [' || string_agg('{"messageId": "' || i || '", "parentMessageId": "' || CASE i WHEN 1 THEN '00000000-0000-0000-0000-000000000000' ELSE (i - 1)::text END || '", "text": "", "isCreatedByUser": true, "children": [', '' ORDER BY i) || repeat(']}', 501) || ']}')::jsonb, 'librechat', 'librechat') AS back FROM generate_series(1, 501) i) d;
