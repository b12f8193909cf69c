import postgres from 'postgres';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { assert, conflicts, database, host, messages, port, randomUUID, sqlstate, suite, user, version } from './check.mjs';

const check = suite(`postgres.js ${version('postgres')}`);
const sql = postgres({ host, port, user, database, max: 1, onnotice: () => {} });
const account = 'postgres.js';
const id = randomUUID();
const count = async where => Number((await sql`SELECT count(*) FROM memory.messages WHERE account_id = ${account} AND ${where ?? sql`true`}`)[0].count);

await check('insert', async () => {
	await sql`INSERT INTO memory.conversations ${sql({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } })}`;
	await sql`INSERT INTO memory.messages ${sql(messages(account, id, 1))}`;
	assert.equal(await count(), 1);
	assert.deepEqual((await sql`SELECT metadata FROM memory.conversations WHERE conversation_id = ${id}`)[0].metadata, { a: [1] });
});
await check('returning', async () => {
	const [row] = await sql`INSERT INTO memory.messages ${sql({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' })} RETURNING *`;
	assert.equal(row.seq, '2');
});
await check('many', async () => {
	assert.equal((await sql`INSERT INTO memory.messages ${sql(messages(account, id, 6).slice(2))}`).count, 4);
});
await check('ignore', async () => {
	const insert = on => sql`INSERT INTO memory.messages ${sql(messages(account, id, 7))} ${on} RETURNING seq`;

	assert.equal(await sqlstate(insert(sql``)), '23505');
	assert.deepEqual([...await insert(sql`ON CONFLICT DO NOTHING`)], [{ seq: '7' }]);
	return conflicts(insert(sql`ON CONFLICT (account_id, conversation_id, seq) DO NOTHING`));
});
await check('upsert', async () => {
	assert.equal(await sqlstate(sql`INSERT INTO memory.conversations ${sql({ conversation_id: id, account_id: account, title: 'new' })}
		ON CONFLICT (account_id, conversation_id) DO UPDATE SET title = EXCLUDED.title`), '42P10');
	assert.equal((await sql`SELECT memory.upsert_conversation(${account}, ${id}, title => 'new') AS made`)[0].made, false);
	return 'DO UPDATE: 42P10; memory.upsert_conversation works';
});
await check('get', async () => {
	assert.equal((await sql`SELECT * FROM memory.messages WHERE account_id = ${account} AND conversation_id = ${id} AND seq = ${2}`)[0].content, 'two');
});
await check('relation', async () => {
	assert.equal((await sql`SELECT c.title, m.seq FROM memory.conversations c JOIN memory.messages m USING (account_id, conversation_id)
		WHERE conversation_id IN ${sql([id])}`).length, 7);
});
await check('order', async () => {
	assert.deepEqual((await sql`SELECT seq FROM memory.messages WHERE conversation_id = ${id} ORDER BY seq DESC LIMIT 2`).map(r => r.seq), ['7', '6']);
});
await check('count', async () => assert.equal(await count(sql`conversation_id = ${id}`), 7));
await check('update', async () => {
	assert.equal((await sql`UPDATE memory.messages SET ${sql({ content: 'zwei' })} WHERE conversation_id = ${id} AND seq = 2`).count, 1);
	assert.equal((await sql`UPDATE memory.messages SET model = 'm' WHERE account_id = ${account} AND seq > 4 RETURNING seq`).length, 3);
});
await check('delete', async () => {
	assert.equal((await sql`DELETE FROM memory.messages WHERE account_id = ${account} AND conversation_id = ${id} AND seq = 7`).count, 1);
	assert.equal((await sql`DELETE FROM memory.messages WHERE conversation_id = ${id} AND seq = ANY (${[5, 6]}) RETURNING seq`).length, 2);
});
await check('savepoint', async () => {
	const insert = (sql, content) => sql`INSERT INTO memory.messages ${sql({ account_id: account, conversation_id: id, role: 'user', content })}`;
	const undo = new Error('undo');

	await sql.begin(async sql => {
		await insert(sql, 'kept');
		await sql.savepoint(async sql => { await insert(sql, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	});
	await sql.begin(async sql => { await insert(sql, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	assert.equal(await count(sql`content = 'kept'`), 1);
	assert.equal(await count(sql`content = 'undone'`), 0);
});
await check('prepared', async () => {
	for (let i = 0; i < 12; i++)
	{
		await sql`INSERT INTO memory.messages (conversation_id, account_id, role, content) VALUES (${id}, ${account}, 'user', ${'prepared ' + i})`;
		const [row] = await sql`SELECT content FROM memory.messages WHERE conversation_id = ${id} AND account_id = ${account} ORDER BY seq DESC LIMIT 1`;
		assert.equal(row.content, `prepared ${i}`);
	}
	assert.ok(Number((await sql`SELECT sum(generic_plans) AS n FROM pg_prepared_statements WHERE statement ~ 'memory.messages'`)[0].n) > 0, 'no generic plan');
	return 'by default: every statement is prepared';
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await sql`INSERT INTO memory.messages ${sql({ account_id: account, conversation_id: id, seq: 100n, role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null })}`;
	const [row] = await sql`SELECT * FROM memory.messages WHERE conversation_id = ${id} AND seq = 100`;
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	assert.equal(row.conversation_id, id);
	assert.equal(row.content, 'ünï 🐘');
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await sql`SELECT seq FROM memory.messages WHERE conversation_id = ANY (${[id]}) AND seq = ANY (${[1, 2]})`).length, 2);
});
await check('composite', async () => {
	assert.equal((await sql`SELECT * FROM memory.history(${account}, ${id}, max_messages => 1)`)[0].metadata.list.length, 3);
	const [row] = await sql`SELECT memory.message(${account}, ${id}, 2) AS m, (memory.message(${account}, ${id}, 2)).content`;
	assert.equal(row.content, 'zwei');
	return `a row value as ${typeof row.m}; (…).column works`;
});
await check('append', async () => {
	const list = [{ role: 'user', content: 'a' }, { role: 'tool', content: 'b' }];
	assert.equal((await sql`SELECT memory.append(${account}, ${id}, ${sql.json(list)}) AS seqs`)[0].seqs.length, 2);
	return 'sql.json(array)';
});
await check('copy', async () => {
	const lines = Array.from({ length: 5 }, (_, i) => `${id}\t${account}\tuser\tcopied ${i}\n`);
	const out = [];

	await pipeline(Readable.from(lines), await sql`COPY memory.messages (conversation_id, account_id, role, content) FROM STDIN`.writable());
	for await (const chunk of await sql.unsafe(`COPY (SELECT content FROM memory.messages WHERE conversation_id = '${id}' AND content LIKE 'copied%' ORDER BY seq) TO STDOUT`).readable())
		out.push(chunk);
	assert.equal(Buffer.concat(out).toString(), Array.from({ length: 5 }, (_, i) => `copied ${i}\n`).join(''));
	return 'COPY (SELECT …) TO';
});
await check('cursor', async () => {
	let rows = 0;

	await sql`SELECT seq, content FROM memory.messages WHERE conversation_id = ${id} ORDER BY seq`.cursor(4, part => { rows += part.length; });
	assert.equal(rows, await count());
});
await sql.end();
