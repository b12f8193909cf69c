// The package in Chromium: tabs, the browser's own offline switch, a browser that is killed, clocks
// that are wrong, and a service worker.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { BrowserContext, Page } from 'playwright-core';
import type * as Sync from '../src/index.js';
import {
	type World,
	call,
	createWorld,
	launch,
	newId,
	newProfile,
	tokenOf,
	until,
} from './world.js';

declare global {
	interface Window {
		sync: typeof Sync;
		memory: Sync.Memory;
		seen: { at: number; contents: string[] }[];
	}
}

let world: World;
const profiles: string[] = [];

before(async () => {
	world = await createWorld();
});
after(async () => {
	await world.close();
	for (const profile of profiles)
		rmSync(profile, { recursive: true, force: true });
});

function profile(): string {
	const folder = newProfile();

	profiles.push(folder);
	return folder;
}

/** A tab with the account's copy open. */
async function tab(context: BrowserContext, account: string, options: object = {}): Promise<Page> {
	const page = await context.newPage();

	await page.goto(world.page);
	await open(page, account, options);
	return page;
}

async function open(page: Page, account: string, options: object = {}): Promise<void> {
	await page.waitForFunction(() => 'sync' in window);
	await page.evaluate(
		async ({ url, name, token, more }) => {
			window.memory = await window.sync.Memory.open({
				url,
				account: name,
				token: () => token,
				backoff: { firstMs: 50, mostMs: 200 },
				...more,
			});
		},
		{ url: world.url, name: account, token: await tokenOf(account), more: options },
	);
}

const status = (page: Page) => page.evaluate(() => window.memory.status());
const settled = (page: Page) =>
	until(async () => {
		const { state, pending } = await status(page);
		return state === 'live' && pending === 0;
	});
const append = (page: Page, id: string, content: string) =>
	page.evaluate(
		([to, text]) => window.memory.append(to ?? '', { role: 'user', content: text ?? '' }),
		[id, content],
	);
const contents = (page: Page, id: string) =>
	page.evaluate(
		async (of) => (await window.memory.messages(of)).map(({ content }) => content),
		id,
	);
const stored = async (account: string, id: string): Promise<string[]> =>
	(
		(await call(world, account, 'GET', `/v1/conversations/${id}/messages?limit=1000`)).body
			.messages ?? []
	).map((message: { content: string }) => message.content);

test('two tabs: one leads for both, each sees at once what the other does, and the other takes over', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const first = await tab(context, 'ann');
	await settled(first);
	const second = await tab(context, 'ann');
	await until(async () => (await status(second)).state === 'live');
	assert.deepEqual([(await status(first)).leader, (await status(second)).leader], [true, false]);

	const id = newId();
	await first.evaluate((of) => {
		window.seen = [];
		window.memory.watchMessages(of, {}, (messages) =>
			window.seen.push({
				at: Date.now(),
				contents: messages.map(({ content }) => content ?? ''),
			}),
		);
	}, id);
	// Written where nobody leads, seen where it is led, and stored by the leader.
	const delays: number[] = [];
	for (let n = 0; n < 10; n++) {
		const at = await second.evaluate(
			async ([of, content]) => {
				const before = Date.now();
				await window.memory.append(of ?? '', { role: 'user', content: content ?? '' });
				return before;
			},
			[id, `message ${n}`],
		);
		const seen = await until(() =>
			first.evaluate(
				(count) => window.seen.find((one) => one.contents.length === count)?.at,
				n + 1,
			),
		);
		delays.push(seen - at);
	}
	t.diagnostic(`seen by the other tab after ${delays.join(', ')} ms`);
	assert.ok(process.env.MEASURE !== '1' || (delays.sort((a, b) => a - b)[5] ?? 0) < 100);
	await until(async () => (await stored('ann', id)).length === 10);

	// One socket for both; when the leader is gone, the other has it.
	await first.close();
	await until(async () => (await status(second)).leader);
	await settled(second);
	await call(world, 'ann', 'POST', `/v1/conversations/${id}/messages`, {
		role: 'assistant',
		content: 'answer',
	});
	await until(async () => (await contents(second, id)).at(-1) === 'answer');
	// A leader that stops without a word is replaced as well.
	const third = await tab(context, 'ann');
	const crash = await context.newCDPSession(second);
	void crash.send('Page.crash').catch(() => {});
	await until(async () => (await status(third)).leader);
});

test('offline by the switch of the browser: written, shown, and stored when it is back', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const page = await tab(context, 'ben');
	await settled(page);
	await context.setOffline(true);
	await until(async () => (await status(page)).state === 'offline');
	const id = newId();
	await append(page, id, 'written offline');
	assert.deepEqual(await contents(page, id), ['written offline']);
	assert.equal((await status(page)).pending, 2);
	assert.deepEqual(await stored('ben', id), []);
	await context.setOffline(false);
	await settled(page);
	assert.deepEqual(await stored('ben', id), ['written offline']);
	await call(world, 'ben', 'POST', `/v1/conversations/${id}/messages`, {
		role: 'assistant',
		content: 'live again',
	});
	await until(async () => (await contents(page, id)).length === 2);
});

test('killed in the middle: the queue survives, and nothing is stored twice', async (t) => {
	const folder = profile();
	const id = newId();
	let context = await launch(folder);
	t.after(() => context.close());
	let page = await tab(context, 'cas', { batch: 5 });
	await settled(page);
	await context.setOffline(true);
	for (let n = 0; n < 60; n++)
		await append(page, id, `message ${n}`);
	await context.setOffline(false);
	// While the queue is being pushed.
	await until(async () => (await stored('cas', id)).length > 0);
	await kill(page);
	const before = (await stored('cas', id)).length;
	t.diagnostic(`${before} of 60 stored when it was killed`);

	context = await launch(folder);
	page = await tab(context, 'cas', { batch: 5 });
	await settled(page);
	const expected = Array.from({ length: 60 }, (_, n) => `message ${n}`);
	assert.deepEqual(await stored('cas', id), expected);
	assert.deepEqual(await contents(page, id), expected);
});

/** Ends the whole browser as a power cut would. */
async function kill(page: Page): Promise<void> {
	const browser = page.context().browser() ?? undefined;
	const session =
		browser === undefined
			? await page.context().newCDPSession(page)
			: await browser.newBrowserCDPSession();
	const closed = new Promise((resolve) => page.context().once('close', resolve));

	void session.send('Browser.crash').catch(() => {});
	await closed;
}

test('a clock that is years ahead or behind changes nothing', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const ids = [newId(), newId(), newId()];
	const years = [10, -10, 0];
	for (const [n, id] of ids.entries()) {
		const page = await context.newPage();
		await page.addInitScript(
			(shift) => {
				const now = Date.now;
				Date.now = () => now() + shift;
				window.Date = new Proxy(Date, {
					construct: (target, given) =>
						given.length === 0
							? new target(Date.now())
							: Reflect.construct(target, given),
				});
			},
			(years[n] ?? 0) * 365 * 86_400_000,
		);
		await page.goto(world.page);
		await open(page, 'dora');
		await append(page, id, 'one');
		// What was written last is first, before the server has said anything and after.
		assert.equal((await page.evaluate(() => window.memory.list()))[0]?.id, id);
		await settled(page);
		await append(page, id, 'two');
		await settled(page);
		assert.deepEqual(await contents(page, id), ['one', 'two']);
		await page.close();
	}
	const { rows } = await world.admin.query(
		"SELECT count(*)::int AS n FROM memory.messages WHERE account_id = 'dora' AND created_at > now() + interval '1 minute'",
	);
	assert.deepEqual(rows, [{ n: 0 }]);
	for (const id of ids)
		assert.deepEqual(await stored('dora', id), ['one', 'two']);
});

test('logout and another account erase what all tabs had', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const [first, second] = [await tab(context, 'eve'), await tab(context, 'eve')];
	await append(first, newId(), 'of eve');
	await settled(first);
	assert.equal((await second.evaluate(() => window.memory.list())).length, 1);
	const other = await tab(context, 'fay');
	await until(
		async () =>
			(await status(first)).state === 'erased' && (await status(second)).state === 'erased',
	);
	await settled(other);
	assert.equal((await other.evaluate(() => window.memory.list())).length, 0);
	await other.evaluate(() => window.memory.logout());
	assert.deepEqual(
		await until(() =>
			other.evaluate(async () => {
				const names = (await indexedDB.databases()).map(({ name }) => name);
				return names.length === 0 ? { names } : null;
			}),
		),
		{ names: [] },
	);
});

test('older contents are compressed in the browser, and take a part of the room', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const lines =
		'The nightly dump takes four hours. Dump in parallel with the directory format, each worker takes the same locks. ' +
		'Sweat the leeks, add potatoes and stock, simmer for twenty-five minutes, then blend and serve with bread. ' +
		'Whether an index on a boolean column helps depends on how many rows it leaves out; measure before you keep it. ';
	const words = lines.split(' ');
	for (let n = 0; n < 30; n++)
		await call(world, 'gus', 'POST', `/v1/conversations/${newId()}/messages`, {
			// Sentences in another order each time.
			messages: Array.from({ length: 10 }, (_, m) => ({
				role: m % 2 ? 'assistant' : 'user',
				content: Array.from(
					{ length: 60 },
					(_w, w) => words[(w * (n + 3) + m * 7 + w * w) % words.length],
				).join(' '),
			})),
		});
	const page = await tab(context, 'gus', { hotConversations: 5 });
	await settled(page);
	await page.evaluate(() => window.memory.tidy());
	const saving = await page.evaluate(() => window.memory.saving());
	t.diagnostic(
		`compressed: ${saving.bytes} of ${saving.rawBytes} bytes, ${Math.round((100 * saving.bytes) / saving.rawBytes)} %`,
	);
	assert.equal(saving.conversations, 25);
	assert.ok(saving.bytes < saving.rawBytes / 2);
	const { persisted } = await status(page);
	assert.equal(typeof persisted, 'boolean');
});

test('a service worker synchronizes by itself, and leaves it to a tab that leads', async (t) => {
	const context = await launch(profile());
	t.after(() => context.close());
	const page = await context.newPage();
	await page.goto(world.page);
	const ask = async (id: string) =>
		page.evaluate(
			async ({ url, token, conversation }) => {
				const registration = await navigator.serviceWorker.register('/worker.js', {
					type: 'module',
				});
				await navigator.serviceWorker.ready;
				const channel = new MessageChannel();
				const answer = new Promise<{ pending: number; listed: number; error?: string }>(
					(resolve) => {
						channel.port1.onmessage = ({ data }) => resolve(data);
					},
				);
				registration.active?.postMessage(
					{ options: { url, account: 'hal' }, token, conversation },
					[channel.port2],
				);
				return answer;
			},
			{ url: world.url, token: await tokenOf('hal'), conversation: id },
		);

	const [alone, together] = [newId(), newId()];
	assert.deepEqual(await ask(alone), { pending: 0, listed: 1 });
	assert.deepEqual(await stored('hal', alone), ['from the worker']);
	await open(page, 'hal');
	await settled(page);
	assert.equal((await ask(together)).error, undefined);
	await until(async () => (await stored('hal', together)).length === 1);
	assert.deepEqual(await contents(page, together), ['from the worker']);
});
