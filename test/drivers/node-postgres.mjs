import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import copy from 'pg-copy-streams';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { assert, conflicts, randomUUID, sqlstate, suite, version } from './check.mjs';

const check = suite(`node-postgres ${version('pg')}`);
const client = new pg.Client();
const account = 'node-postgres';
const id = randomUUID();
const query = (text, values) => client.query(text, values);
const count = async (where = '', values = []) =>
	Number((await query(`SELECT count(*) FROM memory.messages WHERE account_id = '${account}' ${where}`, values)).rows[0].count);

await client.connect();
await check('insert', async () => {
	await query('INSERT INTO memory.conversations (conversation_id, account_id, title, metadata) VALUES ($1, $2, $3, $4)',
		[id, account, null, { a: [1, 2] }]);
	await query('INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES ($1, $2, $3, $4)', [id, account, 'user', 'one']);
	assert.equal(await count(), 1);
});
await check('returning', async () => {
	const { rows } = await query('INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES ($1, $2, $3, $4) RETURNING *',
		[id, account, 'assistant', 'two']);

	assert.equal(rows[0].seq, '2');
	assert.equal(rows[0].parent_seq, '1');
	const made = await query('INSERT INTO memory.conversations (account_id) VALUES ($1) RETURNING conversation_id', [account]);
	assert.match(made.rows[0].conversation_id, /^[0-9a-f-]{36}$/);
});
await check('many', async () => {
	const { rows } = await query(`INSERT INTO memory.messages (conversation_id, account_id, role, content)
		VALUES ($1, $2, 'user', 'three'), ($1, $2, 'assistant', 'four') RETURNING seq`, [id, account]);
	assert.deepEqual(rows.map(r => r.seq), ['3', '4']);
	const made = await query(`INSERT INTO memory.messages (conversation_id, account_id, role, content)
		SELECT $1, $2, r, c FROM unnest($3::text[], $4::text[]) u (r, c)`, [id, account, ['user', 'assistant'], ['five', 'six']]);
	assert.equal(made.rowCount, 2);
});
await check('ignore', async () => {
	const insert = on => query(`INSERT INTO memory.messages (conversation_id, account_id, seq, role, content)
		VALUES ($1, $2, 1, 'user', 'x'), ($1, $2, 7, 'user', 'seven') ${on} RETURNING seq`, [id, account]);

	assert.equal(await sqlstate(insert('')), '23505');
	assert.deepEqual((await insert('ON CONFLICT DO NOTHING')).rows, [{ seq: '7' }]);
	return conflicts(insert('ON CONFLICT (account_id, conversation_id, seq) DO NOTHING'));
});
await check('upsert', async () => {
	assert.equal(await sqlstate(query(`INSERT INTO memory.conversations (conversation_id, account_id, title) VALUES ($1, $2, 'new')
		ON CONFLICT (account_id, conversation_id) DO UPDATE SET title = EXCLUDED.title`, [id, account])), '42P10');
	assert.equal((await query('SELECT memory.upsert_conversation($1, $2, title => $3) AS made', [account, id, 'new'])).rows[0].made, false);
	return 'DO UPDATE: 42P10; memory.upsert_conversation works';
});
await check('get', async () => {
	const { rows } = await query('SELECT * FROM memory.messages WHERE account_id = $1 AND conversation_id = $2 AND seq = $3', [account, id, 2]);
	assert.equal(rows[0].content, 'two');
});
await check('relation', async () => {
	const { rows } = await query(`SELECT c.title, m.seq FROM memory.conversations c LEFT JOIN memory.messages m USING (account_id, conversation_id)
		WHERE c.account_id = $1 AND conversation_id = $2`, [account, id]);
	assert.equal(rows.length, 7);
});
await check('order', async () => {
	const { rows } = await query('SELECT seq FROM memory.messages WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 2', [id]);
	assert.deepEqual(rows.map(r => r.seq), ['7', '6']);
});
await check('count', async () => assert.equal(await count('AND conversation_id = $1', [id]), 7));
await check('update', async () => {
	assert.equal((await query("UPDATE memory.messages SET content = 'zwei' WHERE account_id = $1 AND conversation_id = $2 AND seq = 2 RETURNING content",
		[account, id])).rows[0].content, 'zwei');
	assert.equal((await query("UPDATE memory.messages SET model = 'm' WHERE account_id = $1 AND seq > 4", [account])).rowCount, 3);
	assert.equal((await query('UPDATE memory.conversations SET archived = true WHERE account_id = $1', [account])).rowCount, 2);
});
await check('delete', async () => {
	assert.equal((await query('DELETE FROM memory.messages WHERE account_id = $1 AND conversation_id = $2 AND seq = $3', [account, id, 7])).rowCount, 1);
	assert.equal((await query('DELETE FROM memory.messages WHERE conversation_id = $1 AND seq = ANY ($2)', [id, [5, 6]])).rowCount, 2);
	assert.equal((await query('DELETE FROM memory.conversations WHERE account_id = $1 AND message_count = 0 RETURNING *', [account])).rowCount, 1);
});
await check('savepoint', async () => {
	const insert = content => query("INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES ($1, $2, 'user', $3)",
		[id, account, content]);

	await query('BEGIN');
	await insert('kept');
	await query('SAVEPOINT s');
	await insert('undone');
	await query('ROLLBACK TO s');
	await query('COMMIT');
	await query('BEGIN');
	await insert('undone');
	await query('ROLLBACK');
	assert.equal(await count("AND content = 'kept'"), 1);
	assert.equal(await count("AND content = 'undone'"), 0);
});
await check('prepared', async () => {
	for (let i = 0; i < 12; i++)
	{
		await client.query({ name: 'insert', text: 'INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES ($1, $2, $3, $4)',
			values: [id, account, 'user', `prepared ${i}`] });
		const { rows } = await client.query({ name: 'read', text: 'SELECT content FROM memory.messages WHERE conversation_id = $1 AND account_id = $2 ORDER BY seq DESC LIMIT 1',
			values: [id, account] });
		assert.equal(rows[0].content, `prepared ${i}`);
	}
	const { rows } = await query("SELECT sum(generic_plans) AS n FROM pg_prepared_statements WHERE name IN ('insert', 'read')");
	assert.ok(Number(rows[0].n) > 0, 'no generic plan');
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await query('INSERT INTO memory.messages (conversation_id, account_id, seq, role, content, created_at, metadata, model) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)',
		[id, account, 100n, 'user', 'ünï 🐘', at, metadata, null]);
	const { rows: [row] } = await query('SELECT * FROM memory.messages WHERE conversation_id = $1 AND seq = 100', [id]);
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	assert.equal(row.conversation_id, id);
	assert.equal(row.content, 'ünï 🐘');
	assert.equal(typeof row.tokens, 'number');
	return `bigint as ${typeof row.seq}`;
});
await check('binary', async () => {
	const binary = async (text, values) => (await client.query({ text, values, binary: true })).rows[0];
	const row = await binary('SELECT seq, metadata, conversation_id, content, created_at FROM memory.messages WHERE conversation_id = $1 AND seq = 100', [id]);
	const same = await binary('SELECT $1::uuid AS conversation_id, $2::jsonb AS metadata, $3::timestamptz AS created_at',
		[id, { list: [1, 'two', null], deep: { x: true } }, new Date('2026-01-02T03:04:05.678Z')]);

	assert.equal(row.seq, '100');
	assert.equal(row.content, 'ünï 🐘');
	// its parsers do not know these: what it makes of a relation's is what it makes of a constant
	assert.equal(row.metadata, same.metadata);
	assert.equal(row.conversation_id, same.conversation_id);
	assert.equal(row.created_at.getTime(), same.created_at.getTime());
	assert.equal(typeof row.metadata, 'string');
	assert.notEqual(row.conversation_id, id);
	assert.notEqual(row.created_at.getTime(), new Date('2026-01-02T03:04:05.678Z').getTime());
	return 'bigint and text; jsonb, uuid and timestamptz are not parsed rightly, nor are constants';
});
await check('array', async () => {
	const { rows } = await query('SELECT seq FROM memory.messages WHERE conversation_id = ANY ($1) AND seq = ANY ($2) ORDER BY seq', [[id], [1, 2]]);
	assert.deepEqual(rows.map(r => r.seq), ['1', '2']);
});
await check('composite', async () => {
	assert.equal((await query('SELECT seq, content, metadata FROM memory.history($1, $2, max_messages => 1)', [account, id])).rows[0].metadata.list.length, 3);
	const { rows } = await query('SELECT memory.message($1, $2, 2) AS m, (memory.message($1, $2, 2)).content', [account, id]);
	assert.equal(rows[0].content, 'zwei');
	return `a row value as ${typeof rows[0].m}; (…).column works`;
});
await check('append', async () => {
	const { rows } = await query('SELECT memory.append($1, $2, $3::jsonb) AS seqs', [account, id, JSON.stringify([{ role: 'user', content: 'a' }, { role: 'tool', content: 'b' }])]);
	assert.equal(rows[0].seqs.length, 2);
	return 'a JavaScript array as jsonb: JSON.stringify it';
});
await check('copy', async () => {
	const lines = Array.from({ length: 5 }, (_, i) => `${id}\t${account}\tuser\tcopied ${i}\n`);
	const out = [];

	await pipeline(Readable.from(lines), client.query(copy.from('COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN')));
	await pipeline(client.query(copy.to(`COPY (SELECT content FROM memory.messages WHERE conversation_id = '${id}' AND content LIKE 'copied%' ORDER BY seq) TO STDOUT`)),
		async source => { for await (const chunk of source) out.push(chunk); });
	assert.equal(Buffer.concat(out).toString(), Array.from({ length: 5 }, (_, i) => `copied ${i}\n`).join(''));
	return `pg-copy-streams ${version('pg-copy-streams')}: COPY (SELECT …) TO`;
});
await check('cursor', async () => {
	const cursor = client.query(new Cursor('SELECT seq FROM memory.messages WHERE conversation_id = $1 ORDER BY seq', [id]));
	let rows = 0;

	assert.equal((await cursor.read(3)).length, 3);
	await cursor.close();
	for await (const row of client.query(new QueryStream('SELECT seq, content FROM memory.messages WHERE conversation_id = $1 ORDER BY seq', [id], { batchSize: 4 })))
		rows += row.content !== undefined;
	assert.equal(rows, await count('AND conversation_id = $1', [id]));
	return `pg-cursor ${version('pg-cursor')}, pg-query-stream ${version('pg-query-stream')}`;
});
await client.end();
