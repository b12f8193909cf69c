import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type World, call, createWorld, newId, token } from './world.js';

let world: World;

before(async () => {
	world = await createWorld();
});
after(async () => world.close());

test('a device pushes, another pulls, and pulls on from its checkpoint', async () => {
	const id = newId();
	const push = (content: string, message: string) => call(world, 'ann', 'POST', '/v1/push', {
		collection: 'messages',
		rows: [{ newDocumentState: { id: message, conversation_id: id, role: 'user', content } }],
	});
	assert.equal((await push('one', 'm1')).status, 200);
	const first = await call(world, 'ann', 'POST', '/v1/pull', { collection: 'messages' });
	assert.deepEqual(first.body.documents.map((d: any) => [d.id, d.content]), [['m1', 'one']]);
	await push('two', 'm2');
	const second = await call(world, 'ann', 'POST', '/v1/pull', { collection: 'messages', checkpoint: first.body.checkpoint });
	assert.deepEqual(second.body.documents.map((d: any) => d.id), ['m2']);
	const third = await call(world, 'ann', 'POST', '/v1/pull', { collection: 'messages', checkpoint: second.body.checkpoint });
	assert.deepEqual(third.body.documents, []);
	const other = await call(world, 'ben', 'POST', '/v1/pull', { collection: 'messages' });
	assert.deepEqual(other.body.documents, []);
	const conversations = await call(world, 'ann', 'POST', '/v1/pull', { collection: 'conversations', max_conversations: 5 });
	assert.equal(conversations.body.documents.length, 1);
	const one = await call(world, 'ann', 'GET', `/v1/conversations/${id}/documents`);
	assert.equal(one.status, 200);
	assert.match(JSON.stringify(one.body), /"m2"/);
	const feed = await call(world, 'ann', 'GET', '/v1/changes?after_revision=1');
	assert.deepEqual(feed.body.changes.map((c: any) => [c.conversation_id, c.revision, c.deleted]), [[id, 2, false]]);
});

test('a row that cannot be stored is named, and the others are stored', async () => {
	const rows = [
		{ newDocumentState: { id: 'good', conversation_id: newId(), role: 'user', content: 'x' } },
		{ newDocumentState: { id: 'bad', conversation_id: 'nonsense', role: 'user', content: 'x' } },
	];
	const { status, body } = await call(world, 'cas', 'POST', '/v1/push', { collection: 'messages', rows });
	assert.equal(status, 200);
	assert.match(JSON.stringify(body), /"sqlstate": ?"22/);
	const pulled = await call(world, 'cas', 'POST', '/v1/pull', { collection: 'messages' });
	assert.deepEqual(pulled.body.documents.map((d: any) => d.id), ['good']);
});

test('a checkpoint of another life of the account is refused by name', async () => {
	await call(world, 'dora', 'POST', '/v1/conversations', {});
	const { body: { checkpoint } } = await call(world, 'dora', 'POST', '/v1/pull', { collection: 'conversations' });
	await world.admin.query("SELECT memory.forget('dora')");
	await call(world, 'dora', 'POST', '/v1/conversations', {});
	const { status, body } = await call(world, 'dora', 'POST', '/v1/pull', { collection: 'conversations', checkpoint });
	assert.deepEqual([status, body.title, body.sqlstate], [410, 'Checkpoint expired', 'MX010']);
	assert.ok(body.hint);
});

test('what is no pull or push is refused', async () => {
	for (const [path, body] of [
		['/v1/pull', {}],
		['/v1/pull', { collection: 'accounts' }],
		['/v1/pull', { collection: 'messages', max_documents: 0 }],
		['/v1/pull', { collection: 'messages', account_id: 'ben' }],
		['/v1/push', { collection: 'messages', rows: [{}] }],
		['/v1/push', { collection: 'messages', rows: {} }],
	] as const)
		assert.equal((await call(world, 'ann', 'POST', path, body)).status, 400, JSON.stringify(body));
});

test('a client that comes back is told where its account is', async () => {
	await call(world, 'eve', 'POST', '/v1/conversations', {});
	const socket = new WebSocket(`${world.url.replace('http', 'ws')}/v1/live`, ['memory-ext.v1', `bearer.${await token('eve')}`]);
	const message = await new Promise<any>((resolve) => socket.on('message', (data) => resolve(JSON.parse(data.toString()))));
	assert.deepEqual([message.type, message.revision], ['hello', 1]);
	socket.terminate();
});
