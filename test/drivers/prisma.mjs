import { PrismaPg } from '@prisma/adapter-pg';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { assert, messages as rows, randomUUID, suite, url, version } from './check.mjs';

const { PrismaClient } = createRequire(import.meta.url)('./prisma-client');
const check = suite(`Prisma Client ${version('@prisma/client')}`);
const db = new PrismaClient({ adapter: new PrismaPg({ connectionString: url }) });
const account_id = 'prisma';
const conversation_id = randomUUID();
const where = { account_id };
const key = seq => ({ account_id_conversation_id_seq: { account_id, conversation_id, seq } });
const code = async promise => {
	const error = await promise.then(() => assert.fail('did not fail'), error => error);
	return /42P10/.test(JSON.stringify(error.meta ?? null) + error.message + JSON.stringify(error.cause ?? null)) ? '42P10' : error.code;
};

await check('insert', async () => {
	await db.conversation.create({ data: { account_id, conversation_id, metadata: { a: [1] }, messages: { create: { role: 'user', content: 'one' } } } });
	assert.equal(await db.message.count({ where }), 1);
	return 'a conversation with its messages';
});
await check('returning', async () => {
	const made = await db.message.create({ data: { account_id, conversation_id, role: 'assistant', content: 'two' } });
	assert.equal(made.seq, 2n);
	return 'seq with @default(autoincrement()) is read back';
});
await check('many', async () => {
	assert.equal((await db.message.createMany({ data: rows(account_id, conversation_id, 4).slice(2) })).count, 2);
	assert.equal((await db.message.createManyAndReturn({ data: rows(account_id, conversation_id, 6).slice(4) }))[1].seq, 6n);
	return 'createMany, createManyAndReturn';
});
await check('ignore', async () => {
	assert.equal(await code(db.message.createMany({ data: rows(account_id, conversation_id, 7) })), 'P2002');
	assert.equal((await db.message.createMany({ data: rows(account_id, conversation_id, 7), skipDuplicates: true })).count, 1);
	return 'skipDuplicates sends no target';
});
await check('upsert', async () => {
	const upsert = (create, update, id = conversation_id) => db.conversation.upsert({ where: { account_id_conversation_id: { account_id, conversation_id: id } },
		create: { account_id, conversation_id: id, ...create }, update });

	assert.equal(await code(upsert({ title: 'new' }, { title: 'new' })), '42P10');
	const [row] = await db.$queryRaw`SELECT memory.upsert_conversation(${account_id}, ${conversation_id}::uuid, title => 'new') AS made`;
	assert.equal(row.made, false);
	return 'upsert(): 42P10; memory.upsert_conversation by $queryRaw works';
});
await check('get', async () => assert.equal((await db.message.findUnique({ where: key(2) })).content, 'two'));
await check('relation', async () => {
	const found = await db.conversation.findFirst({ where, include: { messages: { orderBy: { seq: 'desc' }, take: 3 }, _count: { select: { messages: true } } } });
	assert.deepEqual(found.messages.map(m => m.seq), [7n, 6n, 5n]);
	assert.equal(found._count.messages, 7);
	assert.equal((await db.message.findMany({ where: { conversation: where }, include: { conversation: true } })).length, 7);
	return 'include, _count';
});
await check('order', async () => assert.deepEqual((await db.message.findMany({ where, orderBy: { seq: 'desc' }, take: 2 })).map(m => m.seq), [7n, 6n]));
await check('count', async () => assert.equal((await db.message.aggregate({ where, _count: true, _max: { seq: true } }))._count, 7));
await check('update', async () => {
	assert.equal((await db.message.update({ where: key(2), data: { content: 'zwei' } })).content, 'zwei');
	assert.equal((await db.message.updateMany({ where: { ...where, seq: { gt: 4 } }, data: { model: 'm' } })).count, 3);
});
await check('delete', async () => {
	assert.equal((await db.message.delete({ where: key(7) })).seq, 7n);
	assert.equal((await db.message.deleteMany({ where: { ...where, seq: { in: [5, 6] } } })).count, 2);
});
await check('savepoint', async () => {
	const insert = (db, content) => db.message.create({ data: { account_id, conversation_id, role: 'user', content } });

	await db.$transaction([insert(db, 'kept'), db.message.count()]);
	await db.$transaction(async tx => { await insert(tx, 'undone'); throw new Error('undo'); }).catch(error => assert.equal(error.message, 'undo'));
	assert.equal(await db.message.count({ where: { ...where, content: 'kept' } }), 1);
	assert.equal(await db.message.count({ where: { ...where, content: 'undone' } }), 0);
	return 'transactions; it has no savepoints';
});
await check('types', async () => {
	const created_at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await db.message.create({ data: { account_id, conversation_id, seq: 100n, role: 'user', content: 'ünï 🐘', created_at, metadata, model: null } });
	const row = await db.message.findUnique({ where: key(100) });
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), created_at.getTime());
	assert.equal(row.model, null);
	assert.equal(await db.message.count({ where: { ...where, metadata: { path: ['deep', 'x'], equals: true } } }), 1);
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await db.$queryRaw`SELECT seq FROM memory.messages WHERE conversation_id = ANY (${[conversation_id]}::uuid[]) AND seq = ANY (${[1, 2]})`).length, 2);
});
await check('composite', async () => {
	assert.equal((await db.$queryRaw`SELECT * FROM memory.history(${account_id}, ${conversation_id}::uuid, max_messages => 1)`)[0].metadata.list.length, 3);
});
await check('append', async () => {
	const [row] = await db.$queryRaw`SELECT memory.append(${account_id}, ${conversation_id}::uuid, ${JSON.stringify([{ role: 'user', content: 'a' }])}::jsonb) AS seqs`;
	assert.equal(row.seqs.length, 1);
});
await check('introspect', async () => {
	// it downloads its engine first
	const { stdout, stderr } = spawnSync(process.execPath, ['node_modules/prisma/build/index.js', 'db', 'pull', '--print'],
		{ encoding: 'utf8', timeout: 90000, env: { ...process.env, CHECKPOINT_DISABLE: '1' } });

	if (/schema-engine\S* failed/.test(stderr))
		return 'db pull not run: its engine could not be downloaded';
	assert.match(stdout, /^model /m, stderr);
	return `db pull ${/^(model|view) messages /m.test(stdout) ? 'has' : 'leaves out'} memory.messages`;
});
await db.$disconnect();
