-- What each chat format puts into the columns, and what it keeps in metadata.
\set VERBOSITY default
\pset null '-'
SET timezone = 'UTC';

CREATE FUNCTION pg_temp.messages(doc jsonb) RETURNS TABLE (seq int, parent int, role text, content text, model text, tokens text, created text, id text, metadata jsonb) LANGUAGE sql AS $$
	SELECT (e ->> 'seq')::int, (e ->> 'parent_seq')::int, e ->> 'role', e ->> 'content', e ->> 'model', e ->> 'tokens', e ->> 'created_at', e ->> 'message_id', e -> 'metadata'
	FROM jsonb_array_elements(memory.convert(doc, 'auto', 'native') -> 'messages') e
$$;
CREATE FUNCTION pg_temp.conversation(doc jsonb) RETURNS TABLE (id text, title text, head text, archived text, created text, updated text, metadata jsonb) LANGUAGE sql AS $$
	SELECT n ->> 'conversation_id', n ->> 'title', n ->> 'head_seq', n ->> 'archived', n ->> 'created_at', n ->> 'updated_at', n -> 'metadata' FROM memory.convert(doc, 'auto', 'native') n
$$;

-- OpenAI: nothing is kept where role and content say it all
\set doc '{"id": "x", "tools": [], "messages": [{"role": "user", "content": "hi"}, {"role": "developer", "content": "d"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "r", "name": "f"}, {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "input_audio"}, {"type": "text", "text": "two"}]}, {"role": "assistant", "content": "", "weight": 0}]}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT seq, role, content, metadata FROM pg_temp.messages(:'doc');

-- ShareGPT
\set doc '{"id": "x", "system": "s", "conversations": [{"from": "human", "value": "hi"}, {"from": "function_call", "value": "{\\"name\\": \\"f\\", \\"arguments\\": {\\"a\\": 1}}"}, {"from": "observation", "value": "r"}, {"from": "bing", "value": "b"}, {"from": "function_call", "value": "no JSON"}]}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT seq, role, content, metadata FROM pg_temp.messages(:'doc');

-- ChatGPT: order by time, parents first; nodes without message are kept beside
\set doc '{"conversation_id": "7ad9e1cc-0000-4000-8000-000000000001", "title": "T", "create_time": 1714585031.148505, "update_time": 1714585060, "is_archived": true, "current_node": "c", "mapping": {"r": {"id": "r", "message": null, "parent": null, "children": ["a"]}, "c": {"id": "c", "parent": "a", "children": [], "message": {"id": "c", "author": {"role": "assistant", "name": null, "metadata": {}}, "create_time": 1714585040, "content": {"content_type": "text", "parts": ["first answer"]}, "metadata": {"model_slug": "gpt-4"}}}, "b": {"id": "b", "parent": "a", "children": [], "message": {"id": "mb", "author": {"role": "assistant", "name": null, "metadata": {}}, "create_time": 1714585041.1234567, "content": {"content_type": "thoughts", "thoughts": [{"summary": "S", "content": "C"}]}, "metadata": {"model_slug": "o3"}}}, "a": {"id": "a", "parent": "r", "children": ["c", "b"], "message": {"id": "a", "author": {"role": "user", "name": null, "metadata": {}}, "create_time": null, "content": {"content_type": "text", "parts": ["question"]}, "weight": 1}}}}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT * FROM pg_temp.messages(:'doc');

-- Claude: blocks with lengths in the place of texts, calls and results where all formats have them
\set doc '{"uuid": "u", "name": "N", "created_at": "2025-01-02T03:04:05.678901Z", "updated_at": "2025-01-02T04:04:05+01:00", "account": {"uuid": "a"}, "chat_messages": [{"uuid": "m1", "sender": "human", "text": "hi", "content": [{"type": "text", "text": "hi"}], "created_at": "2025-01-02T03:04:05.678901Z", "parent_message_uuid": "00000000-0000-4000-8000-000000000000", "attachments": [{"extracted_content": "abc"}]}, {"uuid": "m2", "sender": "assistant", "text": "shown elsewhere", "content": [{"type": "text", "text": "one"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, {"type": "tool_result", "tool_use_id": "t", "content": "r", "is_error": true}, {"type": "text", "text": "two", "citations": []}], "created_at": "2025-01-02T03:04:06", "parent_message_uuid": "m1"}]}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT * FROM pg_temp.messages(:'doc');

-- LangChain
\set doc '[{"type": "ai", "message_id": "i", "session_id": "s", "timestamp": 1714585031.25, "data": {"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {}, "id": "c", "type": "tool_call"}], "usage_metadata": {"output_tokens": 9}, "response_metadata": {"model_name": "gpt-4o"}}}, {"id": 1, "session_id": "s", "created_at": "2024-05-01T10:00:00+02:00", "message": "{\\"type\\":\\"tool\\",\\"data\\":{\\"content\\":\\"r\\",\\"tool_call_id\\":\\"c\\"}}"}]'
SELECT * FROM pg_temp.messages(:'doc');

-- OpenAI Agents SDK
\set doc '[{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}, {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "thought"}]}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "r"}, {"__enc__": 1, "payload": "AAAA"}, {"session_id": null, "message_data": "{\\"role\\": \\"user\\", \\"content\\": \\"row\\"}", "created_at": "2024-05-01 10:00:00"}]'
SELECT seq, role, content, created, id, metadata FROM pg_temp.messages(:'doc');

-- Vercel AI SDK
\set doc '{"id": "c", "createdAt": "2025-01-02T03:04:05.678Z", "messages": [{"id": "m", "role": "assistant", "parts": [{"type": "reasoning", "text": "hm"}, {"type": "tool-f", "toolCallId": "t", "state": "output-available", "input": {"a": 1}, "output": {"b": 2}}, {"type": "text", "text": "done"}]}]}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT seq, role, content, created, id, metadata FROM pg_temp.messages(:'doc');

-- Open WebUI: the list that repeats the branch is not kept
\set doc '{"id": "o", "title": "T", "archived": true, "created_at": 1714585031, "updated_at": 1714585060, "chat": {"title": "T", "models": ["l"], "history": {"currentId": "b", "messages": {"a": {"id": "a", "parentId": null, "childrenIds": ["b"], "role": "user", "content": "hi", "timestamp": 1714585031}, "b": {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "ho", "model": "l", "timestamp": 1714585032}}}, "messages": [{"id": "a", "parentId": null, "childrenIds": ["b"], "role": "user", "content": "hi", "timestamp": 1714585031}, {"id": "b", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "ho", "model": "l", "timestamp": 1714585032}]}}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT * FROM pg_temp.messages(:'doc');

-- LibreChat
\set doc '{"conversationId": "l", "title": "T", "options": {}, "messages": [{"messageId": "a", "parentMessageId": "00000000-0000-0000-0000-000000000000", "isCreatedByUser": true, "text": "hi", "createdAt": "2024-04-09T14:32:05.230Z", "tokenCount": 1, "children": [{"messageId": "b", "parentMessageId": "a", "isCreatedByUser": false, "sender": "GPT-4", "model": "gpt-4", "text": "", "content": [{"type": "tool_call", "tool_call": {"id": "t", "name": "f", "args": "{}", "output": "r"}}, {"type": "text", "text": "ho"}]}]}]}'
SELECT * FROM pg_temp.conversation(:'doc');
SELECT * FROM pg_temp.messages(:'doc');

-- one conversation with a tool, as every format writes it
\set doc '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Köln?"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Köln\\"}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "7"}, {"role": "assistant", "content": "Seven."}]}'
SELECT f AS format, jsonb_pretty(memory.convert(:'doc', 'openai', f)) AS document
FROM unnest('{sharegpt,langchain,agents,vercel}'::text[]) f;
SELECT jsonb_path_query(memory.convert(:'doc', 'openai', 'claude'), '$.chat_messages[*]') - '{uuid,parent_message_uuid,files,attachments}'::text[] AS claude;
SELECT jsonb_path_query(memory.convert(:'doc', 'openai', 'librechat'), '$.messages[*]') - '{messageId,parentMessageId}'::text[] AS librechat;
SELECT jsonb_path_query(memory.convert(:'doc', 'openai', 'chatgpt'), '$.mapping.*.message ? (@ != null)') - '{id,status,weight,recipient,end_turn,update_time}'::text[] AS chatgpt;
SELECT jsonb_path_query(memory.convert(:'doc', 'openai', 'openwebui'), '$.chat.messages[*]') - '{id,parentId,childrenIds}'::text[] AS openwebui;

-- calls and results that a message holds together are taken apart, and put together
SELECT jsonb_pretty(memory.convert('{"uuid": "u", "chat_messages": [{"sender": "assistant", "text": "", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "It is 7."}, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}, {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "7"}]}]}]}', 'claude', 'openai')) AS openai;
SELECT memory.convert('{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "not JSON"}}, {"id": "b", "function": {"name": "g", "arguments": "[1]"}}]}, {"role": "tool", "tool_call_id": "b", "content": "B"}, {"role": "tool", "tool_call_id": "zz", "content": "Z"}, {"role": "tool", "tool_call_id": "a", "content": "A"}]}', 'openai', 'vercel') AS vercel;

-- the branch that ends at the head is what lists are written with
SELECT memory.convert('{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "old"}, {"role": "assistant", "content": "new", "parent_seq": 1}], "head_seq": 2, "account_id": "a"}', 'native', 'openai') AS old_branch;

-- metadata that only looks like a tool's is left alone; roles that a format does not know
SELECT memory.convert('{"account_id": "a", "messages": [{"role": "narrator", "content": "x", "metadata": {"tool_calls": "none", "tool_results": [1, {}], "tool_call_id": 5, "name": null, "reasoning": true, "openai": [], "claude": {"~at": -1, "content": [{"type": "text", "text": 900}], "~absent": 3}}}]}', 'native', f)
FROM unnest('{openai,sharegpt,claude,vercel}'::text[]) f;
