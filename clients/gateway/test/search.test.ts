import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type World, call, createWorld, newId } from './world.js';

let world: World;

before(async () => {
	world = await createWorld();
});
after(async () => world.close());

/** All pages of a list, a row a page. */
async function allOf(account: string, path: string, list: string): Promise<any[]> {
	const rows: any[] = [];
	let next = '';

	do {
		const { status, body } = await call(world, account, 'GET', `${path}&limit=1${next && `&after=${encodeURIComponent(next)}`}`);
		assert.equal(status, 200, JSON.stringify(body));
		rows.push(...body[list]);
		next = body.next ?? '';
	} while (next !== '');
	return rows;
}

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

test('conversations are found whose messages and title together hold the words', async () => {
	const path = (conversation: string) => `/v1/conversations/${conversation}`;
	const [baking, diary] = [newId(), newId()];
	await call(world, 'baker', 'POST', '/v1/conversations', { conversation_id: baking, title: 'Baking bread' });
	await call(world, 'baker', 'POST', `${path(baking)}/messages`, { role: 'user', content: 'Which flour?' });
	await call(world, 'baker', 'POST', `${path(baking)}/messages`, { role: 'assistant', content: 'Rye flour & water.' });
	await call(world, 'baker', 'POST', `${path(diary)}/messages`, { role: 'user', content: 'No bread today, only rye flour.' });
	await call(world, 'stranger', 'POST', `${path(newId())}/messages`, { role: 'user', content: 'bread and flour' });

	const found = await allOf('baker', '/v1/search/conversations?q=bread+flour', 'conversations');
	assert.deepEqual(found.map((row) => [row.conversation_id, row.hits]), [[diary, 1], [baking, 2]]);
	const [start, end] = found[1].title_highlights;
	assert.equal(found[1].title.slice(start, end), 'bread');
	assert.match(found[0].snippet, /rye flour/);
	const { body: title } = await call(world, 'baker', 'GET', '/v1/search/conversations?q=baking');
	assert.deepEqual([title.conversations[0].snippet, title.conversations[0].seq], [null, null]);
	await call(world, 'baker', 'PATCH', path(diary), { archived: true });
	assert.equal((await allOf('baker', '/v1/search/conversations?q=rye', 'conversations')).length, 1);
	assert.equal((await allOf('baker', '/v1/search/conversations?q=rye&include_archived=true', 'conversations')).length, 2);
	assert.equal((await call(world, 'baker', 'GET', '/v1/search/conversations')).status, 400);
});

test('conversations are listed by filters, in any order, page by page', async () => {
	const ids = new Map<string, string>();
	for (const [title, role, model, length] of [
		['Bread', 'user', 'm1', 900], ['Apples', 'assistant', 'm2', 30], ['Cheese', 'user', 'm2', 300],
	] as const) {
		const { body } = await call(world, 'lister', 'POST', '/v1/conversations', { title, metadata: { shop: model } });
		ids.set(body.conversation_id, title);
		await call(world, 'lister', 'POST', `/v1/conversations/${body.conversation_id}/messages`, {
			role, model, content: 'x'.repeat(length), tokens: length,
		});
		if (title === 'Cheese')
			await call(world, 'lister', 'PATCH', `/v1/conversations/${body.conversation_id}`, { archived: true });
	}
	await call(world, 'stranger', 'POST', '/v1/conversations', { title: 'Bread of a stranger' });
	const titles = async (query: string) => (await allOf('lister', `/v1/list?${query}`, 'conversations'))
		.map((row) => ids.get(row.conversation_id));

	assert.deepEqual(await titles(''), ['Apples', 'Bread']);
	assert.deepEqual(await titles('archived=true'), ['Cheese']);
	assert.deepEqual(await titles('archived=any&order_by=title'), ['Apples', 'Bread', 'Cheese']);
	assert.deepEqual(await titles('archived=any&order_by=size'), ['Bread', 'Cheese', 'Apples']);
	assert.deepEqual(await titles('title=bread'), ['Bread']);
	assert.deepEqual(await titles('archived=any&model=m2&role=user'), ['Cheese']);
	assert.deepEqual(await titles('min_tokens=31&max_tokens=900'), ['Bread']);
	assert.deepEqual(await titles(`metadata=${encodeURIComponent('{"shop":"m2"}')}`), ['Apples']);
	assert.deepEqual(await titles('to=2020-01-01T00:00:00Z'), []);
	for (const query of ['metadata={', 'order_by=luck', 'archived=maybe', 'limit=0', 'after=nonsense'])
		assert.equal((await call(world, 'lister', 'GET', `/v1/list?${query}`)).status, 400, query);
});
