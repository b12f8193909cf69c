-- Conversions: what the target can hold is converted, what it cannot hold is counted and named.
\set VERBOSITY terse
SET timezone = 'UTC';

CREATE FUNCTION pg_temp.turns(doc jsonb, format text) RETURNS TABLE (role text, content text, calls text, results text, media text) LANGUAGE sql AS $$
	SELECT e ->> 'role', e ->> 'content',
		(SELECT string_agg(concat(c ->> 'id', ':', c #>> '{function,name}', c #>> '{function,arguments}'), ' ') FROM jsonb_array_elements(e #> '{metadata,tool_calls}') c),
		concat_ws(' ', e #>> '{metadata,tool_call_id}', (SELECT string_agg(concat(r ->> 'tool_call_id', '=', r ->> 'content'), ' ') FROM jsonb_array_elements(e #> '{metadata,tool_results}') r)),
		(SELECT string_agg(u #>> '{}', ' ') FROM jsonb_path_query(e -> 'metadata', '$.**.url') u WHERE jsonb_typeof(u) = 'string')
	FROM memory.convert(doc, format, 'native') n, jsonb_array_elements(n -> 'messages') e
$$;

-- images and files go where they can
\set openai '{"messages": [{"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"type": "file", "file": {"filename": "b.pdf", "file_data": "data:application/pdf;base64,BBBB"}}, {"type": "file", "file": {"file_id": "file-1"}}]}, {"role": "assistant", "content": "Seen."}]}'
SELECT memory.convert(:'openai', 'openai', 'anthropic') #> '{messages,0,content}' AS anthropic;
SELECT memory.convert(:'openai', 'openai', 'vercel') #> '{messages,0,parts}' AS vercel;
SELECT memory.convert(:'openai', 'openai', 'agents') #>> '{0,message_data}' AS agents;
SELECT memory.convert(:'openai', 'openai', 'openwebui') #> '{chat,messages,0,files}' AS openwebui;
SELECT memory.convert(:'openai', 'openai', 'langchain') #> '{0,message,data,content}' AS langchain;
SELECT memory.convert(:'openai', 'openai', 'librechat') #> '{messages,0,content}' AS librechat;
SELECT memory.convert(:'openai', 'openai', 'sharegpt') #> '{conversations,0}' AS sharegpt;
SELECT memory.convert(:'openai', 'openai', 'chatgpt') IS NOT NULL AS chatgpt, memory.convert(:'openai', 'openai', 'claude') IS NOT NULL AS claude;
SELECT f AS via, memory.convert(memory.convert(:'openai', 'openai', f), f, 'openai') #> '{messages,0,content}' AS back FROM unnest('{anthropic,vercel,agents,openwebui,langchain}'::text[]) f;
-- what the others have, as openai
SELECT memory.convert('{"history": {"currentId": "a", "messages": {"a": {"id": "a", "parentId": null, "role": "user", "content": "See", "files": [{"type": "image", "url": "data:image/png;base64,AAAA"}, {"type": "file", "name": "b.txt", "url": "/api/files/1"}]}}}}', 'openwebui', 'openai') -> 'messages' AS openai;
SELECT memory.convert('[{"role": "user", "content": [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": "https://example.org/a.png"}, {"type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,BBBB"}]}]', 'agents', 'openai') -> 'messages' AS openai;
SELECT memory.convert('{"messages": [{"id": "m", "role": "user", "content": "See", "createdAt": "2025-01-01T00:00:00Z", "experimental_attachments": [{"name": "a.png", "contentType": "image/png", "url": "https://example.org/a.png"}]}]}', 'vercel', 'openai') -> 'messages' AS openai;
SELECT memory.convert('{"mapping": {"a": {"id": "a", "message": {"id": "a", "author": {"role": "user"}, "content": {"content_type": "multimodal_text", "parts": ["See", {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_1"}]}}}}}', 'chatgpt', 'openai') -> 'messages' AS openai;

-- version 4 of the AI SDK
\set vercel4 '{"id": "c", "messages": [{"id": "m1", "role": "user", "content": "2 + 3?", "createdAt": "2025-01-01T00:00:00Z"}, {"id": "m2", "role": "assistant", "content": "It is 5.", "toolInvocations": [{"state": "result", "toolCallId": "c1", "toolName": "add", "args": {"a": 2}, "result": 5}]}, {"id": "m3", "role": "assistant", "content": "", "parts": [{"type": "tool-invocation", "toolInvocation": {"state": "result", "toolCallId": "c2", "toolName": "add", "args": {}, "result": {"sum": 0}}}, {"type": "text", "text": "None."}], "toolInvocations": [{"state": "result", "toolCallId": "c2", "toolName": "add", "args": {}, "result": {"sum": 0}}]}]}'
SELECT memory.document_format(:'vercel4'), memory.convert(:'vercel4', 'auto', 'vercel') = :'vercel4' AS lossless;
SELECT jsonb_array_elements(memory.convert(:'vercel4', 'auto', 'openai') -> 'messages') AS openai;
SELECT jsonb_array_elements(memory.convert(:'vercel4', 'auto', 'claude') -> 'chat_messages') -> 'content' AS claude;

-- function_call, and a tool's messages that name no call
\set function '{"messages": [{"role": "user", "content": "Köln?"}, {"role": "assistant", "content": null, "function_call": {"name": "weather", "arguments": "{\\"city\\": \\"Köln\\"}"}}, {"role": "function", "name": "weather", "content": "7"}]}'
SELECT memory.convert(:'function', 'openai', 'openai') = :'function' AS lossless;
SELECT jsonb_array_elements(memory.convert(:'function', 'openai', 'anthropic') -> 'messages') AS anthropic;
SELECT jsonb_array_elements(memory.convert(:'function', 'openai', 'librechat') -> 'messages') -> 'content' AS librechat;
\set python '{"current_node": "c", "mapping": {"q": {"id": "q", "children": ["a"], "message": {"id": "q", "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Sum?"]}}}, "a": {"id": "a", "parent": "q", "children": ["b"], "message": {"id": "a", "author": {"role": "assistant"}, "recipient": "python", "content": {"content_type": "code", "text": "1 + 1"}}}, "b": {"id": "b", "parent": "a", "children": ["c"], "message": {"id": "b", "author": {"role": "tool", "name": "python"}, "content": {"content_type": "execution_output", "text": "2"}}}, "c": {"id": "c", "parent": "b", "children": [], "message": {"id": "c", "author": {"role": "assistant"}, "recipient": "all", "content": {"content_type": "text", "parts": ["Two."]}}}}}'
SELECT jsonb_array_elements(memory.convert(:'python', 'chatgpt', 'openai') -> 'messages') AS openai;
SELECT jsonb_array_elements(memory.convert(:'python', 'chatgpt', 'anthropic') -> 'messages') AS anthropic;
SELECT jsonb_array_elements(memory.convert('{"mapping": {"b": {"id": "b", "message": {"id": "b", "author": {"role": "tool", "name": "file_search"}, "content": {"content_type": "text", "parts": ["Found."]}}}}}', 'chatgpt', 'openai') -> 'messages') AS openai;

-- calls are not doubled on the way
\set calls '{"messages": [{"role": "user", "content": "Köln?"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}, {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "7"}, {"role": "tool", "tool_call_id": "c2", "content": "noon"}, {"role": "assistant", "content": "Seven at noon."}]}'
-- (LibreChat's result has the call's name)
SELECT f AS via, regexp_replace(memory.convert(memory.convert(:'calls', 'openai', f), f, 'openai')::text, '"name": "\w+", "role"', '"role"', 'g') = :'calls'::jsonb::text AS same FROM unnest('{librechat,vercel,anthropic,claude,agents,langchain,chatgpt,openwebui}'::text[]) f;

-- text, call, result, text stay in order
\set order '{"uuid": "u", "chat_messages": [{"uuid": "a", "sender": "assistant", "text": "", "content": [{"type": "text", "text": "First."}, {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r1"}]}, {"type": "text", "text": "Then."}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}, {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "r2"}]}, {"type": "text", "text": "Last."}]}]}'
SELECT jsonb_array_elements(memory.convert(:'order', 'claude', 'openai') -> 'messages') AS openai;
SELECT jsonb_array_elements(memory.convert(:'order', 'claude', 'vercel') #> '{messages,0,parts}') AS vercel;
SELECT jsonb_array_elements(memory.convert(:'order', 'claude', 'librechat') #> '{messages,0,content}') AS librechat;
SELECT jsonb_array_elements(memory.convert(:'order', 'claude', 'anthropic') -> 'messages') AS anthropic;

-- Anthropic's requests
\set anthropic '{"model": "claude-x", "system": [{"type": "text", "text": "Be terse."}], "messages": [{"role": "user", "content": "Oslo?"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Ask.", "signature": "EqQB"}, {"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "rain"}]}, {"type": "text", "text": "And tomorrow?"}]}]}'
SELECT memory.document_format(:'anthropic'), t.* FROM pg_temp.turns(:'anthropic', 'auto') t;
SELECT jsonb_array_elements(memory.convert(:'anthropic', 'auto', 'openai') -> 'messages') AS openai;
SELECT memory.convert(:'anthropic', 'auto', 'vercel') #> '{messages,2,parts}' AS vercel;

-- what is lost is counted, by name: titles, models, branches, thoughts, roles
SELECT memory.convert('{"uuid": "u", "name": "T", "chat_messages": [{"uuid": "a", "sender": "human", "text": "q"}, {"uuid": "b", "sender": "assistant", "text": "1", "parent_message_uuid": "a"}, {"uuid": "c", "sender": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "2"}, {"type": "flag"}], "parent_message_uuid": "a", "files": [{"file_name": "x.png"}]}]}', 'claude', f) IS NOT NULL AS converted, f FROM unnest('{openai,sharegpt,langchain,agents,anthropic,vercel,librechat,openwebui,chatgpt,native,claude}'::text[]) f;
-- and by exports, once
SET client_min_messages = warning;
SELECT count(i.state) FROM generate_series(1, 3) n, memory.import_document('losses', replace('{"uuid": "N", "name": "T", "chat_messages": [{"uuid": "a", "sender": "human", "text": "q", "files": [{"file_name": "x.png"}]}, {"uuid": "b", "sender": "assistant", "text": "1"}]}', 'N', 'losses ' || n)) i;
SELECT i.state FROM memory.import_document('losses', '{"messages": [{"role": "user", "content": "plain"}]}') i;
RESET client_min_messages;
SELECT count(*) FROM memory.export('openai', 'losses');
SELECT count(*) FROM memory.export('claude', 'losses');
SELECT count(*) FROM memory.export('native', 'losses');
SELECT memory.forget('losses') IS NOT NULL AS forgotten;
