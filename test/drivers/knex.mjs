import knex from 'knex';
import { assert, conflicts, database, host, messages, port, randomUUID, sqlstate, suite, user, version } from './check.mjs';

const check = suite(`Knex ${version('knex')}`);
const db = knex({ client: 'pg', connection: { host, port, user, database }, pool: { min: 1, max: 1 } });
const account = 'knex';
const id = randomUUID();
const M = () => db.withSchema('memory').table('messages');
const C = () => db.withSchema('memory').table('conversations');
const count = async where => Number((await M().where({ account_id: account, ...where }).count())[0].count);

await check('insert', async () => {
	await C().insert({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } });
	await M().insert(messages(account, id, 1)[0]);
	assert.equal(await count(), 1);
	assert.deepEqual((await C().where({ conversation_id: id }).first()).metadata, { a: [1] });
});
await check('returning', async () => {
	assert.equal((await M().insert({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' }).returning('*'))[0].seq, '2');
});
await check('many', async () => {
	assert.equal((await M().insert(messages(account, id, 6).slice(2)).returning('seq')).length, 4);
	await db.batchInsert('memory.messages', messages(account, randomUUID(), 5), 2);
	// a row without seq among rows with one: Knex writes DEFAULT
	const other = randomUUID();
	assert.equal((await M().insert([{ account_id: account, conversation_id: other, role: 'user', content: 'x' },
		{ account_id: account, conversation_id: other, role: 'user', content: 'y', model: 'm' }]).returning('seq')).length, 2);
	await C().whereNot({ conversation_id: id }).where({ account_id: account }).delete();
});
await check('ignore', async () => {
	const insert = () => M().insert(messages(account, id, 7)).returning('seq');

	assert.equal(await sqlstate(insert()), '23505');
	assert.deepEqual(await insert().onConflict().ignore(), [{ seq: '7' }]);
	return `onConflict().ignore() without columns; ${await conflicts(insert().onConflict(['account_id', 'conversation_id', 'seq']).ignore())}`;
});
await check('upsert', async () => {
	assert.equal(await sqlstate(C().insert({ conversation_id: id, account_id: account, title: 'new' }).onConflict(['account_id', 'conversation_id']).merge()), '42P10');
	assert.equal((await db.raw('SELECT memory.upsert_conversation(?, ?, title => ?) AS made', [account, id, 'new'])).rows[0].made, false);
	return 'merge(): 42P10; memory.upsert_conversation by raw works';
});
await check('get', async () => assert.equal((await M().where({ account_id: account, conversation_id: id, seq: 2 }).first()).content, 'two'));
await check('relation', async () => {
	const rows = await db('memory.conversations as c').join('memory.messages as m', join =>
		join.on('m.account_id', 'c.account_id').on('m.conversation_id', 'c.conversation_id')).where('c.account_id', account).select('c.title', 'm.seq');
	assert.equal(rows.length, 7);
	assert.equal((await M().whereIn(['account_id', 'conversation_id'], [[account, id]])).length, 7);
	assert.equal((await M().whereIn('conversation_id', C().where({ account_id: account }).select('conversation_id'))).length, 7);
});
await check('order', async () => assert.deepEqual(await M().where({ conversation_id: id }).orderBy('seq', 'desc').limit(2).pluck('seq'), ['7', '6']));
await check('count', async () => assert.equal(await count({ conversation_id: id }), 7));
await check('update', async () => {
	assert.equal(await M().where({ account_id: account, conversation_id: id, seq: 2 }).update({ content: 'zwei' }), 1);
	assert.equal((await M().where({ account_id: account }).where('seq', '>', 4).update({ model: 'm' }).returning('seq')).length, 3);
});
await check('delete', async () => {
	assert.equal(await M().where({ account_id: account, conversation_id: id, seq: 7 }).delete(), 1);
	assert.equal((await M().where({ conversation_id: id }).whereIn('seq', [5, 6]).delete().returning('seq')).length, 2);
});
await check('savepoint', async () => {
	const insert = (db, content) => db('memory.messages').insert({ account_id: account, conversation_id: id, role: 'user', content });
	const undo = new Error('undo');

	await db.transaction(async tx => {
		await insert(tx, 'kept');
		await tx.transaction(async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	});
	await db.transaction(async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	assert.equal(await count({ content: 'kept' }), 1);
	assert.equal(await count({ content: 'undone' }), 0);
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await M().insert({ account_id: account, conversation_id: id, seq: 100n, role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null });
	const row = await M().where({ conversation_id: id, seq: 100 }).first();
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await M().whereRaw('conversation_id = ANY (?) AND seq = ANY (?)', [[id], [1, 2]])).length, 2);
});
await check('composite', async () => {
	assert.equal((await db.select('*').fromRaw('memory.history(?, ?, max_messages => 1)', [account, id]))[0].metadata.list.length, 3);
});
await check('append', async () => {
	assert.equal((await db.raw('SELECT memory.append(?, ?, ?::jsonb) AS seqs', [account, id, JSON.stringify([{ role: 'user', content: 'a' }])])).rows[0].seqs.length, 1);
});
await check('cursor', async () => {
	let rows = 0;

	for await (const row of M().where({ conversation_id: id }).orderBy('seq').stream({ batchSize: 4 }))
		rows += row.content !== undefined;
	assert.equal(rows, await count());
	return '.stream() (pg-query-stream)';
});
await check('introspect', async () => {
	const columns = await M().columnInfo();

	assert.equal(columns.seq.type, 'bigint');
	assert.equal(await db.schema.withSchema('memory').hasTable('messages'), true);
	return 'columnInfo(), hasTable()';
});
await db.destroy();
