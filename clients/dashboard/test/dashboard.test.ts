// The page in Chromium, served by a gateway, with an account of 100,000 conversations.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type World, call, createWorld, newId, token } from '@memory-ext/gateway/test/world';
import { browserOptions } from '@memory-ext/sync/test/browser';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';
import { look } from './picture.js';

const folder = fileURLToPath(new URL('../app/', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Whether what is to be reached is asserted, or only told: nobody knows how busy a machine is. */
const MEASURE = process.env.MEASURE === '1';
const MANY = Number(process.env.CONVERSATIONS ?? 100_000);

let world: World;
let browser: Browser;
let viewer: Page;
/** A conversation with branches. */
let branched: string;

before(async () => {
	world = await createWorld({ dashboard: folder });
	await world.admin.query(
		`ALTER DATABASE ${world.database} SET memory_ext.notify = 'transaction'`,
	);
	browser = await chromium.launch(browserOptions());
	viewer = await browser.newPage();
	await fill();
});
after(async () => {
	await browser.close();
	await world.close();
});

async function fill(): Promise<void> {
	await world.admin
		.query(`INSERT INTO memory.messages (account_id, conversation_id, role, content, model, created_at)
		SELECT 'many', gen_random_uuid(), 'user', 'Question number ' || n || ' about leeks and backups', 'larch-2', now() - interval '1 minute' * (${MANY} - n)
		FROM generate_series(1, ${MANY}) n`);
	await world.admin.query("SET memory_ext.backdated_after = '90d'");
	await world.admin
		.query(`INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token)
		VALUES ('larch-2', '2020-01-01', 0.000003, 0.000015)`);
	await world.admin
		.query(`SELECT memory.record_usage('ann', 'larch-2', 900 + 37 * n, output_tokens => 300 + n, occurred_at => now() - interval '1 day' * (n % 25))
		FROM generate_series(1, 60) n`);
	await world.admin
		.query(`INSERT INTO memory.plans (plan_id, title, price) VALUES ('small', 'Small', 5);
		INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
			('small', 'messages', 'lifetime', 60), ('small', 'conversations', 'current', 17), ('small', 'content_bytes', 'current', 100000000);
		SELECT memory.subscribe('ann', 'small')`);
	for (let n = 0; n < 16; n++) {
		const id = newId();
		branched = id;
		await call(world, 'ann', 'POST', '/v1/conversations', {
			conversation_id: id,
			title: `Conversation ${n} about leek soup and a title that is rather long`,
		});
		await call(world, 'ann', 'POST', `/v1/conversations/${id}/messages`, {
			messages: [
				{
					role: 'user',
					content: `A soup with leeks and potatoes for ${n}? 日本語 <b>bold</b>`,
				},
				{
					role: 'assistant',
					content: `Sweat the leeks.\n\n${'Add potatoes and stock, simmer, then blend. '.repeat(6)}`,
					model: 'larch-2',
				},
			],
		});
	}
	await call(world, 'ann', 'POST', `/v1/conversations/${branched}/messages`, {
		role: 'assistant',
		content: 'Another answer.',
		parent_seq: 1,
	});
}

interface PageOptions {
	account?: string;
	width?: number;
	dark?: boolean;
	hash?: string;
}

async function open({
	account = 'ann',
	width = 1280,
	dark = false,
	hash = '',
}: PageOptions = {}): Promise<Page> {
	const context = await browser.newContext({
		viewport: { width, height: 800 },
		colorScheme: dark ? 'dark' : 'light',
		acceptDownloads: true,
	});
	const page = await context.newPage();

	page.on('pageerror', (error) => assert.fail(`the page fails: ${error.stack}`));
	await page.goto(`${world.url}/#token=${await token(account, 3600)}`);
	await page.getByText('Live', { exact: true }).waitFor();
	if (hash !== '')
		await page.evaluate((to) => {
			location.hash = to;
		}, hash);
	return page;
}

const close = (page: Page): Promise<void> => page.context().close();
const apiOf = async (path: string, account = 'ann') =>
	(await call(world, account, 'GET', path)).body;

test('it is small', () => {
	const sizes = readdirSync(`${folder}/assets`).map(
		(file) => gzipSync(readFileSync(`${folder}/assets/${file}`)).length,
	);
	const bytes = sizes.reduce((sum, size) => sum + size, 0);

	assert.ok(bytes < 150_000, `${bytes} bytes`);
});

const VIEWS: [name: string, hash: () => string, ready: string, regions: string[]][] = [
	['list', () => '#/', '.row', ['.list', 'header']],
	['conversation', () => `#/c/${branched}`, '.message', ['.head', '.message']],
	['search', () => '#/search', '#q', ['.filters']],
	['usage', () => '#/usage', 'canvas', ['canvas', 'table']],
	['quotas', () => '#/quotas', '.gauge', ['.gauge', 'form']],
	['transfer', () => '#/transfer', '#file', ['.card']],
];

for (const dark of [false, true])
	for (const width of [1280, 390])
		test(`every view at ${width} pixels, ${dark ? 'dark' : 'light'}: something to see, nothing on top of another, axe finds nothing`, async () => {
			const page = await open({ width, dark });
			const shots = process.env.SCREENSHOTS;
			if (shots !== undefined)
				mkdirSync(shots, { recursive: true });
			for (const [name, hash, ready, regions] of VIEWS) {
				const what = `${name} ${width} ${dark ? 'dark' : 'light'}`;
				await page.evaluate((to) => {
					location.hash = to;
				}, hash());
				await page.locator(ready).first().waitFor();
				if (name === 'search') {
					await page.locator('#q').fill('leeks potatoes');
					await page.locator('.results mark').first().waitFor();
				}
				if (shots !== undefined)
					writeFileSync(
						`${shots}/${what.replaceAll(' ', '-')}.png`,
						await page.screenshot(),
					);
				await look(
					viewer,
					page,
					what,
					regions.map((selector) => ({ name: selector, selector })),
				);
				assert.deepEqual(await violations(page), [], what);
			}
			await close(page);
		});

async function violations(page: Page): Promise<string[]> {
	await page.evaluate(axe);
	return page.evaluate(async () => {
		const { violations: found } = await (
			window as unknown as { axe: { run(): Promise<{ violations: any[] }> } }
		).axe.run();
		return found.flatMap(({ id, nodes }) =>
			nodes.map(
				(node: { html: string; failureSummary: string }) =>
					`${id}: ${node.html.slice(0, 200)} ${node.failureSummary}`,
			),
		);
	});
}

test('100,000 conversations: the first list, feedback of actions, and one page after the other by scrolling', async (t) => {
	const page = await open({ account: 'many' });
	await page.addInitScript(() => {
		const look = () => {
			if (document.querySelector('.row') === null)
				requestAnimationFrame(look);
			else
				(window as any).firstRow = performance.now();
		};
		requestAnimationFrame(look);
	});
	await page.reload();
	await page.locator('.row').first().waitFor();
	const first =
		(await page
			.waitForFunction(() => (window as any).firstRow as number | undefined)
			.then((handle) => handle.jsonValue())) ?? Number.NaN;
	t.diagnostic(`first list after ${Math.round(first)} ms`);
	assert.ok(!MEASURE || first < 1000);

	await page.evaluate(() => {
		const seen: number[] = [];
		(window as any).durations = seen;
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries() as PerformanceEventTiming[])
				if (['keydown', 'click', 'pointerup'].includes(entry.name))
					seen.push(entry.duration);
		}).observe({
			type: 'event',
			durationThreshold: 16,
			buffered: true,
		} as PerformanceObserverInit);
	});
	await page.locator('.row a').first().focus();
	for (let n = 0; n < 60; n++)
		await page.keyboard.press(n % 3 === 2 ? 'PageDown' : 'j');
	for (let n = 0; n < 10; n++) {
		await page
			.locator('.row a')
			.nth(n % 5)
			.click();
		await page.locator('.message').first().waitFor();
	}
	const durations = await page.evaluate(() =>
		((window as any).durations as number[]).sort((a, b) => a - b),
	);
	const p95 = durations[Math.floor(durations.length * 0.95)] ?? 0;
	t.diagnostic(
		`feedback of ${durations.length} actions: median ${durations[durations.length >> 1]} ms, p95 ${p95} ms`,
	);
	assert.ok(durations.length > 10);
	assert.ok(!MEASURE || p95 < 100);

	// Only what is seen is in the document, however far one scrolls.
	for (let n = 0; n < 12; n++)
		await page.evaluate(async () => {
			const rows = document.querySelector('.rows') as HTMLElement;
			const before = rows.scrollHeight;
			rows.scrollTop = rows.scrollHeight;
			for (let turn = 0; turn < 200 && rows.scrollHeight === before; turn++)
				await new Promise((resolve) => setTimeout(resolve, 25));
		});
	const { height, rows } = await page.evaluate(() => ({
		height: (document.querySelector('.rows > div') as HTMLElement).offsetHeight,
		rows: document.querySelectorAll('.row').length,
	}));
	assert.ok(height >= 2000 * 60, `${height} pixels`);
	assert.ok(rows < 60, `${rows} rows`);
	await close(page);
});

test('what changes elsewhere is seen, without a reload', async () => {
	const page = await open({ account: 'liv' });
	await page.getByText('There are no conversations yet').waitFor();
	const { body } = await call(world, 'liv', 'POST', '/v1/conversations', {
		title: 'Made elsewhere',
	});
	await page.getByRole('link', { name: /Made elsewhere/ }).click();
	await call(world, 'liv', 'POST', `/v1/conversations/${body.conversation_id}/messages`, {
		role: 'user',
		content: 'Said elsewhere',
	});
	await page.getByText('Said elsewhere').waitFor();
	await call(world, 'liv', 'DELETE', `/v1/conversations/${body.conversation_id}`);
	await page.getByText('does not exist any more').waitFor();
	await page.getByText('There are no conversations yet').waitFor();
	await close(page);
});

test('rename, archive, edit and delete are shown at once, and stored', async () => {
	const {
		body: { conversation_id: id },
	} = await call(world, 'eda', 'POST', '/v1/conversations', { title: 'Old title' });
	const path = `/v1/conversations/${id}`;
	await call(world, 'eda', 'POST', `${path}/messages`, {
		messages: [
			{ role: 'user', content: 'Frist' },
			{ role: 'assistant', content: 'Second' },
		],
	});
	const page = await open({ account: 'eda', hash: `#/c/${id}` });
	await page.getByRole('button', { name: 'Rename' }).click();
	await page.getByLabel('Title').fill('New title');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: 'New title' }).waitFor();
	await page.getByRole('link', { name: /New title/ }).waitFor();
	await page
		.getByRole('region', { name: 'User 1' })
		.getByRole('button', { name: 'Edit' })
		.click();
	await page.getByLabel('Text of the message').fill('First');
	await page.getByRole('button', { name: 'Save' }).click();
	await page.getByText('First', { exact: true }).waitFor();
	await page
		.getByRole('region', { name: 'Assistant 2' })
		.getByRole('button', { name: 'Delete' })
		.click();
	await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
	await page.getByText('Second').waitFor({ state: 'detached' });
	await page.getByRole('button', { name: 'Archive', exact: true }).click();
	await page.getByRole('button', { name: 'Take out of the archive' }).waitFor();
	await until(async () => {
		const { title, archived, message_count } = await apiOf(path, 'eda');
		return title === 'New title' && archived && message_count === 1;
	});
	assert.equal((await apiOf(`${path}/messages/1`, 'eda')).content, 'First');
	await page.locator('.head').getByRole('button', { name: 'Delete' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
	await page.locator('.head').getByRole('button', { name: 'Delete' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
	await until(async () => (await call(world, 'eda', 'GET', path)).status === 404);
	await close(page);
});

test('what is refused is undone, with a word about it', async () => {
	const page = await open({ hash: `#/c/${branched}` });
	const before = await page.getByRole('heading', { level: 1 }).textContent();
	await page.route('**/v1/conversations/*', async (route) => {
		if (route.request().method() !== 'PATCH')
			return route.fallback();
		await new Promise((resolve) => setTimeout(resolve, 300));
		return route.fulfill({
			status: 409,
			contentType: 'application/problem+json',
			body: '{"detail": "somebody was faster"}',
		});
	});
	await page.getByRole('button', { name: 'Rename' }).click();
	await page.getByLabel('Title').fill('Refused title');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: 'Refused title' }).waitFor();
	await page.getByText('The new title was undone: somebody was faster').waitFor();
	assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), before);
	await close(page);
});

test('branches: each answer is shown, and one can be continued from', async () => {
	const page = await open({ hash: `#/c/${branched}` });
	await page.getByText('Another answer.').waitFor();
	await page.getByRole('button', { name: 'Previous branch' }).click();
	await page.getByText('Branch 1 of 2').waitFor();
	await page.getByText('Sweat the leeks.').waitFor();
	await page.getByRole('button', { name: 'Continue from this branch' }).click();
	await until(async () => (await apiOf(`/v1/conversations/${branched}`)).head_seq === 2);
	assert.equal(await page.locator('.content b').count(), 0, 'HTML in a message is text');
	await close(page);
});

test('search: words, filters, highlights, and the way to the message', async () => {
	const page = await open();
	await page.keyboard.press('/');
	await page.locator('#q').waitFor();
	await page.keyboard.type('leeks');
	await page.locator('.results mark').first().waitFor();
	assert.equal(await page.locator('.results mark').first().textContent(), 'leeks');
	await page.locator('#role').selectOption('assistant');
	await page.getByText('16 found').waitFor();
	await page.locator('#to').fill('2020-01-01');
	await page.getByText('Nothing was found.').waitFor();
	await page.locator('#to').fill('');
	await page.locator('.results a').first().click();
	await page.locator('.message.sought').waitFor();
	await page.keyboard.press('Escape');
	await page.getByText('Choose a conversation from the list.').waitFor();
	await close(page);
});

test('a file is imported by drag and drop, with progress and what was rejected, and comes out again', async () => {
	const page = await open({ account: 'imp' });
	const lines = [1, 2, 3].map((n) =>
		JSON.stringify({
			conversation_id: newId(),
			title: `Imported ${n}`,
			messages: [{ role: 'user', content: `imported message ${n}` }],
		}),
	);
	const text = `${lines.join('\n')}\n{"broken": \n`;
	const transfer = await page.evaluateHandle((content) => {
		const data = new DataTransfer();
		data.items.add(new File([content], 'chats.json', { type: 'application/json' }));
		return data;
	}, text);
	await page.dispatchEvent('body', 'dragover', { dataTransfer: transfer });
	await page.getByText('Drop the file to import it').waitFor();
	await page.dispatchEvent('body', 'drop', { dataTransfer: transfer });
	await page.getByText('3 conversations with 3 messages imported').waitFor();
	await page.getByText('1 rejected').waitFor();
	await page.getByRole('region', { name: 'What was rejected or mended' }).waitFor();
	assert.deepEqual(await violations(page), []);
	const [download] = await Promise.all([
		page.waitForEvent('download'),
		page.getByRole('button', { name: 'Export' }).click(),
	]);
	const exported = readFileSync(await download.path(), 'utf8')
		.trim()
		.split('\n')
		.map((line) => JSON.parse(line).title);
	assert.deepEqual(exported.sort(), ['Imported 1', 'Imported 2', 'Imported 3']);
	await page.getByText('was saved').waitFor();
	await close(page);
});

test('quotas: gauges with thresholds; invoices are for operators', async () => {
	const page = await open({ hash: '#/quotas' });
	await page.locator('.gauge.near').first().waitFor();
	assert.match((await page.locator('.gauge.near').first().textContent()) ?? '', /Nearly used up/);
	await page.getByRole('button', { name: 'Show' }).click();
	await page.getByText('Only an operator may see invoices').waitFor();
	await world.admin.query(`SELECT memory.grant_access('${world.role}', 'operator')`);
	await page.getByRole('button', { name: 'Show' }).click();
	await page.getByRole('region', { name: 'Invoice' }).waitFor();
	await close(page);
});

test('offline is seen, nothing can be changed then, and it comes back by itself', async () => {
	const page = await open({ hash: `#/c/${branched}` });
	await page.locator('.message').first().waitFor();
	await page.context().setOffline(true);
	await page.getByText('What you see may be old').waitFor();
	assert.ok(await page.getByRole('button', { name: 'Rename' }).isDisabled());
	await call(world, 'ann', 'POST', `/v1/conversations/${branched}/messages`, {
		role: 'user',
		content: 'Said while the page was offline',
	});
	await page.context().setOffline(false);
	await page.getByText('Said while the page was offline').waitFor();
	await page.getByText('Live', { exact: true }).waitFor();
	await close(page);
});

test('without a good token there is a form, and signing out forgets it', async () => {
	const context: BrowserContext = await browser.newContext();
	const page = await context.newPage();
	await page.goto(world.url);
	await page.getByLabel('Access token').fill('nonsense');
	await page.getByRole('button', { name: 'Sign in' }).click();
	await page.getByText('The token is not accepted').waitFor();
	assert.deepEqual(await violations(page), []);
	await page.getByLabel('Access token').fill(await token('ann'));
	await page.getByRole('button', { name: 'Sign in' }).click();
	await page.locator('.row').first().waitFor();
	assert.doesNotMatch(page.url(), /token/);
	await page.getByRole('button', { name: 'Sign out' }).click();
	await page.reload();
	await page.getByLabel('Access token').waitFor();
	await context.close();
});

async function until(what: () => Promise<boolean>): Promise<void> {
	for (let turn = 0; !(await what()); turn++) {
		assert.ok(turn < 400, `it did not come: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 25));
	}
}
