import { Kysely, PostgresDialect, sql } from 'kysely';
import { jsonArrayFrom } from 'kysely/helpers/postgres';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { assert, conflicts, messages, randomUUID, sqlstate, suite, version } from './check.mjs';

const check = suite(`Kysely ${version('kysely')}`);
const db = new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ max: 1 }), cursor: Cursor }) });
const account = 'kysely';
const id = randomUUID();
const M = 'memory.messages';
const C = 'memory.conversations';
const count = async (column = 'account_id', value = account) =>
	Number((await db.selectFrom(M).select(e => e.fn.countAll().as('n')).where('account_id', '=', account).where(column, '=', value).executeTakeFirst()).n);

await check('insert', async () => {
	await db.insertInto(C).values({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } }).execute();
	assert.equal((await db.insertInto(M).values(messages(account, id, 1)[0]).executeTakeFirst()).numInsertedOrUpdatedRows, 1n);
	assert.equal(await count(), 1);
});
await check('returning', async () => {
	const row = await db.insertInto(M).values({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' }).returningAll().executeTakeFirst();
	assert.equal(row.seq, '2');
});
await check('many', async () => {
	assert.equal((await db.insertInto(M).values(messages(account, id, 6).slice(2)).returning('seq').execute()).length, 4);
});
await check('ignore', async () => {
	const insert = () => db.insertInto(M).values(messages(account, id, 7)).returning('seq');

	assert.equal(await sqlstate(insert().execute()), '23505');
	assert.deepEqual(await insert().onConflict(c => c.doNothing()).execute(), [{ seq: '7' }]);
	return `onConflict(c => c.doNothing()); ${await conflicts(insert().onConflict(c => c.columns(['account_id', 'conversation_id', 'seq']).doNothing()).execute())}`;
});
await check('upsert', async () => {
	assert.equal(await sqlstate(db.insertInto(C).values({ conversation_id: id, account_id: account, title: 'new' })
		.onConflict(c => c.columns(['account_id', 'conversation_id']).doUpdateSet({ title: 'new' })).execute()), '42P10');
	assert.equal((await sql`SELECT memory.upsert_conversation(${account}, ${id}, title => ${'new'}) AS made`.execute(db)).rows[0].made, false);
	return 'doUpdateSet: 42P10; memory.upsert_conversation by sql works';
});
await check('get', async () => assert.equal((await db.selectFrom(M).selectAll().where('account_id', '=', account)
	.where('conversation_id', '=', id).where('seq', '=', 2).executeTakeFirst()).content, 'two'));
await check('relation', async () => {
	const rows = await db.selectFrom(`${C} as c`).innerJoin(`${M} as m`, j => j.onRef('m.account_id', '=', 'c.account_id')
		.onRef('m.conversation_id', '=', 'c.conversation_id')).select(['c.title', 'm.seq']).where('c.account_id', '=', account).execute();
	assert.equal(rows.length, 7);
	const [nested] = await db.selectFrom(`${C} as c`).select(e => ['title', jsonArrayFrom(e.selectFrom(`${M} as m`).select(['m.seq', 'm.content'])
		.whereRef('m.account_id', '=', 'c.account_id').whereRef('m.conversation_id', '=', 'c.conversation_id').orderBy('m.seq')).as('messages')])
		.where('c.account_id', '=', account).execute();
	assert.equal(nested.messages.length, 7);
	return 'jsonArrayFrom too';
});
await check('order', async () => {
	assert.deepEqual((await db.selectFrom(M).select('seq').where('conversation_id', '=', id).orderBy('seq', 'desc').limit(2).execute()).map(r => r.seq), ['7', '6']);
});
await check('count', async () => assert.equal(await count('conversation_id', id), 7));
await check('update', async () => {
	const one = await db.updateTable(M).set({ content: 'zwei' }).where('account_id', '=', account).where('conversation_id', '=', id).where('seq', '=', 2).executeTakeFirst();
	assert.equal(one.numUpdatedRows, 1n);
	assert.equal((await db.updateTable(M).set({ model: 'm' }).where('account_id', '=', account).where('seq', '>', 4).returning('seq').execute()).length, 3);
});
await check('delete', async () => {
	assert.equal((await db.deleteFrom(M).where('conversation_id', '=', id).where('seq', '=', 7).executeTakeFirst()).numDeletedRows, 1n);
	assert.equal((await db.deleteFrom(M).where('conversation_id', '=', id).where('seq', 'in', [5, 6]).returning('seq').execute()).length, 2);
});
await check('savepoint', async () => {
	const insert = (db, content) => db.insertInto(M).values({ account_id: account, conversation_id: id, role: 'user', content }).execute();
	const tx = await db.startTransaction().execute();

	await insert(tx, 'kept');
	const inner = await tx.savepoint('s').execute();
	await insert(inner, 'undone');
	await inner.rollbackToSavepoint('s').execute();
	await tx.commit().execute();
	await db.transaction().execute(async tx => { await insert(tx, 'undone'); throw new Error('undo'); }).catch(error => assert.equal(error.message, 'undo'));
	assert.equal(await count('content', 'kept'), 1);
	assert.equal(await count('content', 'undone'), 0);
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await db.insertInto(M).values({ account_id: account, conversation_id: id, seq: 100n, role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null }).execute();
	const row = await db.selectFrom(M).selectAll().where('conversation_id', '=', id).where('seq', '=', 100).executeTakeFirst();
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await db.selectFrom(M).select('seq').where(sql`conversation_id = ANY (${[id]}) AND seq = ANY (${[1, 2]})`).execute()).length, 2);
});
await check('composite', async () => {
	const rows = await db.selectFrom(sql`memory.history(${account}, ${id}, max_messages => 1)`.as('h')).selectAll().execute();
	assert.equal(rows[0].metadata.list.length, 3);
});
await check('append', async () => {
	assert.equal((await sql`SELECT memory.append(${account}, ${id}, ${JSON.stringify([{ role: 'user', content: 'a' }])}::jsonb) AS seqs`.execute(db)).rows[0].seqs.length, 1);
});
await check('cursor', async () => {
	let rows = 0;

	for await (const row of db.selectFrom(M).selectAll().where('conversation_id', '=', id).orderBy('seq').stream(4))
		rows += row.content !== undefined;
	assert.equal(rows, await count());
	return '.stream() (pg-cursor)';
});
await check('introspect', async () => {
	const table = (await db.introspection.getTables()).find(t => t.schema === 'memory' && t.name === 'messages');

	assert.equal(table?.columns.find(c => c.name === 'seq').dataType, 'int8');
	assert.ok(table.columns.every(c => c.isNullable));
	return 'getTables() has it, all columns nullable';
});
await db.destroy();
