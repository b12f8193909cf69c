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

test('search finds words, page by page, with snippets', async () => {
	const id = newId();
	const other = newId();
	const path = (conversation: string) => `/v1/conversations/${conversation}/messages`;
	await call(world, 'finder', 'POST', path(id), { role: 'user', content: 'Where is the black cat & the <b>other</b> cat?' });
	await call(world, 'finder', 'POST', path(id), { role: 'assistant', content: 'The cat is on the mat.', model: 'm1' });
	await call(world, 'finder', 'POST', path(other), { role: 'user', content: '東京の猫 cat' });
	await call(world, 'stranger', 'POST', path(newId()), { role: 'user', content: 'my secret cat' });
	const search = async (query: string) => (await call(world, 'finder', 'GET', `/v1/search?${query}`));

	const seen: unknown[] = [];
	let next = '';
	do {
		const { status, body } = await search(`q=cat&limit=1${next && `&after=${encodeURIComponent(next)}`}`);
		assert.equal(status, 200, JSON.stringify(body));
		seen.push(...body.results.map((r: any) => `${r.conversation_id} ${r.seq}`));
		next = body.next ?? '';
	} while (next !== '');
	assert.deepEqual(seen.sort(), [`${id} 1`, `${id} 2`, `${other} 1`].sort());

	const { body } = await search('q=black');
	const [start, end] = body.results[0].highlights;
	assert.equal(body.results[0].snippet.slice(start, end), 'black');
	assert.equal((await search('q=cat&role=assistant')).body.results.length, 1);
	assert.equal((await search('q=cat&role=assistant&role=user')).body.results.length, 3);
	assert.equal((await search('q=cat&model=m1')).body.results.length, 1);
	assert.equal((await search(`q=cat&conversation_id=${other}`)).body.results.length, 1);
	assert.equal((await search(`q=${encodeURIComponent('東京')}`)).body.results.length, 1);
	assert.equal((await search('q=secret')).body.results.length, 0);
	assert.equal((await search('q=cat&order_by=size')).status, 400);
	assert.equal((await search('q=')).status, 400);
});
