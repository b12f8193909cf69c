import { DataSource, EntitySchema, In, MoreThan } from 'typeorm';
import { assert, conflicts, database, host, messages as rows, port, randomUUID, sqlstate, suite, user, version } from './check.mjs';

const check = suite(`TypeORM ${version('typeorm')}`);
const account = 'typeorm';
const id = randomUUID();
const key = (type, more) => ({ type, primary: true, ...more });
const optional = type => ({ type, nullable: true });
const Conversation = new EntitySchema({ name: 'Conversation', schema: 'memory', tableName: 'conversations', synchronize: false, columns: {
	account_id: key('text'), conversation_id: key('uuid'), title: optional('text'), metadata: optional('jsonb'), archived: optional('boolean'),
	updated_at: optional('timestamptz'), message_count: { type: 'bigint', insert: false, update: false, nullable: true }
}, relations: { messages: { type: 'one-to-many', target: 'Message', inverseSide: 'conversation' } } });
const Message = new EntitySchema({ name: 'Message', schema: 'memory', tableName: 'messages', synchronize: false, columns: {
	account_id: key('text'), conversation_id: key('uuid'), seq: key('bigint', { default: () => 'NULL' }), parent_seq: optional('bigint'),
	role: { type: 'text' }, content: { type: 'text' }, model: optional('text'), tokens: optional('int'), created_at: optional('timestamptz'),
	message_id: optional('text'), metadata: optional('jsonb')
}, relations: { conversation: { type: 'many-to-one', target: 'Conversation', inverseSide: 'messages', createForeignKeyConstraints: false,
	joinColumn: [{ name: 'account_id', referencedColumnName: 'account_id' }, { name: 'conversation_id', referencedColumnName: 'conversation_id' }] } } });
const db = new DataSource({ type: 'postgres', host, port, username: user, database, entities: [Conversation, Message], installExtensions: false, poolSize: 1 });

await db.initialize();
const conversations = db.getRepository(Conversation);
const messages = db.getRepository(Message);
const where = { account_id: account };

await check('insert', async () => {
	await conversations.insert({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } });
	await messages.insert(rows(account, id, 1)[0]);
	assert.equal(await messages.countBy(where), 1);
});
await check('returning', async () => {
	const made = await messages.save({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' });
	assert.equal(made.seq, '2');
	return 'save() gives seq back if the column has a default; with generated: "increment" TypeORM drops a seq that is given';
});
await check('many', async () => {
	await messages.insert(rows(account, id, 4).slice(2));
	const saved = await messages.save(rows(account, id, 6).slice(4));
	assert.equal(Number(saved[1].seq), 6);
});
await check('ignore', async () => {
	const insert = () => messages.createQueryBuilder().insert().values(rows(account, id, 7));

	assert.equal(await sqlstate(insert().execute()), '23505');
	await insert().orIgnore().execute();
	assert.equal(await messages.countBy(where), 7);
	return `orIgnore() sends no target; ${await conflicts(messages.upsert(rows(account, id, 7), ['account_id', 'conversation_id', 'seq']))}`;
});
await check('upsert', async () => {
	assert.equal(await sqlstate(conversations.upsert({ conversation_id: id, account_id: account, title: 'new' }, ['account_id', 'conversation_id'])), '42P10');
	assert.equal((await db.query('SELECT memory.upsert_conversation($1, $2, title => $3) AS made', [account, id, 'new']))[0].made, false);
	await conversations.save({ conversation_id: id, account_id: account, title: 'newer' });
	return 'upsert(): 42P10; save() (SELECT, then INSERT or UPDATE) and memory.upsert_conversation work';
});
await check('get', async () => {
	assert.equal((await messages.findOneBy({ ...where, conversation_id: id, seq: 2 })).content, 'two');
	assert.equal((await conversations.findOneBy({ ...where, conversation_id: id })).title, 'newer');
});
await check('relation', async () => {
	const [found] = await conversations.find({ where, relations: { messages: true }, order: { messages: { seq: 'DESC' } } });
	assert.equal(found.messages.length, 7);
	assert.equal((await conversations.find({ where, relations: { messages: true }, relationLoadStrategy: 'query' }))[0].messages.length, 7);
	assert.equal((await conversations.find({ where, relations: { messages: true }, take: 1 }))[0].messages.length, 7);
	assert.equal((await messages.findOne({ where: { ...where, seq: 2 }, relations: { conversation: true } })).conversation.title, 'newer');
	return 'join and query strategies';
});
await check('order', async () => assert.deepEqual((await messages.find({ where: { conversation_id: id }, order: { seq: 'DESC' }, take: 2 })).map(m => m.seq), ['7', '6']));
await check('count', async () => assert.equal((await messages.findAndCount({ where, take: 2 }))[1], 7));
await check('update', async () => {
	const message = await messages.findOneBy({ ...where, seq: 2 });

	message.content = 'zwei';
	await messages.save(message);
	assert.equal((await messages.findOneBy({ ...where, seq: 2 })).content, 'zwei');
	assert.equal((await messages.update({ ...where, seq: MoreThan(4) }, { model: 'm' })).affected, 3);
});
await check('delete', async () => {
	await messages.remove(await messages.findOneBy({ ...where, seq: 7 }));
	assert.equal((await messages.delete({ ...where, seq: In([5, 6]) })).affected, 2);
	assert.equal(await messages.countBy(where), 4);
});
await check('savepoint', async () => {
	const insert = (manager, content) => manager.insert(Message, { account_id: account, conversation_id: id, role: 'user', content });
	const undo = new Error('undo');

	await db.transaction(async tx => {
		await insert(tx, 'kept');
		await tx.transaction(async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	});
	await db.transaction(async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	assert.equal(await messages.countBy({ ...where, content: 'kept' }), 1);
	assert.equal(await messages.countBy({ ...where, content: 'undone' }), 0);
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await messages.insert({ account_id: account, conversation_id: id, seq: '100', role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null });
	const row = await messages.findOneBy({ ...where, seq: 100 });
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await db.query('SELECT seq FROM memory.messages WHERE conversation_id = ANY ($1) AND seq = ANY ($2)', [[id], [1, 2]])).length, 2);
});
await check('composite', async () => {
	assert.equal((await db.query('SELECT * FROM memory.history($1, $2, max_messages => 1)', [account, id]))[0].metadata.list.length, 3);
});
await check('append', async () => {
	assert.equal((await db.query('SELECT memory.append($1, $2, $3::jsonb) AS seqs', [account, id, JSON.stringify([{ role: 'user', content: 'a' }])]))[0].seqs.length, 1);
});
await check('cursor', async () => {
	let seen = 0;

	for await (const row of await messages.createQueryBuilder('m').where(where).orderBy('seq').stream())
		seen += row.m_content !== undefined;
	assert.equal(seen, await messages.countBy(where));
	return '.stream() (pg-query-stream)';
});
await check('introspect', async () => {
	const runner = db.createQueryRunner();
	const table = await runner.getTable('memory.messages');

	await runner.release();
	const sync = await db.driver.createSchemaBuilder().log();
	assert.deepEqual(sync.upQueries.filter(q => /memory/.test(q.query)).map(q => q.query), []);
	return `getTable() ${table ? 'finds it' : 'does not find it'}; entities with synchronize: false`;
});
await db.destroy();
