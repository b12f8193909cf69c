import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { type World, call, createWorld, newId, token } from './world.js';

let world: World;

before(async () => {
	world = await createWorld({ maxImportBytes: 30_000_000, idleSeconds: 3 });
});
after(async () => world.close());

async function importBody(account: string, body: string | Readable, query = ''): Promise<{ status: number; body: any }> {
	const response = await fetch(`${world.url}/v1/import${query}`, {
		method: 'POST',
		headers: { authorization: `Bearer ${await token(account)}`, 'content-type': 'application/x-ndjson' },
		body: body as never,
		duplex: 'half',
	} as RequestInit);
	return { status: response.status, body: await response.json() };
}

async function exported(account: string, query = ''): Promise<string> {
	const response = await fetch(`${world.url}/v1/export${query}`, { headers: { authorization: `Bearer ${await token(account)}` } });
	assert.equal(response.status, 200);
	return response.text();
}

const document = (id: string, content: string) =>
	JSON.stringify({ conversation_id: id, title: 'T\\"', messages: [{ role: 'user', content }, { role: 'assistant', content: 'ok' }] });

test('documents are imported, told again unchanged, and exported as they came', async () => {
	const ids = [newId(), newId()];
	const file = `${document(ids[0] ?? '', 'tab\t "quote" \\ 日本語')}\n[${document(ids[1] ?? '', 'two')}]\n{"broken": `;
	const first = await importBody('ann', file);
	assert.equal(first.status, 200);
	assert.deepEqual(
		[first.body.imported, first.body.rejected, first.body.messages, first.body.bytes],
		[2, 1, 4, Buffer.byteLength(file)],
	);
	assert.equal(first.body.errors.length, 1);
	assert.equal(first.body.errors[0].document, 3);
	const again = await importBody('ann', file);
	assert.deepEqual([again.body.imported, again.body.unchanged], [0, 2]);

	const documents = (await exported('ann')).trim().split('\n').map((line) => JSON.parse(line));
	assert.deepEqual(documents.map((d) => d.conversation_id).sort(), [...ids].sort());
	assert.equal(documents.find((d) => d.conversation_id === ids[0]).messages[0].content, 'tab\t "quote" \\ 日本語');
	const one = (await exported('ann', `?conversation_id=${ids[1]}&format=openai`)).trim().split('\n');
	assert.deepEqual(one.map((line) => JSON.parse(line).messages.length), [2]);
});

test("an import is the caller's, whatever a document says, and others export nothing of it", async () => {
	const id = newId();
	const foreign = JSON.stringify({ conversation_id: id, account_id: 'victim', messages: [{ role: 'user', content: 'x' }] });
	await importBody('mallory', foreign, '?format=native');
	const { rows } = await world.admin.query("SELECT count(*)::int AS n FROM memory.conversations WHERE account_id = 'victim'");
	assert.deepEqual(rows, [{ n: 0 }]);
	assert.equal(await exported('victim'), '');
});

test('messages go out and in as CSV', async () => {
	const id = newId();
	await importBody('csv', document(id, 'a "quoted", line\nand another'));
	const csv = await exported('csv', '?format=csv');
	assert.match(csv, /^conversation_id,seq,parent_seq,role,/);
	const { status, body } = await importBody('csv2', csv, '?format=csv');
	assert.deepEqual([status, body.messages], [200, 2]);
	assert.equal(await exported('csv2', '?format=csv'), csv);
	const bad = await importBody('csv2', 'a,b\n1,2\n', '?format=csv');
	assert.equal(bad.status, 400);
});

test('what cannot be is refused', async () => {
	assert.equal((await importBody('ann', '{}', '?format=nope')).status, 400);
	assert.equal((await call(world, 'ann', 'GET', '/v1/export?format=nope')).status, 400);
	assert.equal((await call(world, 'ann', 'GET', '/v1/export?since=yesterday')).status, 400);
});

test('an import beyond the limit leaves nothing, and one that breaks off neither', async () => {
	async function* endless() {
		for (;;)
			yield Buffer.from(`${document(newId(), 'x'.repeat(100_000))}\n`);
	}
	// The answer comes while the body is still sent, which fetch may report as an error of its own.
	const large = await importBody('large', Readable.from(endless())).catch(() => null);
	assert.ok(large === null || large.status === 413);
	const silent = new Readable({ read() {} });
	silent.push(`${document(newId(), 'x')}\n`);
	const late = await importBody('large', silent).catch(() => null);
	assert.ok(late === null || late.status === 408);

	const abort = new AbortController();
	async function* broken() {
		yield Buffer.from(`${document(newId(), 'first')}\n`);
		abort.abort();
		await new Promise(() => {});
	}
	await assert.rejects(fetch(`${world.url}/v1/import`, {
		method: 'POST',
		headers: { authorization: `Bearer ${await token('large')}`, 'content-type': 'application/x-ndjson' },
		body: Readable.from(broken()) as never,
		duplex: 'half',
		signal: abort.signal,
	} as RequestInit));
	assert.equal(await exported('large'), '');
	assert.equal((await call(world, 'large', 'GET', '/v1/conversations')).status, 200);
});

test('a large export is no larger in memory, and one that nobody reads gives its connection back', async () => {
	await world.admin.query(`INSERT INTO memory.messages (conversation_id, account_id, seq, role, content)
		SELECT md5(c::text)::uuid, 'much', s, 'user', repeat(md5(c::text || s), 1000)
		FROM generate_series(1, 300) c, generate_series(1, 10) s`);
	const response = await fetch(`${world.url}/v1/export`, { headers: { authorization: `Bearer ${await token('much')}` } });
	const before = process.memoryUsage().rss;
	let bytes = 0;
	let peak = 0;
	for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
		bytes += chunk.length;
		peak = Math.max(peak, process.memoryUsage().rss);
	}
	assert.ok(bytes > 90_000_000, String(bytes));
	assert.ok(peak - before < 80_000_000, `${bytes} bytes took ${peak - before} bytes of memory`);

	const abort = new AbortController();
	const left = await fetch(`${world.url}/v1/export`, {
		headers: { authorization: `Bearer ${await token('much')}` },
		signal: abort.signal,
	});
	await left.body?.getReader().read();
	abort.abort();
	for (let turn = 0; ; turn++) {
		const { rows } = await world.admin.query(
			"SELECT count(*)::int AS n FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'", [world.role]);
		if (rows[0].n === 0)
			break;
		assert.ok(turn < 200, 'the export goes on');
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
});
