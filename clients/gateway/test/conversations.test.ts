import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type World, call, createWorld, newId } from './world.js';

let world: World;

before(async () => {
	world = await createWorld();
});
after(async () => world.close());

test('append, then history, context, one message, and all branches', async () => {
	const id = newId();
	const messages = `/v1/conversations/${id}/messages`;
	const first = await call(world, 'ann', 'POST', messages, { role: 'system', content: 'Be brief.' });
	assert.deepEqual([first.status, first.body], [200, { seqs: [1] }]);
	const more = await call(world, 'ann', 'POST', messages, {
		messages: [
			{ role: 'user', content: 'Wie spät ist es? 何時ですか "\\', message_id: 'm-2' },
			{ role: 'assistant', content: 'Noon.', model: 'x', tokens: 3, metadata: { a: [1, null] }, parent_seq: 2 },
		],
	});
	assert.deepEqual(more.body, { seqs: [2, 3] });

	const { body: history } = await call(world, 'ann', 'GET', `${messages}?limit=2`);
	assert.deepEqual(history.messages.map((m: any) => [m.seq, m.parent_seq, m.content]), [
		[2, 1, 'Wie spät ist es? 何時ですか "\\'],
		[3, 2, 'Noon.'],
	]);
	assert.deepEqual(history.messages[1].metadata, { a: [1, null] });
	const { body: older } = await call(world, 'ann', 'GET', `${messages}?before_seq=2`);
	assert.deepEqual(older.messages.map((m: any) => m.seq), [1]);
	const { body: context } = await call(world, 'ann', 'GET', `/v1/conversations/${id}/context?max_tokens=7`);
	assert.deepEqual(context.messages.map((m: any) => m.seq), [1, 3]);
	const { body: one } = await call(world, 'ann', 'GET', `${messages}/3`);
	assert.equal(one.model, 'x');

	await call(world, 'ann', 'POST', messages, { role: 'assistant', content: 'It is noon.', parent_seq: 2 });
	const { body: branches } = await call(world, 'ann', 'GET', `/v1/conversations/${id}/branches`);
	assert.deepEqual(branches.messages.map((m: any) => [m.seq, m.parent_seq]), [[1, 0], [2, 1], [3, 2], [4, 2]]);
	const { body: behind } = await call(world, 'ann', 'GET', `/v1/conversations/${id}/branches?after_seq=1&limit=2`);
	assert.deepEqual(behind.messages.map((m: any) => m.seq), [2, 3]);
});

test('a message sent twice is stored once; another under its message_id is a conflict', async () => {
	const path = `/v1/conversations/${newId()}/messages`;
	const message = { role: 'user', content: 'once', message_id: 'k' };
	assert.deepEqual((await call(world, 'ann', 'POST', path, message)).body, { seqs: [1] });
	assert.deepEqual((await call(world, 'ann', 'POST', path, message)).body, { seqs: [1] });
	const other = await call(world, 'ann', 'POST', path, { ...message, content: 'twice' });
	assert.equal(other.status, 409);
	assert.equal(other.body.sqlstate, '23505');
	assert.equal(other.headers.get('content-type'), 'application/problem+json; charset=utf-8');
});

test('edit and delete a message, change and delete a conversation', async () => {
	const created = await call(world, 'ben', 'POST', '/v1/conversations', { title: 'One', metadata: { tag: 'x' } });
	const path = `/v1/conversations/${created.body.conversation_id}`;
	await call(world, 'ben', 'POST', `${path}/messages`, { role: 'user', content: 'a' });
	const edited = await call(world, 'ben', 'PATCH', `${path}/messages/1`, { content: 'b' });
	assert.ok(edited.body.revision > 0);
	assert.equal((await call(world, 'ben', 'GET', `${path}/messages/1`)).body.content, 'b');
	assert.ok((await call(world, 'ben', 'PATCH', path, { title: 'Two', archived: true })).body.revision > edited.body.revision);
	const { body } = await call(world, 'ben', 'GET', path);
	assert.deepEqual([body.title, body.archived, body.metadata, body.message_count], ['Two', true, { tag: 'x' }, 1]);
	assert.ok((await call(world, 'ben', 'DELETE', `${path}/messages/1`)).body.revision > 0);
	assert.equal((await call(world, 'ben', 'GET', `${path}/messages/1`)).status, 404);
	assert.ok((await call(world, 'ben', 'DELETE', path)).body.revision > 0);
	assert.equal((await call(world, 'ben', 'GET', path)).status, 404);
	const again = await call(world, 'ben', 'POST', `${path}/messages`, { role: 'user', content: 'a' });
	assert.deepEqual([again.status, again.body.sqlstate], [409, '55000']);
});

test('the list is read page by page, each conversation once', async () => {
	const ids = [];
	for (let n = 0; n < 7; n++)
		ids.push((await call(world, 'cas', 'POST', '/v1/conversations', { title: `no. ${n}` })).body.conversation_id);
	await call(world, 'cas', 'PATCH', `/v1/conversations/${ids[3]}`, { archived: true });
	const seen: string[] = [];
	let next = '';
	do {
		const { body } = await call(world, 'cas', 'GET', `/v1/conversations?limit=2${next && `&after=${next}`}`);
		seen.push(...body.conversations.map((c: any) => c.conversation_id));
		next = body.next ?? '';
	} while (next !== '');
	assert.deepEqual(seen, ids.filter((_, n) => n !== 3).reverse());
	const all = await call(world, 'cas', 'GET', '/v1/conversations?include_archived=true');
	assert.equal(all.body.conversations.length, 7);
	assert.equal(all.body.next, null);
	const bad = await call(world, 'cas', 'GET', '/v1/conversations?after=nonsense');
	assert.equal(bad.status, 400);
});

test("another account's conversation is not found, and its id is free", async () => {
	const id = (await call(world, 'dora', 'POST', '/v1/conversations', { title: 'private' })).body.conversation_id;
	for (const [method, path, body] of [
		['GET', `/v1/conversations/${id}`],
		['PATCH', `/v1/conversations/${id}`, { title: 'mine' }],
		['DELETE', `/v1/conversations/${id}`],
		['GET', `/v1/conversations/${id}/messages/1`],
	] as const)
		assert.equal((await call(world, 'eve', method, path, body)).status, 404, `${method} ${path}`);
	assert.equal((await call(world, 'eve', 'POST', '/v1/conversations', { conversation_id: id })).status, 200);
	assert.equal((await call(world, 'dora', 'GET', `/v1/conversations/${id}`)).body.title, 'private');
});

test('what a request must not hold is refused before the database sees it', async () => {
	const path = `/v1/conversations/${newId()}/messages`;
	for (const body of [{ role: 'user' }, { role: 'user', content: 5 }, { role: 'user', content: 'x', seq: 1 }, { messages: [] }]) {
		const { status, body: problem } = await call(world, 'ann', 'POST', path, body);
		assert.equal(status, 400, JSON.stringify(body));
		assert.ok(problem.errors.length > 0);
	}
	assert.equal((await call(world, 'ann', 'GET', '/v1/conversations/not-a-uuid')).status, 400);
	assert.equal((await call(world, 'ann', 'GET', '/v1/conversations?limit=0')).status, 400);
	assert.equal((await call(world, 'ann', 'GET', '/v1/nothing')).status, 404);
	const zero = await call(world, 'ann', 'POST', path, { role: 'user', content: 'a\0b' });
	assert.deepEqual([zero.status, zero.body.sqlstate], [400, '22021']);
});
