// The package in Node, on an IndexedDB in memory, against a real gateway.
import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import {
	type Cipher,
	Memory,
	type MemoryOptions,
	NotHereError,
	type Refused,
} from '../src/index.js';
import { type World, call, createWorld, newId, tokenOf, until } from './world.js';

let world: World;

before(async () => {
	world = await createWorld();
});
after(async () => world.close());

/** A network that the test switches off. */
function network() {
	const state = { online: true, requests: 0 };
	const send: typeof fetch = async (...request) => {
		state.requests++;
		if (!state.online)
			throw new TypeError('no network');
		return fetch(...request);
	};

	return { state, send };
}

const open = async (account: string, options: Partial<MemoryOptions> = {}): Promise<Memory> =>
	Memory.open({
		url: world.url,
		account,
		token: () => tokenOf(account),
		name: `test ${randomUUID()}`,
		backoff: { firstMs: 20, mostMs: 50 },
		pollSeconds: 1,
		...options,
	});

const settled = (memory: Memory) =>
	until(async () => {
		const { state, pending } = await memory.status();
		return pending === 0 && (state === 'live' || state === 'polling');
	});

const contents = async (memory: Memory, id: string) =>
	(await memory.messages(id)).map(({ content }) => content);

test('what is written offline is there at once, and on the server later', async () => {
	const { state, send } = network();
	const memory = await open('ann', { fetch: send });
	state.online = false;
	const id = await memory.create({ title: 'Offline' });
	await memory.append(id, { role: 'user', content: 'one' });
	await memory.append(id, { role: 'assistant', content: 'two', model: 'm', metadata: { a: 1 } });
	assert.deepEqual(await contents(memory, id), ['one', 'two']);
	assert.deepEqual(
		(await memory.list()).map(({ title, pending }) => [title, pending]),
		[['Offline', true]],
	);
	assert.equal((await memory.status()).pending, 3);
	state.online = true;
	await memory.sync();
	await settled(memory);
	const { body } = await call(world, 'ann', 'GET', `/v1/conversations/${id}/messages`);
	assert.deepEqual(
		body.messages.map((m: any) => [m.role, m.content, m.model, m.metadata]),
		[
			['user', 'one', null, null],
			['assistant', 'two', 'm', { a: 1 }],
		],
	);
	const messages = await memory.messages(id);
	assert.deepEqual(
		messages.map(({ seq, pending }) => [seq, pending]),
		[
			[1, false],
			[2, false],
		],
	);
	assert.equal(
		(await call(world, 'ann', 'GET', `/v1/conversations/${id}`)).body.title,
		'Offline',
	);
	await memory.close();
});

test('what others write comes, and what they delete goes', async () => {
	const memory = await open('ben');
	const id = newId();
	await call(world, 'ben', 'POST', `/v1/conversations/${id}/messages`, {
		role: 'user',
		content: 'from elsewhere',
	});
	await until(async () => (await contents(memory, id)).length === 1);
	const seen: string[][] = [];
	memory.watchMessages(id, {}, (messages) =>
		seen.push(messages.map(({ content }) => content ?? '')),
	);
	await call(world, 'ben', 'PATCH', `/v1/conversations/${id}/messages/1`, {
		content: 'edited elsewhere',
	});
	await until(() => seen.at(-1)?.[0] === 'edited elsewhere');
	await call(world, 'ben', 'DELETE', `/v1/conversations/${id}`);
	await until(async () => (await memory.list()).length === 0);
	await until(() => seen.at(-1)?.length === 0);
	await memory.close();
});

test('fields that only one side changed are merged; the hook decides about those that both did', async () => {
	const { state, send } = network();
	const asked: unknown[] = [];
	const memory = await open('cas', {
		fetch: send,
		resolve: (conflict) => {
			asked.push([conflict.field, conflict.base, conflict.stored, conflict.mine]);
			return `${conflict.stored} and ${conflict.mine}`;
		},
	});
	const id = await memory.create({ title: 'base' });
	await settled(memory);
	state.online = false;
	await memory.update(id, { title: 'mine', metadata: { tag: 'x' } });
	await call(world, 'cas', 'PATCH', `/v1/conversations/${id}`, {
		title: 'theirs',
		archived: true,
	});
	state.online = true;
	await memory.sync();
	await settled(memory);
	const { body } = await call(world, 'cas', 'GET', `/v1/conversations/${id}`);
	assert.deepEqual(
		[body.title, body.archived, body.metadata],
		['theirs and mine', true, { tag: 'x' }],
	);
	assert.deepEqual(asked[0], ['title', 'base', 'theirs', 'mine']);
	await memory.close();
});

test('branches: an answer to an older message begins one, and head chooses', async () => {
	const memory = await open('dora');
	const id = await memory.create({});
	const question = await memory.append(id, { role: 'user', content: 'question' });
	const first = await memory.append(id, { role: 'assistant', content: 'first' });
	await memory.append(id, { role: 'assistant', content: 'second', parent: question });
	assert.deepEqual(await contents(memory, id), ['question', 'second']);
	await settled(memory);
	await memory.update(id, { head: first });
	assert.deepEqual(await contents(memory, id), ['question', 'first']);
	await settled(memory);
	assert.equal((await call(world, 'dora', 'GET', `/v1/conversations/${id}`)).body.head_seq, 2);
	assert.equal((await memory.messages(id, { allBranches: true })).length, 3);
	await memory.remove(id, question);
	await settled(memory);
	assert.deepEqual(await contents(memory, id), ['first']);
	await memory.close();
});

test('a head that was chosen here and deleted elsewhere is given up', async () => {
	const { state, send } = network();
	const memory = await open('dan', { fetch: send });
	const id = await memory.create({});
	const first = await memory.append(id, { role: 'user', content: 'first' });
	await memory.append(id, { role: 'assistant', content: 'second', parent: null });
	await settled(memory);
	state.online = false;
	await memory.update(id, { head: first });
	await call(world, 'dan', 'DELETE', `/v1/conversations/${id}/messages/1`);
	state.online = true;
	await memory.sync();
	await settled(memory);
	assert.deepEqual(await contents(memory, id), ['second']);
	await memory.close();
});

test('an answer that is lost does not bring back an old head', async () => {
	let lost = false;
	const id = newId();
	const memory = await open('eli', {
		live: false,
		fetch: async (...request) => {
			const response = await fetch(...request);
			if (lost || !String(request[1]?.body).includes('"content":"one"'))
				return response;
			lost = true;
			// It was stored, and somebody has answered it.
			await call(world, 'eli', 'POST', `/v1/conversations/${id}/messages`, {
				role: 'assistant',
				content: 'two',
			});
			throw new TypeError('answer lost');
		},
	});
	await memory.append(id, { role: 'user', content: 'one' });
	await assert.rejects(memory.sync());
	await memory.sync();
	assert.deepEqual(await contents(memory, id), ['one', 'two']);
	assert.equal((await memory.status()).pending, 0);
	await memory.close();
});

test('a quota refuses what is too much, and lets it through when there is room', async () => {
	await world.admin
		.query(`INSERT INTO memory.plans (plan_id, title, price) VALUES ('two', 'Two', 0), ('many', 'Many', 0);
		INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('two', 'messages', 'lifetime', 2);
		SELECT memory.subscribe('eve', 'two')`);
	const refused: Refused[] = [];
	const memory = await open('eve', { onRefused: (one) => refused.push(one) });
	const id = newId();
	for (const content of ['a', 'b', 'c', 'd'])
		await memory.append(id, { role: 'user', content });
	await until(() => refused.length > 0);
	await until(async () => (await memory.status()).pending === 2);
	assert.deepEqual([refused[0]?.sqlstate, refused[0]?.collection], ['MX001', 'messages']);
	assert.equal((await memory.messages(id))[2]?.refusal?.sqlstate, 'MX001');
	await world.admin.query("SELECT memory.change_plan('eve', 'many')");
	await memory.sync();
	await settled(memory);
	assert.equal(
		(await call(world, 'eve', 'GET', `/v1/conversations/${id}/messages`)).body.messages.length,
		4,
	);
	await memory.close();
});

test('one document that the server never takes stops no other', async () => {
	const { state, send } = network();
	const refused: Refused[] = [];
	const memory = await open('fay', { fetch: send, onRefused: (one) => refused.push(one) });
	state.online = false;
	const id = newId();
	await memory.append(id, { role: 'user', content: 'good' });
	await memory.append(id, { role: 'user', content: 'x'.repeat(20_000_000) });
	await memory.append(newId(), { role: 'user', content: 'also good' });
	state.online = true;
	await memory.sync();
	await until(async () => (await memory.status()).pending === 1 && refused.length > 0);
	const { body } = await call(world, 'fay', 'GET', '/v1/conversations');
	assert.equal(body.conversations.length, 2);
	await assert.rejects(memory.append(id, { role: 'user', content: 'a\0b' }), TypeError);
	await assert.rejects(memory.append(id, { role: 'user', content: 'half \ud800' }), TypeError);
	await memory.close();
});

test('after the server has forgotten the account, only what was never stored is pushed', async () => {
	const { state, send } = network();
	const memory = await open('gus', { fetch: send });
	const old = newId();
	await memory.append(old, { role: 'user', content: 'erased' });
	await settled(memory);
	state.online = false;
	await memory.append(newId(), { role: 'user', content: 'new' });
	await world.admin.query("SELECT memory.forget('gus')");
	state.online = true;
	await memory.sync();
	await until(async () => (await memory.status()).restarts > 0);
	await settled(memory);
	const { rows } = await world.admin.query(
		"SELECT content FROM memory.messages WHERE account_id = 'gus'",
	);
	assert.deepEqual(rows, [{ content: 'new' }]);
	assert.equal((await memory.list()).length, 1);
	await memory.close();
});

test('what was pushed into an earlier life of the account goes, though no checkpoint knows of it', async () => {
	const { send } = network();
	let drop = false;
	const memory = await open('gia', {
		live: false,
		fetch: async (...request) => {
			// The account does not exist at the first pull, and is forgotten before the second.
			if (drop && String(request[0]).endsWith('/v1/pull')) {
				drop = false;
				await world.admin.query("SELECT memory.forget('gia')");
				await call(world, 'gia', 'POST', '/v1/conversations', { title: 'second life' });
			}
			const response = await send(...request);
			drop ||= String(request[0]).endsWith('/v1/push');
			return response;
		},
	});
	await memory.create({ title: 'first life' });
	await memory.sync();
	assert.deepEqual(
		(await memory.list()).map(({ title }) => title),
		['second life'],
	);
	await memory.close();
});

test('failures are answered by waiting, longer each time, and not by a flood', async () => {
	const { state, send } = network();
	state.online = false;
	const memory = await open('hal', {
		fetch: send,
		backoff: { firstMs: 100, mostMs: 1000, random: () => 1 },
	});
	await until(() => state.requests === 1);
	for (let n = 0; n < 50; n++)
		await memory.append(newId(), { role: 'user', content: 'x' });
	assert.ok(state.requests < 10, `${state.requests} requests`);
	assert.equal((await memory.status()).state, 'waiting');
	await memory.close();
});

const text = (n: number) =>
	`Message no${n}. The nightly backup of the database takes four hours. Dump in parallel with the directory ` +
	`format, pg_dump -Fd -j ${(n % 7) + 2}; each worker takes the same locks as one would. `.repeat(
		4,
	);

async function fill(account: string, conversations: number): Promise<string[]> {
	const ids = [];
	for (let n = 0; n < conversations; n++) {
		const id = newId();
		ids.push(id);
		await call(world, account, 'POST', `/v1/conversations/${id}/messages`, {
			messages: [0, 1, 2, 3].map((m) => ({
				role: m % 2 ? 'assistant' : 'user',
				content: text(4 * n + m),
			})),
		});
	}
	return ids;
}

test('older contents are compressed, and nobody notices', async () => {
	const ids = await fill('ida', 12);
	const memory = await open('ida', { hotConversations: 2 });
	await settled(memory);
	await memory.tidy();
	const saving = await memory.saving();
	assert.equal(saving.conversations, 10);
	assert.ok(saving.bytes < 0.4 * saving.rawBytes, JSON.stringify(saving));
	const id = ids[0] ?? '';
	assert.deepEqual(await contents(memory, id), [0, 1, 2, 3].map(text));
	assert.equal((await memory.search('message no1.'))[0]?.conversation_id, id);
	// Old messages are edited, new ones come, and all of it is compressed again.
	const second = (await memory.messages(id))[1];
	await memory.edit(id, second?.id ?? '', { content: 'edited' });
	await memory.append(id, { role: 'user', content: 'one more' });
	await settled(memory);
	assert.deepEqual(
		(await call(world, 'ida', 'GET', `/v1/conversations/${id}/messages`)).body.messages.map(
			(m: any) => m.content,
		),
		[text(0), 'edited', text(2), text(3), 'one more'],
	);
	await fill('ida', 3);
	await until(async () => (await memory.list()).length === 15);
	await settled(memory);
	await memory.tidy();
	assert.deepEqual(await contents(memory, id), [text(0), 'edited', text(2), text(3), 'one more']);
	await memory.close();
});

test('a device without room gives up its oldest contents, and gets them back when they are opened', async () => {
	const ids = await fill('jan', 12);
	const { state, send } = network();
	const memory = await open('jan', {
		hotConversations: 2,
		fetch: send,
		maxBytes: 1_000_000,
		estimate: async () => ({ usage: 1_008_000, quota: 1e12 }),
	});
	await settled(memory);
	await memory.tidy();
	const [oldest = '', newest = ''] = [ids[0], ids.at(-1)];
	assert.deepEqual(
		[(await memory.get(oldest))?.here, (await memory.get(newest))?.here],
		[false, true],
	);
	assert.equal((await memory.list()).length, 12);
	// What changes of it meanwhile comes with the rest.
	await call(world, 'jan', 'POST', `/v1/conversations/${oldest}/messages`, {
		role: 'user',
		content: 'later',
	});
	await until(async () => (await memory.get(oldest))?.message_count === 5);
	assert.deepEqual(await contents(memory, oldest), [text(0), text(1), text(2), text(3), 'later']);
	assert.equal((await memory.get(oldest))?.here, true);
	state.online = false;
	await memory.sync();
	await until(async () => (await memory.status()).state === 'waiting');
	await assert.rejects(memory.messages(ids[1] ?? ''), NotHereError);
	await memory.close();
});

/** AES-GCM, as an application may do it. */
function aes(): Cipher {
	const key = randomBytes(32);

	return {
		async encrypt(plain) {
			const iv = randomBytes(12);
			const cipher = createCipheriv('aes-256-gcm', key, iv);
			return new Uint8Array(
				Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]),
			);
		},
		async decrypt(secret) {
			const bytes = Buffer.from(secret);
			const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
			decipher.setAuthTag(bytes.subarray(-16));
			return new Uint8Array(
				Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]),
			);
		},
	};
}

/** All that a database on the device holds, as text. */
async function dump(name: string): Promise<string> {
	const db = await new Promise<IDBDatabase>((resolve, reject) => {
		const request = indexedDB.open(name);
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
	let all = '';
	for (const store of db.objectStoreNames)
		all += await new Promise<string>((resolve) => {
			const request = db.transaction(store).objectStore(store).getAll();
			request.onsuccess = () =>
				resolve(
					JSON.stringify(request.result, (_key, value) =>
						value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
					),
				);
		});
	db.close();
	return all;
}

test('with a cipher nothing that was said stands on the device in clear', async () => {
	const name = `test ${randomUUID()}`;
	const cipher = aes();
	const memory = await open('kai', { name, cipher, hotConversations: 1 });
	const id = await memory.create({
		title: 'Top secret title',
		metadata: { note: 'secret note' },
	});
	await memory.append(id, { role: 'user', content: 'secret content' });
	await memory.append(newId(), { role: 'user', content: 'another secret' });
	await settled(memory);
	await memory.tidy();
	assert.equal((await memory.search('secret content'))[0]?.snippet, 'secret content');
	await memory.close();
	assert.doesNotMatch(await dump(name), /secret/);
	const again = await open('kai', { name, cipher });
	assert.deepEqual(await contents(again, id), ['secret content']);
	await again.close();
});

test('another account, or a logout, leaves nothing of the first', async () => {
	const name = `test ${randomUUID()}`;
	const first = await open('leo', { name });
	const id = await first.create({ title: 'of leo' });
	await settled(first);
	const shown: number[] = [];
	first.watchList({}, (list) => shown.push(list.length));
	await until(() => shown.at(-1) === 1);
	const second = await open('mia', { name });
	assert.deepEqual(await second.list(), []);
	await until(async () => (await first.status()).state === 'erased');
	assert.equal(shown.at(-1), 0);
	await assert.rejects(first.update(id, { title: 'too late' }));
	await second.create({ title: 'of mia' });
	await settled(second);
	assert.doesNotMatch(await dump(name), /leo/);
	await second.logout();
	assert.doesNotMatch(await dump(name), /mia/);
	assert.equal((await second.status()).state, 'erased');
});

test('a worker that sleeps synchronizes when it is told to', async () => {
	const memory = await open('ned', { live: false });
	const id = newId();
	await memory.append(id, { role: 'user', content: 'from a worker' });
	assert.equal((await memory.status()).pending, 2);
	await memory.sync();
	assert.equal((await memory.status()).pending, 0);
	assert.equal(
		(await call(world, 'ned', 'GET', `/v1/conversations/${id}/messages`)).body.messages.length,
		1,
	);
	await memory.close();
});

test('a token that is refused is renewed once, and then waited for', async () => {
	let good = false;
	const asked: boolean[] = [];
	const memory = await open('oda', {
		token: async (renew) => {
			asked.push(renew);
			return good ? tokenOf('oda') : 'nonsense';
		},
	});
	await until(async () => (await memory.status()).state === 'unauthorized');
	assert.ok(asked.includes(true));
	good = true;
	await settled(memory);
	await memory.close();
});

test('search finds all words, whatever their case, newest first, with highlights', async () => {
	const memory = await open('pam');
	const id = await memory.create({ title: 'Weather' });
	await memory.append(id, {
		role: 'user',
		content: 'Wie wird das Wetter in MÜNCHEN? 東京の天気',
	});
	await memory.append(id, {
		role: 'assistant',
		content: 'In München scheint die Sonne; das Wetter ist gut.',
	});
	const found = await memory.search('münchen wetter');
	assert.deepEqual(
		found.map(({ role }) => role),
		['assistant', 'user'],
	);
	assert.deepEqual(
		found.map(({ snippet, highlights: [a, b, c, d] }) => [
			snippet.slice(a, b),
			snippet.slice(c, d),
		]),
		[
			['München', 'Wetter'],
			['Wetter', 'MÜNCHEN'],
		],
	);
	assert.equal((await memory.search('東京')).length, 1);
	assert.equal((await memory.search('weather'))[0]?.id, null);
	assert.equal((await memory.search('  ')).length, 0);
	await memory.update(id, { archived: true });
	assert.equal((await memory.search('sonne')).length, 0);
	assert.equal((await memory.search('sonne', { includeArchived: true })).length, 1);
	await memory.close();
});
