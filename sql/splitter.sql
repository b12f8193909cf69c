-- The splitter: JSON documents out of text that comes in chunks of any size.

CREATE TEMP TABLE input (n serial, what text, body text);
INSERT INTO input (what, body) VALUES
	('nothing', ''),
	('white space', E' \r\n\t\x1e\n'),
	('lines', E'{"a":1}\n{"b":[2,{"c":"}"}]}\r\n\n{"d":"\\"{"}'),
	('one behind the other', '{"a":1}{"b":2} [3]"four"5 true null'),
	('an array on one line', '[{"a":1},{"b":[{"c":2}]},[],4,"5"]'),
	('an array on many lines', E'[\n  {\n    "a": 1\n  },\n  {\n    "b": "]"\n  }\n]\n'),
	('two arrays', E'[{"a":1}]\n[{"b":2}]{"c":3}'),
	('empty arrays', E'[] [ ]\n[\n]{"a":[]}'),
	('an array that is a document', E'[{"role":"user"},{"role":"x"}]\n[{"role":"y"}]'),
	('arrays in an array', '[[{"a":1}],[{"b":2}]]'),
	('an array of scalars', E'[1,"a"] ["b"]\n[null]'),
	('a byte order mark', U&'\FEFF{"a":"ä€😀"}\000A\FEFF[{"b":1}]'),
	('records', E'\x1e{"a":1}\n\x1e{"b":2}\n'),
	('escapes', E'{"a":"\\\\"}{"b":"\\\\\\""}{"c":"\\u0022}"}'),
	-- what is broken
	('the first line is cut off', E'{"a":[{"b":1}\n{"c":2}\n{"d":3}\n'),
	('a later line is cut off', E'{"a":1}\n{"b":\n{"c":3}\n{"d":[\n[{"e":5}]\n{"f":{'),
	('a string is cut off', E'{"a":1}\n{"b":"text\n{"c":3}\n'),
	('a string of the first line is cut off', E'{"a":"te\\\n{"b":"xt\n{"c":3}\n'),
	('rubbish', E'hello\n}\n{"a":1}\n:-)\n{"b":2}}}\n{"c":3}'),
	('a word', E'hello {"a":1}'),
	('brackets do not fit', E'{"a":[1}\n{"b":2}\n{"c":{"d":1]]\n{"e":5}'),
	('no comma', E'{"a":1 "b":2}\n{"c":[{}{}]}\n{"d":4}'),
	('many lines, one string cut off', E'{\n  "a": "x,\n  "b": [\n    {"c": 1}\n  ]\n}\n{\n  "d": 2\n}\n'),
	('an array that does not end', E'[\n  {"a":1},\n  {"b":2}'),
	('an array that ends behind a comma', E'[{"a":1},'),
	('an array ends in an element', E'[{"a":1},{"b":'),
	('a broken element of a list of lines', E'[\n  {"a":"x},\n  {"b":2},\n  {"c":3]},\n  {"d":4}\n]\n{"e":5}'),
	('an element without a comma', E'[\n{"a":1}\n{"b":2},\n{"c":3}\n]'),
	('a broken element on one line', '[{"a":1},{"b":2],{"c":3}]'),
	('too large', E'{"a":1}\n{"b":"' || repeat('x', 60) || E'"}\n{"c":3}'),
	('too large in an array', '[{"c":3},{"b":"' || repeat('[{,', 20) || E'x"},{"c":3}]'),
	('too large as a list', '[{"a":[' || repeat('1,', 40) || '2]},{"c":3}]');

SELECT i.n, i.what, d.kind, d.line, d.byte_offset AS at, d.bytes, left(d.document, 40) AS document, d.problem
FROM input i LEFT JOIN LATERAL memory_store.split_documents(i.body, max_document => 64) WITH ORDINALITY d
	(kind, document, line, byte_offset, bytes, problem, place) ON true
ORDER BY i.n, d.place;

-- the same whatever the chunks are, and if each document begins with a new splitter
CREATE FUNCTION pg_temp.split(body text, chunk int, resume boolean, OUT documents text) LANGUAGE sql AS $$
	SELECT string_agg(concat_ws('|', d.kind, d.document, d.line, d.byte_offset, d.bytes, d.problem), E'\n' ORDER BY d.place)
	FROM memory_store.split_documents(body, chunk, 64, resume) WITH ORDINALITY d
		(kind, document, line, byte_offset, bytes, problem, place)
$$;
SELECT i.n, i.what, chunk FROM input i, generate_series(1, 40) chunk
WHERE pg_temp.split(i.body, chunk, false) IS DISTINCT FROM pg_temp.split(i.body, 65536, false);
SELECT i.n, i.what, chunk FROM input i, unnest('{1,3,65536}'::int[]) chunk
WHERE pg_temp.split(i.body, chunk, true) IS DISTINCT FROM pg_temp.split(i.body, 65536, false);

-- every byte of the input belongs to a document or is a separator
SELECT i.n, i.what, i.body FROM input i
WHERE translate(i.body, E' \r\n\t\x1e,[]\uFEFF', '') <> COALESCE((
	SELECT string_agg(translate(convert_from(substr(convert_to(i.body, 'UTF8'), d.byte_offset::int + 1, d.bytes::int), 'UTF8'),
		E' \r\n\t\x1e,[]\uFEFF', ''), '' ORDER BY d.byte_offset)
	FROM memory_store.split_documents(i.body, max_document => 64) d), '');
