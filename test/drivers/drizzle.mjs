import { drizzle } from 'drizzle-orm/node-postgres';
import { and, desc, eq, gt, inArray, relations, sql } from 'drizzle-orm';
import { bigint, boolean, integer, jsonb, pgSchema, primaryKey, text, timestamp, uuid } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, conflicts, messages as rows, randomUUID, sqlstate, suite, url, version } from './check.mjs';

const check = suite(`Drizzle ${version('drizzle-orm')}`);
const account = 'drizzle';
const id = randomUUID();

const memory = pgSchema('memory');
const conversations = memory.table('conversations', {
	conversation_id: uuid(), account_id: text(), title: text(), metadata: jsonb(), archived: boolean(), head_seq: bigint({ mode: 'bigint' }),
	created_at: timestamp({ withTimezone: true }), updated_at: timestamp({ withTimezone: true }), message_count: bigint({ mode: 'number' })
}, t => [primaryKey({ columns: [t.account_id, t.conversation_id] })]);
const messages = memory.table('messages', {
	conversation_id: uuid(), account_id: text(), seq: bigint({ mode: 'number' }), parent_seq: bigint({ mode: 'number' }), role: text(), content: text(),
	model: text(), tokens: integer(), created_at: timestamp({ withTimezone: true }), message_id: text(), metadata: jsonb()
}, t => [primaryKey({ columns: [t.account_id, t.conversation_id, t.seq] })]);
const of_conversation = relations(conversations, ({ many }) => ({ messages: many(messages) }));
const of_message = relations(messages, ({ one }) => ({ conversation: one(conversations, {
	fields: [messages.account_id, messages.conversation_id], references: [conversations.account_id, conversations.conversation_id] }) }));
const pool = new pg.Pool({ max: 1 });
const db = drizzle(pool, { schema: { conversations, messages, of_conversation, of_message } });
const count = async where => db.$count(messages, and(eq(messages.account_id, account), where));
const this_one = seq => and(eq(messages.account_id, account), eq(messages.conversation_id, id), eq(messages.seq, seq));

await check('insert', async () => {
	await db.insert(conversations).values({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } });
	await db.insert(messages).values(rows(account, id, 1)[0]);
	assert.equal(await count(), 1);
});
await check('returning', async () => {
	assert.equal((await db.insert(messages).values({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' }).returning())[0].seq, 2);
	return 'columns left out are sent as DEFAULT';
});
await check('many', async () => {
	assert.equal((await db.insert(messages).values(rows(account, id, 6).slice(2)).returning({ seq: messages.seq })).length, 4);
});
await check('ignore', async () => {
	const insert = () => db.insert(messages).values(rows(account, id, 7));

	assert.equal(await sqlstate(insert()), '23505');
	assert.deepEqual(await insert().onConflictDoNothing().returning({ seq: messages.seq }), [{ seq: 7 }]);
	return `onConflictDoNothing(); ${await conflicts(insert().onConflictDoNothing({ target: [messages.account_id, messages.conversation_id, messages.seq] }))}`;
});
await check('upsert', async () => {
	assert.equal(await sqlstate(db.insert(conversations).values({ conversation_id: id, account_id: account })
		.onConflictDoUpdate({ target: [conversations.account_id, conversations.conversation_id], set: { title: 'new' } })), '42P10');
	assert.equal((await db.execute(sql`SELECT memory.upsert_conversation(${account}, ${id}, title => 'new') AS made`)).rows[0].made, false);
	return 'onConflictDoUpdate: 42P10; memory.upsert_conversation by sql works';
});
await check('get', async () => assert.equal((await db.select().from(messages).where(this_one(2)))[0].content, 'two'));
await check('relation', async () => {
	const found = await db.query.conversations.findFirst({ where: eq(conversations.account_id, account), with: { messages: { orderBy: desc(messages.seq), limit: 3 } } });
	assert.deepEqual(found.messages.map(m => m.seq), [7, 6, 5]);
	assert.equal((await db.query.messages.findFirst({ where: this_one(2), with: { conversation: true } })).conversation.conversation_id, id);
	assert.equal((await db.select().from(conversations).innerJoin(messages, and(eq(messages.account_id, conversations.account_id),
		eq(messages.conversation_id, conversations.conversation_id))).where(eq(conversations.account_id, account))).length, 7);
});
await check('order', async () => {
	assert.deepEqual((await db.select().from(messages).where(eq(messages.conversation_id, id)).orderBy(desc(messages.seq)).limit(2)).map(m => m.seq), [7, 6]);
});
await check('count', async () => assert.equal(await count(eq(messages.conversation_id, id)), 7));
await check('update', async () => {
	assert.equal((await db.update(messages).set({ content: 'zwei' }).where(this_one(2))).rowCount, 1);
	assert.equal((await db.update(messages).set({ model: 'm' }).where(and(eq(messages.account_id, account), gt(messages.seq, 4))).returning()).length, 3);
});
await check('delete', async () => {
	assert.equal((await db.delete(messages).where(this_one(7))).rowCount, 1);
	assert.equal((await db.delete(messages).where(and(eq(messages.conversation_id, id), inArray(messages.seq, [5, 6]))).returning()).length, 2);
});
await check('savepoint', async () => {
	const insert = (db, content) => db.insert(messages).values({ account_id: account, conversation_id: id, role: 'user', content });

	await db.transaction(async tx => {
		await insert(tx, 'kept');
		await tx.transaction(async tx => { await insert(tx, 'undone'); tx.rollback(); }).catch(error => assert.match(error.message, /rollback/i));
	});
	await db.transaction(async tx => { await insert(tx, 'undone'); tx.rollback(); }).catch(error => assert.match(error.message, /rollback/i));
	assert.equal(await count(eq(messages.content, 'kept')), 1);
	assert.equal(await count(eq(messages.content, 'undone')), 0);
});
await check('prepared', async () => {
	const read = db.select().from(messages).where(and(eq(messages.conversation_id, sql.placeholder('id')), eq(messages.seq, sql.placeholder('seq')))).prepare('drizzle_read');

	for (let i = 0; i < 12; i++)
		assert.equal((await read.execute({ id, seq: 1 })).length, 1);
	assert.ok((await db.execute(sql`SELECT generic_plans::int AS n FROM pg_prepared_statements WHERE name = 'drizzle_read'`)).rows[0].n > 0, 'no generic plan');
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await db.insert(messages).values({ account_id: account, conversation_id: id, seq: 100, role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null });
	const [row] = await db.select().from(messages).where(this_one(100));
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	assert.equal(typeof (await db.select().from(conversations).where(eq(conversations.conversation_id, id)))[0].head_seq, 'bigint');
	return 'bigint as the column\'s mode says: number or bigint';
});
await check('array', async () => {
	assert.equal((await db.select().from(messages).where(sql`${messages.conversation_id} = ANY (${sql.param([id])}) AND ${messages.seq} = ANY (${sql.param([1, 2])})`)).length, 2);
	return 'sql.param(array)';
});
await check('composite', async () => {
	assert.equal((await db.execute(sql`SELECT * FROM memory.history(${account}, ${id}, max_messages => 1)`)).rows[0].metadata.list.length, 3);
});
await check('append', async () => {
	assert.equal((await db.execute(sql`SELECT memory.append(${account}, ${id}, ${JSON.stringify([{ role: 'user', content: 'a' }])}::jsonb) AS seqs`)).rows[0].seqs.length, 1);
});
await check('introspect', async () => {
	const folder = mkdtempSync(join(tmpdir(), 'drizzle-'));

	try
	{
		writeFileSync(join(folder, 'drizzle.config.json'), JSON.stringify({ dialect: 'postgresql', dbCredentials: { url }, schemaFilter: ['memory'], out: folder }));
		execFileSync(process.execPath, ['node_modules/drizzle-kit/bin.cjs', 'pull', `--config=${join(folder, 'drizzle.config.json')}`], { stdio: 'pipe' });
		const schema = readFileSync(join(folder, 'schema.ts'), 'utf8');
		const has = name => schema.includes(`.table("${name}"`) || schema.includes(`.view("${name}"`);
		return `drizzle-kit ${version('drizzle-kit')} pull ${has('messages') ? 'has' : 'leaves out'} memory.messages, ${has('plans') ? 'has' : 'leaves out'} tables, ${has('usage_daily') ? 'has' : 'leaves out'} views`;
	}
	finally
	{
		rmSync(folder, { recursive: true });
	}
});
await pool.end();
