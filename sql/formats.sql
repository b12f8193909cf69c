-- The chat formats: detection, losslessness, what formats share, hostile values.
-- Columns and errors of each format: formats_lists, formats_trees.
\set VERBOSITY default
SET timezone = 'UTC';
-- what formats cannot hold is told in formats_losses
SET client_min_messages = warning;

CREATE TEMP TABLE fixtures (name text PRIMARY KEY, format text, doc jsonb);
INSERT INTO fixtures VALUES
('openai', 'openai', '{"messages": [
	{"role": "developer", "content": "Be brief."},
	{"role": "user", "content": [{"type": "text", "text": "What is it"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, {"type": "text", "text": "like in Köln?"}], "name": "ann"},
	{"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Köln\"}"}}]},
	{"role": "tool", "tool_call_id": "c1", "content": "{\"degrees\": 7}"},
	{"role": "assistant", "content": "Seven degrees.", "weight": 1, "refusal": null}]}'),
('openai with id and tools', 'openai', '{"id": "chat-17", "parallel_tool_calls": false, "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
	"messages": [{"role": "user", "content": "hi"}, {"role": "assistant"}, {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]}, {"role": "function", "name": "f", "content": ""}]}'),
('openai, the array alone', 'openai', '[{"role": "system", "content": ""}, {"role": "user", "content": "hi"}]'),
('openai, function_call', 'openai', '{"messages": [{"role": "user", "content": "Köln?"}, {"role": "assistant", "content": null, "function_call": {"name": "weather", "arguments": "{\"city\": \"Köln\"}"}}, {"role": "function", "name": "weather", "content": "7"}, {"role": "assistant", "content": "Seven."}]}'),
('anthropic', 'anthropic', '{"model": "claude-x", "max_tokens": 1024, "system": [{"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}}], "tools": [{"name": "weather", "input_schema": {"type": "object"}}], "messages": [
	{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}, {"type": "text", "text": "Weather here?"}]},
	{"role": "assistant", "content": [{"type": "thinking", "thinking": "Ask.", "signature": "EqQB"}, {"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Köln"}}]},
	{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "7"}]}, {"type": "text", "text": "And tomorrow?"}]},
	{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-y", "usage": {"output_tokens": 3}, "content": [{"type": "text", "text": "Unknown."}]}]}'),
('anthropic, the array alone', 'anthropic', '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}]'),
('anthropic, a system string', 'anthropic', '{"system": "Be brief.", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": ""}]}'),
('sharegpt', 'sharegpt', '{"id": "identity_0", "conversations": [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "A model."}]}'),
('sharegpt with tools', 'sharegpt', '{"system": "You may call tools.", "tools": "[{\"name\": \"weather\"}]", "conversations": [
	{"from": "human", "value": "Köln?"}, {"from": "function_call", "value": "{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}"},
	{"from": "observation", "value": "{\"degrees\": 7}"}, {"from": "chatgpt", "value": "Seven.", "weight": 0.5}, {"from": "system", "value": null}]}'),
('chatgpt', 'chatgpt', '{"id": "c-1", "conversation_id": "c-1", "title": "A tree", "create_time": 1714585031.148505, "update_time": 1714585060.8793081, "is_archived": true, "current_node": "n6", "moderation_results": [], "default_model_slug": "auto", "mapping": {
	"n0": {"id": "n0", "message": null, "parent": null, "children": ["n1"]},
	"n1": {"id": "n1", "parent": "n0", "children": ["n2"], "message": {"id": "n1", "author": {"role": "system", "name": null, "metadata": {}}, "create_time": null, "update_time": null, "content": {"content_type": "text", "parts": [""]}, "status": "finished_successfully", "end_turn": true, "weight": 0, "metadata": {"is_visually_hidden_from_conversation": true}, "recipient": "all"}},
	"n2": {"id": "n2", "parent": "n1", "children": ["n3", "n4"], "message": {"id": "m2", "author": {"role": "user", "name": null, "metadata": {}}, "create_time": 1714585032.5, "content": {"content_type": "multimodal_text", "parts": ["Look at this", {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f1", "width": 8}, "", "and this"]}, "metadata": {}}},
	"n3": {"id": "n3", "parent": "n2", "children": [], "message": {"id": "n3", "author": {"role": "assistant", "name": null, "metadata": {}}, "create_time": 1714585040.0, "content": {"content_type": "text", "parts": ["Old answer"]}, "metadata": {"model_slug": "gpt-4"}}},
	"n4": {"id": "n4", "parent": "n2", "children": ["n5"], "message": {"id": "n4", "author": {"role": "assistant", "name": null, "metadata": {}}, "create_time": 1714585041.25, "content": {"content_type": "code", "language": "json", "text": "{\"q\": 1}"}, "recipient": "browser", "metadata": {"model_slug": "gpt-4"}}},
	"n5": {"id": "n5", "parent": "n4", "children": ["n6"], "message": {"id": "n5", "author": {"role": "tool", "name": "browser", "metadata": {}}, "create_time": 1714585042.125, "content": {"content_type": "execution_output", "text": "found"}}},
	"n6": {"id": "n6", "parent": "n5", "children": [], "message": {"id": "n6", "author": {"role": "assistant", "name": null, "metadata": {}}, "create_time": 1714585043.0, "content": {"content_type": "text", "parts": ["New answer"]}, "metadata": {"model_slug": "o3"}}}}}'),
('chatgpt with holes', 'chatgpt', '{"title": null, "create_time": null, "current_node": "gone", "mapping": {
	"a": {"message": {"author": {"role": "user"}, "content": {"content_type": "user_editable_context", "user_profile": "P", "user_instructions": "I"}}, "children": ["b", "nowhere"]},
	"b": {"id": "b", "message": {"id": "b", "author": {"role": "assistant", "metadata": {"real_author": "x"}}, "content": {"content_type": "thoughts", "thoughts": [{"summary": "S", "content": "C", "chunks": [], "finished": true}]}, "create_time": 5}},
	"c": {"id": "c", "parent": "b", "message": null, "children": []},
	"d": {"id": "dd", "parent": "c", "children": null, "message": {"id": "d", "author": {"role": "assistant", "name": null, "metadata": {}}, "content": {"content_type": "reasoning_recap", "content": "Thought for 5s"}}},
	"e": {"id": "e", "parent": null, "extra": 1, "message": {"id": "e", "author": {"role": "user", "name": "n", "metadata": {}}, "content": {"content_type": "strange", "what": [1]}}},
	"f": {"id": "f", "parent": "e", "message": {"id": "f", "author": {"role": "tool"}, "content": null}},
	"g": {"id": "g", "parent": "e", "message": {"id": "g", "author": {"role": "user"}}}}}'),
('claude', 'claude', '{"uuid": "37f8a88b-17fc-495a-87a0-ca6e0822e8f3", "name": "A tree", "summary": "", "account": {"uuid": "23b8c1e9-3924-46de-beb1-3b9046685257"}, "created_at": "2025-01-02T03:04:05.678901Z", "updated_at": "2025-01-02T03:05:05+00:00", "chat_messages": [
	{"uuid": "u1", "sender": "human", "text": "Read this", "content": [{"type": "text", "text": "Read this", "citations": []}], "created_at": "2025-01-02T03:04:05.678901Z", "updated_at": "2025-01-02T03:04:05.678901Z", "attachments": [{"file_name": "a.txt", "file_size": 3, "file_type": "txt", "extracted_content": "abc"}], "files": [{"file_name": "b.png"}], "parent_message_uuid": "00000000-0000-4000-8000-000000000000"},
	{"uuid": "u2", "sender": "assistant", "text": "Let me look.\n\nThis block is not supported.\n\nIt says abc.", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "t1", "name": "look", "input": {"file": "a.txt"}, "message": null}, {"type": "tool_result", "tool_use_id": "t1", "name": "look", "content": [{"type": "text", "text": "abc"}], "is_error": false}, {"type": "text", "text": "It says abc."}], "created_at": "2025-01-02T03:04:06Z", "attachments": [], "files": [], "parent_message_uuid": "u1"},
	{"uuid": "u3", "sender": "assistant", "text": "Second answer", "content": [{"type": "text", "text": "Second answer"}], "created_at": "2025-01-02T03:04:07.5Z", "attachments": [], "files": [], "parent_message_uuid": "u1"}]}'),
('claude, older and linear', 'claude', '{"uuid": "x", "name": "", "created_at": "2023-08-01T12:00:00.000000+00:00", "updated_at": "2023-07-01T00:00:00", "chat_messages": [
	{"uuid": "u1", "sender": "human", "text": "hi", "created_at": "2023-08-01T12:00:00.000000+00:00", "attachments": []},
	{"uuid": "u2", "sender": "assistant", "text": "hello", "content": [], "created_at": null}]}'),
('claude, answers first', 'claude', '{"uuid": "y", "chat_messages": [
	{"uuid": "u2", "sender": "assistant", "text": "hello", "parent_message_uuid": "u1"},
	{"uuid": "u1", "sender": "human", "text": "", "content": [], "parent_message_uuid": null}]}'),
('claude, pasted text', 'claude', '{"uuid": "z", "name": "Pasted", "chat_messages": [
	{"uuid": "u1", "sender": "human", "text": "Shorter, please.", "content": [{"type": "text", "text": "Shorter, please."}], "attachments": [{"file_name": "", "file_type": "txt", "extracted_content": "A long letter.\n\nWith two paragraphs."}, {"file_name": "b.txt", "extracted_content": ""}, {"file_name": "c.txt", "extracted_content": "More."}], "files": []},
	{"uuid": "u2", "sender": "human", "text": "", "content": [], "attachments": [{"extracted_content": "Only pasted"}]},
	{"uuid": "u3", "sender": "assistant", "text": "Short.", "content": [{"type": "text", "text": "Short."}], "attachments": []}]}'),
('langchain item', 'langchain', '{"type": "human", "data": {"content": "hi", "additional_kwargs": {}, "response_metadata": {}, "type": "human", "name": null, "id": null}}'),
('langchain array', 'langchain', '[{"type": "human", "data": {"content": "hi", "type": "human", "id": "h1"}},
	{"type": "ai", "data": {"content": [{"type": "text", "text": "Wait"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}, "so"], "type": "ai", "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}], "invalid_tool_calls": [], "usage_metadata": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}, "response_metadata": {"model_name": "gpt-4o"}}},
	{"type": "tool", "data": {"content": "42", "type": "tool", "tool_call_id": "c1", "status": "success", "name": "f"}},
	{"type": "AIMessageChunk", "data": {"content": "", "type": "AIMessageChunk", "tool_calls": [], "id": 7}}]'),
('langchain flat', 'langchain', '[{"content": "hi", "type": "human", "additional_kwargs": {}}, {"content": "ho", "type": "ai", "tool_calls": [{"name": "f", "args": {}}]}]'),
('agents', 'agents', '[{"role": "user", "content": "Köln?"}, {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Ask."}], "encrypted_content": "gA"},
	{"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{\"city\":\"Köln\"}", "status": "completed"},
	{"type": "function_call_output", "call_id": "c1", "output": "7"}, {"type": "web_search_call", "id": "ws_1", "action": {"query": "x"}},
	{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Seven.", "annotations": []}]},
	{"__enc__": 1, "v": 1, "kid": "k", "payload": "AAAA"}, {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": "data:"}]}]'),
('agents, one item', 'agents', '{"__enc__": 1, "v": 1, "kid": "k", "payload": "AAAA"}'),
('vercel', 'vercel', '{"id": "chat-1", "title": "UI", "visibility": "private", "createdAt": "2025-01-02T03:04:05.678Z", "messages": [
	{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Köln?"}, {"type": "file", "mediaType": "image/png", "url": "data:", "filename": "a.png"}]},
	{"id": "m2", "role": "assistant", "metadata": {"model": "x"}, "parts": [{"type": "step-start"}, {"type": "reasoning", "text": "Hm"}, {"type": "tool-weather", "toolCallId": "c1", "state": "output-available", "input": {"city": "Köln"}, "output": {"degrees": 7}}, {"type": "dynamic-tool", "toolName": "mcp", "toolCallId": "c2", "state": "output-error", "input": {}, "errorText": "no"}, {"type": "tool-slow", "toolCallId": "c3", "state": "input-streaming"}, {"type": "text", "text": "Seven.", "state": "done"}, {"type": "data-x", "data": 1}, {"type": "source-url", "sourceId": "s", "url": "https://example.org"}]},
	{"id": "m3", "role": "assistant", "parts": [{"type": "text", "text": "plain"}]}]}'),
('vercel, version 4', 'vercel', '[{"id": "m1", "role": "user", "content": "hi", "parts": [{"type": "text", "text": "hi"}], "createdAt": "2025-01-02T03:04:05.678Z"}, {"id": "m2", "role": "assistant", "content": "other", "parts": [{"type": "tool-invocation", "toolInvocation": {"state": "result"}}]}]'),
('vercel, toolInvocations', 'vercel', '{"id": "chat-4", "messages": [{"id": "m1", "role": "user", "content": "2 + 3?", "createdAt": "2025-01-01T00:00:00.000Z", "experimental_attachments": [{"name": "a.png", "contentType": "image/png", "url": "data:image/png;base64,iVBORw0KGgo="}]},
	{"id": "m2", "role": "assistant", "content": "It is 5.", "createdAt": "2025-01-01T00:00:01.000Z", "toolInvocations": [{"state": "result", "step": 0, "toolCallId": "c1", "toolName": "add", "args": {"a": 2, "b": 3}, "result": 5}, {"state": "call", "toolCallId": "c2", "toolName": "add", "args": {}}]}]}'),
('vercel, one message', 'vercel', '{"id": "m1", "role": "user", "parts": []}'),
('openwebui', 'openwebui', '{"id": "o-1", "user_id": "u", "title": "Web", "archived": false, "pinned": true, "share_id": null, "meta": {"tags": []}, "created_at": 1714585031, "updated_at": 1714585060, "chat": {"id": "", "title": "Web", "models": ["llama3"], "params": {}, "tags": [], "timestamp": 1714585031148, "history": {"currentId": "b2", "messages": {
	"a": {"id": "a", "parentId": null, "childrenIds": ["b1", "b2"], "role": "user", "content": "hi", "timestamp": 1714585031, "models": ["llama3"]},
	"b1": {"id": "b1", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "one", "model": "llama3", "modelName": "Llama", "timestamp": 1714585032, "done": true},
	"b2": {"id": "b2", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "two", "model": "llama3", "timestamp": 1714585033.5, "usage": {"eval_count": 3}}}},
	"messages": [{"id": "a", "parentId": null, "childrenIds": ["b1", "b2"], "role": "user", "content": "hi", "timestamp": 1714585031, "models": ["llama3"]}, {"id": "b2", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "two", "model": "llama3", "timestamp": 1714585033.5, "usage": {"eval_count": 3}}]}}'),
('openwebui blob', 'openwebui', '{"title": "Blob", "timestamp": 1714585031148, "history": {"currentId": null, "more": 1, "messages": {
	"k": {"id": "a", "parentId": null, "role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]}, "l": {"role": "assistant", "content": "ho", "parentId": "k", "childrenIds": []}}},
	"messages": [{"id": "l", "role": "assistant", "content": "ho", "short": true}, {"id": "zz", "content": "gone"}]}'),
('openwebui, a list', 'openwebui', '{"id": "o-2", "user_id": "u", "title": "Old", "timestamp": 1700000000, "chat": {"title": "Old", "models": ["llama2"], "history": {"messages": {}, "currentId": null},
	"messages": [{"role": "user", "content": "hi", "childrenIds": []}, {"role": "assistant", "content": "ho", "timestamp": 1700000001, "context": [1, 2]}]}}'),
('librechat', 'librechat', '{"conversationId": "l-1", "endpoint": "openAI", "title": "Libre", "exportAt": "16:33:32 GMT+0200", "branches": true, "recursive": false, "options": {"model": "gpt-4"}, "messages": [
	{"messageId": "p", "conversationId": "l-1", "parentMessageId": "00000000-0000-0000-0000-000000000000", "isCreatedByUser": true, "sender": "User", "text": "hi", "createdAt": "2024-04-09T14:32:05.230Z", "tokenCount": 3, "model": null},
	{"messageId": "q", "conversationId": "l-1", "parentMessageId": "p", "isCreatedByUser": false, "sender": "GPT-4", "model": "gpt-4", "text": "", "createdAt": "2024-04-09T14:32:06.000Z", "content": [{"type": "think", "think": "Hm"}, {"type": "text", "text": {"value": "Let me look."}}, {"type": "tool_call", "tool_call": {"id": "c1", "name": "look", "args": "{\"a\":1}", "output": "abc", "type": "tool_call", "progress": 1}}, {"type": "text", "text": "It says abc."}]},
	{"messageId": "r", "conversationId": "l-1", "parentMessageId": "p", "isCreatedByUser": false, "sender": "GPT-4", "text": "Second", "createdAt": {"$date": "2024-04-09T14:32:07.000Z"}, "_id": {"$oid": "6615516574dc2ddcdebe40b6"}}]}'),
('librechat, nested', 'librechat', '{"conversationId": "l-2", "title": "Nested", "recursive": true, "messages": [
	{"messageId": "p", "parentMessageId": "00000000-0000-0000-0000-000000000000", "isCreatedByUser": true, "text": "hi", "children": [
		{"messageId": "q", "parentMessageId": "p", "isCreatedByUser": false, "text": "one", "children": [{"messageId": "s", "parentMessageId": "q", "sender": "User", "text": "more"}]},
		{"messageId": "r", "parentMessageId": "p", "isCreatedByUser": false, "text": "two", "children": []}]},
	{"messageId": "t", "parentMessageId": "q", "isCreatedByUser": true, "text": "at the top", "children": []}]}');

-- messages that are documents of their own
CREATE TEMP TABLE parts (name text PRIMARY KEY, format text, doc jsonb);
INSERT INTO parts VALUES
('langchain-redis', 'langchain', '{"type": "ai", "message_id": "01J", "data": {"content": "hi", "additional_kwargs": {}, "type": "ai"}, "session_id": "s1", "timestamp": 1714585031.25}'),
('langchain-postgres', 'langchain', '{"id": 7, "session_id": "0b2b6dfc-2cf4-4dbf-bd2e-76a5f8ee5f9a", "message": {"type": "human", "data": {"content": "hi", "type": "human", "id": "h"}}, "created_at": "2024-05-01T10:00:00.5+00:00"}'),
('langchain-postgres, text', 'langchain', '{"id": 8, "session_id": "s1", "message": "{\"type\":\"human\",  \"data\":{\"content\":\"h\\u00f6\",\"type\":\"human\"}}"}'),
('langchain.js', 'langchain', '{"id": 9, "session_id": "s1", "message": {"content": "hi", "additional_kwargs": {}, "type": "human"}}'),
('agents row', 'agents', '{"id": 1, "session_id": "s9", "message_data": "{\"role\": \"user\", \"content\": \"hi\"}", "created_at": "2024-05-01 10:00:00"}'),
('agents row, a call', 'agents', '{"id": 2, "session_id": "s9", "message_data": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}}'),
('ai-chatbot row', 'vercel', '{"id": "m1", "chatId": "chat-9", "role": "user", "parts": [{"type": "text", "text": "hi"}], "attachments": [], "createdAt": "2025-01-02T03:04:05.678Z"}'),
('librechat row', 'librechat', '{"messageId": "q", "conversationId": "l-9", "parentMessageId": "p", "isCreatedByUser": false, "sender": "GPT-4", "text": "hi", "createdAt": "2024-04-09T14:32:06.000Z", "error": false}');

-- each is told from all others, and comes back as it was
SELECT name, memory.document_format(doc) AS detected, memory.document_format(doc) = format AS right,
	memory.convert(doc, 'auto', format) = doc AS lossless
FROM fixtures ORDER BY format, name;
SELECT name, memory.document_format(doc) AS detected, memory.document_format(doc) = format AS right,
	memory.convert(doc, 'auto', format) = jsonb_build_array(doc) AS lossless
FROM parts ORDER BY format, name;

-- the same from hostile documents: wherever a value stands, another one does, or none; a key more
CREATE FUNCTION pg_temp.paths(doc jsonb) RETURNS SETOF text[] LANGUAGE sql AS $$
	WITH RECURSIVE r AS (
		SELECT '{}'::text[] AS path, doc AS value
		UNION ALL
		SELECT r.path || s.key, s.value FROM r, LATERAL (
			SELECT key, value FROM jsonb_each(CASE jsonb_typeof(r.value) WHEN 'object' THEN r.value END)
			UNION ALL SELECT (n - 1)::text, e FROM jsonb_array_elements(CASE jsonb_typeof(r.value) WHEN 'array' THEN r.value END) WITH ORDINALITY AS a (e, n)) s)
	SELECT path FROM r WHERE path <> '{}'
$$;
CREATE TEMP TABLE outcomes (name text, outcome text, doc jsonb, back jsonb);
CREATE FUNCTION pg_temp.try(name text, format text, doc jsonb, rows boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	back jsonb;
	reason text;
BEGIN
	back := memory.convert(doc, format, format);
	IF rows AND jsonb_typeof(back) = 'array' THEN back := back -> 0; END IF;
	INSERT INTO outcomes VALUES (name, CASE WHEN back = doc THEN 'lossless' ELSE 'DIFFERENT' END, doc, back);
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
	INSERT INTO outcomes VALUES (name, CASE WHEN reason ~ '^Reason [a-z_]+, at \$' THEN 'refused' ELSE 'WITHOUT REASON' END, doc);
END $$;
CREATE TEMP TABLE hostile (value jsonb);
INSERT INTO hostile VALUES ('null'), ('true'), ('5'), ('-0.5e400'), ('""'), ('"text"'), ('[]'), ('[7]'), ('["x", null, {}]'), ('{}'), ('{"~text": 1, "~~": [], "type": "text", "text": "y", "value": "z"}'),
	('[{"type": "text", "text": "t", "~call": true}, {"~call": true, "type": "tool_use"}, {"~whole": 1}]');
SELECT count(pg_temp.try(name, format, jsonb_set(doc, path, value), rows)) > 1000 AS many
FROM (SELECT *, false AS rows FROM fixtures UNION ALL SELECT *, true FROM parts) f, pg_temp.paths(doc) AS path, hostile;
SELECT count(pg_temp.try(name, format, doc #- path, rows)) > 100 AS many
FROM (SELECT *, false AS rows FROM fixtures UNION ALL SELECT *, true FROM parts) f, pg_temp.paths(doc) AS path;
SELECT count(pg_temp.try(name, format, jsonb_set(doc, path, doc #> path || '{"~at": 1, "~absent": ["role"], "~text": true, "other": [1]}'), rows)) > 100 AS many
FROM (SELECT *, false AS rows FROM fixtures UNION ALL SELECT *, true FROM parts) f, pg_temp.paths(doc) AS path
WHERE jsonb_typeof(doc #> path) = 'object';
SELECT name, outcome, doc, back FROM outcomes WHERE outcome NOT IN ('lossless', 'refused');

-- every conversation in every format: told from the others, and read back as it was written
CREATE FUNCTION pg_temp.names() RETURNS SETOF text LANGUAGE sql AS
	$$ SELECT DISTINCT format FROM fixtures ORDER BY 1 $$;
CREATE TEMP TABLE crossed AS
	SELECT name, format, f AS target, memory.convert(doc, format, f) AS doc FROM fixtures, pg_temp.names() f
	WHERE format <> f AND name NOT IN ('agents, one item', 'vercel, one message'); -- these say nothing
SELECT target, count(*), count(*) FILTER (WHERE memory.document_format(doc) = target) AS told, count(*) FILTER (WHERE memory.convert(doc, target, target) = doc) AS lossless
FROM crossed GROUP BY 1 ORDER BY 1;

-- what was said, in order, is the same in every format: the current branch of texts
CREATE FUNCTION pg_temp.said(doc jsonb, format text) RETURNS text LANGUAGE sql AS $$
	WITH RECURSIVE d AS (SELECT memory.convert(doc, format, 'native') AS n),
	m AS (SELECT (e ->> 'seq')::int AS seq, (e ->> 'parent_seq')::int AS parent, e ->> 'role' AS role, e ->> 'content' AS content, e -> 'metadata' AS metadata FROM d, jsonb_array_elements(n -> 'messages') e),
	b AS (SELECT m.* FROM m, d WHERE seq = (n ->> 'head_seq')::int UNION ALL SELECT m.* FROM m JOIN b ON m.seq = b.parent)
	SELECT string_agg(role || ': ' || content, ' | ' ORDER BY seq) FROM b WHERE content <> '' AND metadata -> 'reasoning' IS NULL AND role IN ('user', 'assistant')
$$;
SELECT c.name, c.target, pg_temp.said(c.doc, c.target), pg_temp.said(f.doc, f.format) AS original
FROM crossed c JOIN fixtures f USING (name) WHERE pg_temp.said(c.doc, c.target) IS DISTINCT FROM pg_temp.said(f.doc, f.format);

-- times and tokens that the store fills in are not written
CREATE FUNCTION pg_temp.filled(doc jsonb, format text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT memory.convert('{"created_at": "2031-01-01T00:00:00Z", "updated_at": "2031-02-01T00:00:00Z"}' || n ||
		jsonb_build_object('messages', (SELECT jsonb_agg('{"created_at": "2031-01-01T00:00:00Z", "tokens": 99}' || e ORDER BY i) FROM jsonb_array_elements(n -> 'messages') WITH ORDINALITY AS a (e, i)),
			'metadata', n -> 'metadata'), 'native', format)
	FROM memory.convert(doc, format, 'native') n
$$;
SELECT name, pg_temp.filled(doc, format) FROM fixtures WHERE pg_temp.filled(doc, format) <> doc;
SELECT name, pg_temp.filled(doc, format) FROM parts WHERE pg_temp.filled(doc, format) <> jsonb_build_array(doc);

-- a content that was edited is what is written, in the place of the old one
CREATE FUNCTION pg_temp.edited(doc jsonb, format text, seq int, content text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT memory.convert(jsonb_set(memory.convert(doc, format, 'native'), ARRAY['messages', (seq - 1)::text, 'content'], to_jsonb(content)), 'native', format)
$$;
SELECT name, seq, was, position('EDITED' IN edited::text) > 0 AS written, edited
FROM fixtures,
	LATERAL (SELECT (e ->> 'seq')::int AS seq, e ->> 'content' AS was FROM jsonb_array_elements(memory.convert(doc, format, 'native') -> 'messages') e) m,
	LATERAL pg_temp.edited(doc, format, seq, 'EDITED') AS edited
WHERE length(was) > 3 AND (position(was IN edited::text) > 0 OR position('EDITED' IN edited::text) = 0);
-- of the same length, parts and all
SELECT pg_temp.edited(doc, format, 2, E'What is he\n\nlike in Bonn!') #> '{messages,1,content}' FROM fixtures WHERE name = 'openai';
SELECT pg_temp.edited(doc, format, 2, 'short') #> '{messages,1,content}' FROM fixtures WHERE name = 'openai';
SELECT pg_temp.edited(doc, format, 2, '') #> '{messages,1,content}' FROM fixtures WHERE name = 'openai';
SELECT pg_temp.edited(doc, format, 2, 'Edited.') #> '{chat_messages,1}' FROM fixtures WHERE name = 'claude';
SELECT pg_temp.edited(doc, format, 2, 'Edited.') #> '{mapping,n2,message,content}' FROM fixtures WHERE name = 'chatgpt';
SELECT pg_temp.edited(doc, format, 1, 'Edited.') #> '{mapping,a,message,content}' FROM fixtures WHERE name = 'chatgpt with holes';

-- a conversation that grew is written with what was added
CREATE FUNCTION pg_temp.grown(doc jsonb, format text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT memory.convert(jsonb_set(n || '{"head_seq": null}', '{messages}', (n -> 'messages') || '[{"role": "user", "content": "ADDED", "message_id": "added", "created_at": "2030-01-01T00:00:00Z"}]'), 'native', format)
	FROM memory.convert(doc, format, 'native') n
$$;
SELECT name, position('ADDED' IN grown::text) > 0 AS added, memory.document_format(grown) = format AS told, memory.convert(grown, format, format) = grown AS lossless,
	(SELECT e ->> 'content' FROM jsonb_array_elements(memory.convert(grown, format, 'native') -> 'messages') WITH ORDINALITY AS a (e, n) ORDER BY n DESC LIMIT 1) AS last
FROM fixtures, pg_temp.grown(doc, format) AS grown WHERE name <> 'agents, one item' ORDER BY format, name;
SELECT jsonb_pretty(grown -> 'mapping' -> 'added') AS node, grown #> '{mapping,n6,children}' AS children, grown -> 'current_node' AS head FROM fixtures, pg_temp.grown(doc, format) AS grown WHERE name = 'chatgpt';

-- what was pasted is content, and edited like it
SELECT e ->> 'content' AS content FROM fixtures, jsonb_array_elements(memory.convert(doc, format, 'native') -> 'messages') e WHERE name = 'claude, pasted text';
SELECT pg_temp.edited(doc, format, 1, E'Longer!\n\nA long letter.\n\nWith two paragraphs.\n\nMore.') #> '{chat_messages,0}' FROM fixtures WHERE name = 'claude, pasted text';
SELECT pg_temp.edited(doc, format, 1, 'All new') #> '{chat_messages,0}' FROM fixtures WHERE name = 'claude, pasted text';

-- a conversation without messages is one, in every format
CREATE TEMP TABLE empty (format text, doc jsonb);
INSERT INTO empty VALUES ('openai', '{"id": "e", "messages": []}'), ('sharegpt', '{"conversations": []}'), ('chatgpt', '{"title": "E", "mapping": {}, "current_node": "x"}'),
	('chatgpt', '{"conversation_id": "e", "title": "E", "create_time": 1, "update_time": 2, "current_node": "r", "mapping": {"r": {"id": "r", "message": null, "parent": null, "children": []}}}'),
	('claude', '{"uuid": "e", "name": "", "created_at": "2025-01-02T03:04:05.678901Z", "updated_at": "2025-01-02T03:04:05.678901Z", "account": {"uuid": "a"}, "chat_messages": []}'),
	('vercel', '{"id": "e", "messages": []}'), ('openwebui', '{"id": "e", "title": "E", "chat": {"title": "E", "history": {"messages": {}, "currentId": null}, "messages": []}}'),
	('openwebui', '{"history": {"messages": {}}}'), ('openwebui', '{"history": {"messages": {}, "currentId": "gone"}, "messages": null}'), ('librechat', '{"conversationId": "e", "title": "E", "messages": []}'),
	('openai', '[]'), ('langchain', '[]'), ('agents', '[]'), ('vercel', '[]'), ('librechat', '[]');
SELECT format, doc FROM empty WHERE memory.convert(doc, format, format) <> doc;
SELECT count(*) AS written, count(*) FILTER (WHERE memory.convert(back, f, 'native') -> 'messages' = '[]') AS empty FROM empty, pg_temp.names() f, memory.convert(doc, format, f) AS back;
SELECT count(*) AS imported FROM empty e, memory.import_document('empty', e.doc::text, e.format) i WHERE i.state = 'imported' AND i.messages = 0;
SELECT count(*) AS there, sum(message_count) AS messages FROM memory.conversations WHERE account_id = 'empty';
-- and takes its messages when it has grown
SELECT state, messages FROM memory.import_document('empty', jsonb_set((SELECT doc FROM empty WHERE format = 'claude'), '{chat_messages}', '[{"uuid": "m", "sender": "human", "text": "hi"}]')::text);
SELECT memory.forget('empty') IS NOT NULL AS forgotten;

-- through the store: all of it is there, once, and comes back as it was
SET client_min_messages = warning;
SET memory_ext.import_account = 'formats';
INSERT INTO memory.import_documents SELECT doc::text FROM (SELECT * FROM fixtures WHERE jsonb_typeof(doc) = 'object' UNION ALL TABLE parts) d ORDER BY name;
SELECT state, documents, imported, extended, unchanged, rejected FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
INSERT INTO memory.import_documents SELECT doc::text FROM (SELECT * FROM fixtures WHERE jsonb_typeof(doc) = 'object' UNION ALL TABLE parts) d ORDER BY name;
SELECT state, documents, imported, extended, unchanged, rejected FROM memory.jobs ORDER BY job_id DESC LIMIT 1;
SELECT format, count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM memory.export(format, 'formats') e WHERE e::jsonb = doc)) AS lossless
FROM (SELECT * FROM fixtures WHERE jsonb_typeof(doc) = 'object' UNION ALL TABLE parts) d GROUP BY 1 ORDER BY 1;
-- and in every other format
SELECT f, count(*) > 10 AS many, count(*) FILTER (WHERE memory.document_format(e::jsonb) IS DISTINCT FROM f) AS untold
FROM pg_temp.names() f, memory.export(f, 'formats') e WHERE e !~ '"messages": \[\]' GROUP BY 1 ORDER BY 1; -- one says nothing
SELECT memory.forget('formats') IS NOT NULL AS forgotten;

-- through the store: imported, exported, and imported again
SET client_min_messages = warning;
CREATE TEMP TABLE numbered AS SELECT *, row_number() OVER (ORDER BY name) AS n FROM fixtures;
CREATE TEMP TABLE stored AS
SELECT n.name, n.n, n.format, n.doc, i.state FROM numbered n, memory.import_document('fixture ' || n.n, n.doc::text) i;
SELECT s.name, s.state, (SELECT jsonb_agg(e::jsonb) FROM memory.export(s.format, 'fixture ' || s.n) e) = jsonb_build_array(s.doc) AS lossless,
	(SELECT state FROM memory.import_document('fixture ' || s.n, s.doc::text)) AS again
FROM stored s ORDER BY s.format, s.name;
SET memory_ext.import_account = 'parts';
SET memory_ext.import_on_error = skip;
INSERT INTO memory.import_documents SELECT doc::text FROM parts ORDER BY name;
SELECT name, EXISTS (SELECT FROM memory.export(format, 'parts') e WHERE e::jsonb = doc) AS lossless FROM parts ORDER BY format, name;
INSERT INTO memory.import_documents SELECT doc::text FROM parts ORDER BY name DESC;
INSERT INTO memory.import_documents SELECT '[' || string_agg(doc::text, ',') || ']' FROM parts;
SELECT documents, imported, extended, unchanged, rejected, messages FROM memory.jobs WHERE account_id = 'parts' ORDER BY job_id;
RESET memory_ext.import_account;
RESET memory_ext.import_on_error;
DELETE FROM memory.conversations WHERE account_id LIKE 'fixture %' OR account_id = 'parts';
