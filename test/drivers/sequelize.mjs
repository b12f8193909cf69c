import { DataTypes, Op, QueryTypes, Sequelize } from 'sequelize';
import { assert, database, host, messages as rows, port, randomUUID, sqlstate, suite, user, version } from './check.mjs';

const check = suite(`Sequelize ${version('sequelize')}`);
const db = new Sequelize({ dialect: 'postgres', host, port, username: user, database, logging: false, pool: { max: 1 } });
const account = 'sequelize';
const id = randomUUID();
const options = { schema: 'memory', timestamps: false };
const Conversation = db.define('conversation', {
	account_id: { type: DataTypes.TEXT, primaryKey: true }, conversation_id: { type: DataTypes.UUID, primaryKey: true },
	title: DataTypes.TEXT, metadata: DataTypes.JSONB, archived: DataTypes.BOOLEAN, updated_at: DataTypes.DATE
}, { ...options, tableName: 'conversations' });
const Message = db.define('message', {
	account_id: { type: DataTypes.TEXT, primaryKey: true }, conversation_id: { type: DataTypes.UUID, primaryKey: true },
	seq: { type: DataTypes.BIGINT, primaryKey: true }, parent_seq: DataTypes.BIGINT, role: DataTypes.TEXT, content: DataTypes.TEXT, model: DataTypes.TEXT,
	tokens: DataTypes.INTEGER, created_at: DataTypes.DATE, message_id: DataTypes.TEXT, metadata: DataTypes.JSONB
}, { ...options, tableName: 'messages' });
// a relation has one column; the other is the condition "on"
Conversation.hasMany(Message, { foreignKey: 'conversation_id', sourceKey: 'conversation_id', constraints: false });
Message.belongsTo(Conversation, { foreignKey: 'conversation_id', targetKey: 'conversation_id', constraints: false });
const where = { account_id: account };

await check('insert', async () => {
	await Conversation.create({ conversation_id: id, account_id: account, title: null, metadata: { a: [1] } }, { returning: false });
	await Message.create(rows(account, id, 1)[0]);
	assert.equal(await Message.count({ where }), 1);
});
await check('returning', async () => {
	const made = await Message.create({ account_id: account, conversation_id: id, role: 'assistant', content: 'two' });
	assert.equal(made.seq, '2');
	return 'create() reads the number back';
});
await check('many', async () => {
	assert.equal((await Message.bulkCreate(rows(account, id, 6).slice(2), { returning: true }))[3].seq, '6');
});
await check('ignore', async () => {
	assert.equal(await sqlstate(Message.bulkCreate(rows(account, id, 7))), '23505');
	await Message.bulkCreate(rows(account, id, 7), { ignoreDuplicates: true });
	assert.equal(await Message.count({ where }), 7);
	return 'bulkCreate(…, { ignoreDuplicates: true }) sends no target';
});
await check('upsert', async () => {
	assert.equal(await sqlstate(Conversation.upsert({ conversation_id: id, account_id: account, title: 'new' })), '42P10');
	const [row] = await db.query('SELECT memory.upsert_conversation($1, $2, title => $3) AS made', { bind: [account, id, 'new'], type: QueryTypes.SELECT });
	assert.equal(row.made, false);
	return 'upsert(): 42P10; memory.upsert_conversation by query works';
});
await check('get', async () => {
	assert.equal((await Message.findOne({ where: { ...where, conversation_id: id, seq: 2 } })).content, 'two');
	const [found, made] = await Conversation.findOrCreate({ where: { ...where, conversation_id: id } });
	assert.equal(made, false);
});
await check('relation', async () => {
	const found = await Conversation.findOne({ where, include: { model: Message, where }, order: [[Message, 'seq', 'DESC']] });
	assert.equal(found.messages.length, 7);
	assert.equal((await Conversation.findAll({ where, include: { model: Message, where, separate: true, limit: 3, order: [['seq', 'DESC']] } }))[0].messages.length, 3);
	assert.equal((await Message.findAll({ where, include: { model: Conversation, where } })).length, 7);
	return 'a relation has one column: put account_id into where';
});
await check('order', async () => assert.deepEqual((await Message.findAll({ where: { conversation_id: id }, order: [['seq', 'DESC']], limit: 2 })).map(m => m.seq), ['7', '6']));
await check('count', async () => assert.equal((await Message.findAndCountAll({ where, limit: 2 })).count, 7));
await check('update', async () => {
	const message = await Message.findOne({ where: { ...where, seq: 2 } });

	await message.update({ content: 'zwei' });
	assert.equal((await message.reload()).content, 'zwei');
	assert.equal((await Message.update({ model: 'm' }, { where: { ...where, seq: { [Op.gt]: 4 } }, returning: true }))[0], 3);
});
await check('delete', async () => {
	await (await Message.findOne({ where: { ...where, seq: 7 } })).destroy();
	assert.equal(await Message.destroy({ where: { ...where, seq: [5, 6] } }), 2);
	assert.equal(await Message.count({ where }), 4);
});
await check('savepoint', async () => {
	const insert = (transaction, content) => Message.create({ account_id: account, conversation_id: id, role: 'user', content }, { transaction });
	const undo = new Error('undo');

	await db.transaction(async tx => {
		await insert(tx, 'kept');
		await db.transaction({ transaction: tx }, async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	});
	await db.transaction(async tx => { await insert(tx, 'undone'); throw undo; }).catch(error => assert.equal(error, undo));
	assert.equal(await Message.count({ where: { ...where, content: 'kept' } }), 1);
	assert.equal(await Message.count({ where: { ...where, content: 'undone' } }), 0);
});
await check('types', async () => {
	const at = new Date('2026-01-02T03:04:05.678Z');
	const metadata = { list: [1, 'two', null], deep: { x: true } };

	await Message.create({ account_id: account, conversation_id: id, seq: 100, role: 'user', content: 'ünï 🐘', created_at: at, metadata, model: null });
	const row = await Message.findOne({ where: { ...where, seq: 100 } });
	assert.deepEqual(row.metadata, metadata);
	assert.equal(row.created_at.getTime(), at.getTime());
	assert.equal(row.model, null);
	assert.equal(await Message.count({ where: { ...where, 'metadata.deep.x': true } }), 1);
	return `bigint as ${typeof row.seq}`;
});
await check('array', async () => {
	assert.equal((await db.query('SELECT seq FROM memory.messages WHERE conversation_id = ANY ($1::uuid[]) AND seq = ANY ($2::bigint[])',
		{ bind: [[id], [1, 2]], type: QueryTypes.SELECT })).length, 2);
	return 'with bind; replacements are written as lists';
});
await check('composite', async () => {
	const [row] = await db.query('SELECT * FROM memory.history($1, $2, max_messages => 1)', { bind: [account, id], type: QueryTypes.SELECT, model: Message, mapToModel: true });
	assert.equal(row.metadata.list.length, 3);
	return 'history() as models: mapToModel';
});
await check('append', async () => {
	const [row] = await db.query('SELECT memory.append($1, $2, $3::jsonb) AS seqs', { bind: [account, id, JSON.stringify([{ role: 'user', content: 'a' }])], type: QueryTypes.SELECT });
	assert.equal(row.seqs.length, 1);
});
await check('introspect', async () => {
	const columns = await db.getQueryInterface().describeTable({ schema: 'memory', tableName: 'messages' });

	assert.equal(columns.seq.type, 'BIGINT');
	return 'describeTable()';
});
await db.close();
