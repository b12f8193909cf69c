// Measures the gateway: requests at a fixed rate, WebSockets that idle, and how long a change takes
// to its poke.  Not a test: no number makes it fail.
//
//	CONVERSATIONS=100000  how many there are before it starts
//	RATE=200              requests a second, for SECONDS=20
//	SOCKETS=5000          WebSockets that idle
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { SECRET, createWorld, newId, token, urlOf } from '../test/world.js';

const CONVERSATIONS = Number(process.env.CONVERSATIONS ?? 100_000);
const RATE = Number(process.env.RATE ?? 200);
const SECONDS = Number(process.env.SECONDS ?? 20);
const SOCKETS = Number(process.env.SOCKETS ?? 5000);
const ACCOUNTS = Math.max(1, Math.floor(CONVERSATIONS / 100));

const tokens = new Map<string, Promise<string>>();
const world = await createWorld();
await world.admin.query(`INSERT INTO memory.messages (conversation_id, account_id, seq, role, content)
	SELECT md5(c::text)::uuid, 'account ' || c % ${ACCOUNTS}, s, CASE s WHEN 1 THEN 'user' ELSE 'assistant' END,
		repeat(md5(c::text || s), 4)
	FROM generate_series(1, ${CONVERSATIONS}) c, generate_series(1, 2) s ORDER BY 2`);
await world.admin.query('ANALYZE');
const { rows: functions } = await world.admin.query<{ proname: string }>(
	"SELECT proname FROM pg_proc WHERE pronamespace = 'memory'::regnamespace AND proname IN ('pull')");

const [gateway, url] = await startProgram();
await requests('list', async (account) => get(account, '/v1/conversations?limit=50'));
await requests('append', async (account) => post(account, `/v1/conversations/${newId()}/messages`, { role: 'user', content: 'x'.repeat(200) }));
if (functions.length > 0) {
	const checkpoints = new Map<string, unknown>();
	for (let n = 0; n < 50; n++) {
		let page: { documents: unknown[]; checkpoint: unknown };
		let checkpoint: unknown = null;
		do {
			page = await (await post(`account ${n}`, '/v1/pull', { collection: 'messages', checkpoint, max_documents: 1000 })).json() as typeof page;
			checkpoint = page.checkpoint;
		} while (page.documents.length === 1000);
		checkpoints.set(`account ${n}`, checkpoint);
	}
	await requests('pull, nothing new', async (_account, n) => post(`account ${n % 50}`, '/v1/pull', {
		collection: 'messages', checkpoint: checkpoints.get(`account ${n % 50}`),
	}));
}
await sockets();
gateway.kill('SIGTERM');
await once(gateway, 'exit');
await world.close();

async function startProgram(): Promise<[ChildProcess, string]> {
	const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
	const child = spawn(process.execPath, [main], {
		env: {
			...process.env,
			MEMORY_GATEWAY_PORT: '0',
			MEMORY_GATEWAY_JWT_SECRET: SECRET,
			MEMORY_GATEWAY_DATABASE_URL: urlOf(world.database, world.role),
			MEMORY_GATEWAY_RATE_LIMIT: '0',
			MEMORY_GATEWAY_SHUTDOWN_SECONDS: '30',
		},
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	const address = await new Promise<string>((resolve) => {
		let log = '';
		child.stdout?.on('data', (text: Buffer) => {
			log = log.length < 10_000 ? log + text.toString() : log;
			const found = /http:\/\/127\.0\.0\.1:\d+/.exec(log);
			if (found)
				resolve(found[0]);
		});
	});
	return [child, address];
}

async function get(account: string, path: string): Promise<Response> {
	return fetch(url + path, { headers: { authorization: `Bearer ${await tokenOf(account)}` } });
}

async function post(account: string, path: string, body: unknown): Promise<Response> {
	return fetch(url + path, {
		method: 'POST',
		headers: { authorization: `Bearer ${await tokenOf(account)}`, 'content-type': 'application/json' },
		body: JSON.stringify(body),
	});
}

/** A request every 1/RATE of a second, whether the ones before it are answered or not. */
async function requests(name: string, request: (account: string, n: number) => Promise<Response>): Promise<void> {
	const times: number[] = [];
	const open = new Set<Promise<void>>();
	let failed = 0;

	for (const warm of [true, false]) {
		const count = warm ? RATE : RATE * SECONDS;
		const start = performance.now();
		for (let n = 0; n < count; n++) {
			const due = start + (n * 1000) / RATE;
			while (performance.now() < due)
				await new Promise((resolve) => setTimeout(resolve, Math.max(1, due - performance.now())));
			const account = `account ${(n * 7919) % ACCOUNTS}`;
			const done = request(account, n).then(async (response) => {
				await response.arrayBuffer();
				if (!response.ok)
					failed++;
				if (!warm)
					times.push(performance.now() - due);
			}).finally(() => open.delete(done));
			open.add(done);
		}
		await Promise.all(open);
	}
	times.sort((a, b) => a - b);
	const at = (share: number) => (times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0).toFixed(1);
	console.log(`${name}: ${times.length} requests, ${failed} failed; median ${at(0.5)} ms, p95 ${at(0.95)}, p99 ${at(0.99)}`);
}

async function sockets(): Promise<void> {
	const before = rss();
	const clients: WebSocket[] = [];
	for (let n = 0; n < SOCKETS; n++) {
		const client = new WebSocket(`${url.replace('http', 'ws')}/v1/live`, ['memory-ext.v1', `bearer.${await tokenOf(`account ${n % ACCOUNTS}`)}`]);
		clients.push(client);
		if (n % 50 === 49)
			await Promise.all(clients.slice(-50).map((open) => open.readyState === WebSocket.OPEN || once(open, 'open')));
	}
	await Promise.all(clients.map((open) => open.readyState === WebSocket.OPEN || once(open, 'open')));
	await new Promise((resolve) => setTimeout(resolve, 5000));
	console.log(`${SOCKETS} WebSockets: the gateway has ${rss()} MB, ${before} MB before`);

	const times: number[] = [];
	for (let n = 0; n < 200; n++) {
		const client = clients[n % clients.length];
		const poke = client === undefined ? undefined : once(client, 'message');
		const start = performance.now();
		await world.admin.query("SELECT pg_notify('memory_changes', $1)", [JSON.stringify([{ account_id: `account ${n % ACCOUNTS}`, revision: n }])]);
		await poke;
		times.push(performance.now() - start);
	}
	times.sort((a, b) => a - b);
	console.log(`from NOTIFY to the poke: median ${times[100]?.toFixed(1)} ms, p95 ${times[190]?.toFixed(1)}`);
	for (const client of clients)
		client.terminate();
}

/** The gateway's memory in MB. */
function rss(): number {
	const pages = Number(readFileSync(`/proc/${gateway.pid}/statm`, 'utf8').split(' ')[1]);
	return Math.round((pages * 4096) / 1_000_000);
}

async function tokenOf(account: string): Promise<string> {
	const known = tokens.get(account) ?? token(account, 3600);
	tokens.set(account, known);
	return known;
}
