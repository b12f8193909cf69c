-- Sample data: an account "demo" with conversations, branches, usage, prices and a plan, and a
-- neighbour whose data it must never see.
CREATE EXTENSION memory_ext;
CREATE ROLE gateway LOGIN;
SELECT memory.grant_access('gateway', 'gateway');

INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token,
		cached_input_cost_per_token, provider) VALUES
	('larch-2', '2020-01-01', 0.000003, 0.000015, 0.0000003, 'Larch'),
	('larch-2-mini', '2020-01-01', 0.0000004, 0.0000016, 0.0000001, 'Larch'),
	('alder-large', '2020-01-01', 0.000002, 0.000008, NULL, 'Alder');

-- Otherwise what is older than a day is no usage of that day.
SET memory_ext.backdated_after = '90d';

-- 400 conversations of the last sixty days, a question and an answer or more each.
WITH topic (n, title, question, answer) AS (VALUES
	(0, 'Slow nightly backup', 'The nightly dump takes four hours. How do we make it faster?',
		'Dump in parallel with the directory format: `pg_dump -Fd -j 4`. Each worker takes the same locks as one would.'),
	(1, 'Train to Porto', 'When is the last train from Lisbon to Porto, and is there a night bus?',
		'The last fast train leaves at 21:39. After that there are buses every hour until two in the morning.'),
	(2, '東京の天気', '明日の東京の天気はどうですか。傘は必要ですか。', '明日の東京は午後から雨の予報です。傘を持って行くことをお勧めします。'),
	(3, 'Leek soup', 'A soup with leeks and potatoes for six, without cream?',
		'Sweat 600 g of leeks, add 800 g of potatoes and 1.5 l of stock, simmer for 25 minutes, then blend.'),
	(4, 'Übergabe im Büro', 'Welche Straße führt zum Hafen, und wo gebe ich die Schlüssel ab?',
		'Die Hafenstraße führt direkt dorthin; die Schlüssel nimmt der Empfang bis 18 Uhr entgegen.'),
	(5, 'Index or not', 'Should a boolean column get an index in PostgreSQL?',
		E'Seldom by itself. A partial index is better:\n\n```sql\nCREATE INDEX ON orders (created_at) WHERE NOT shipped;\n```'),
	(6, '数据库备份', '数据库备份应该多久做一次？', '取决于可以接受丢失多少数据。通常每天一次完整备份，并持续归档日志。'),
	(7, 'Release note', 'Write a release note for the export button, one line.',
		'You can now export any report with one click.')),
conversation AS (
	SELECT i, memory.uuid_v7() AS id, topic.*, now() - interval '1 hour' - interval '60 days' * (1 - i / 400.0) AS at,
		(ARRAY['larch-2', 'larch-2-mini', 'alder-large'])[1 + i % 3] AS model
	FROM generate_series(1, 400) i JOIN topic ON topic.n = i % 8)
SELECT * INTO TEMP sample FROM conversation ORDER BY i;
INSERT INTO memory.conversations (conversation_id, account_id, title, created_at, updated_at)
SELECT id, 'demo', title, at, at FROM sample ORDER BY i;
INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, model, created_at)
SELECT id, 'demo', 2 * turn + part, CASE part WHEN 1 THEN 'user' ELSE 'assistant' END,
	CASE part WHEN 1 THEN CASE turn WHEN 0 THEN question ELSE 'And what else should I know about it?' END
		ELSE CASE turn WHEN 0 THEN answer ELSE 'In short: ' || answer END END,
	CASE part WHEN 2 THEN model END, at + interval '1 minute' * (2 * turn + part)
FROM sample, generate_series(0, i % 5) turn, generate_series(1, 2) part
ORDER BY i, turn, part;
-- As if each had been written when its messages say.
UPDATE memory.conversations c SET updated_at = sample.at FROM sample WHERE c.account_id = 'demo' AND c.conversation_id = sample.id;

-- A second answer, so that there is a branch.
SELECT memory.append('demo', conversation_id, 'assistant', 'Another answer to the same question.',
	model => 'larch-2', parent_seq => 1)
FROM memory.recent_conversations('demo', max_conversations => 5);

-- What came before it does not count against the plan.
SELECT memory.load_example_plans();
SELECT memory.subscribe('demo', 'pro', time_zone => 'Europe/Berlin');

-- Calls of the last sixty days.
SELECT memory.record_usage('demo', (ARRAY['larch-2', 'larch-2-mini', 'alder-large'])[1 + call % 3],
	900 + 37 * (call % 50), 300, 250 + 11 * (call % 40), occurred_at => now() - interval '1 day' * day)
FROM generate_series(0, 59) day, generate_series(1, 5 + (day * 7) % 11) call;

SELECT memory.append('neighbour', memory.uuid_v7(), 'user', 'This is nobody else''s concern.');
