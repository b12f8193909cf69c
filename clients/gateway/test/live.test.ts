import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { changesOf } from '../src/listener.js';
import { type World, createWorld, startGateway, token, urlOfGateway } from './world.js';

let world: World;

before(async () => {
	world = await createWorld({ maxSocketsPerAccount: 3, corsOrigins: ['https://app.example'] });
});
after(async () => world.close());

/** A client that keeps what it is told. */
class Client {
	readonly messages: any[] = [];
	readonly socket: WebSocket;
	closed: number | undefined;

	constructor(url: string, protocols: string[], options: WebSocket.ClientOptions = {}) {
		this.socket = new WebSocket(`${url.replace('http', 'ws')}/v1/live`, protocols, options);
		this.socket.on('message', (data) => this.messages.push(JSON.parse(data.toString())));
		this.socket.on('close', (code) => {
			this.closed = code;
		});
		this.socket.on('error', () => {});
	}

	static async open(url: string, account: string, seconds?: number, options?: WebSocket.ClientOptions): Promise<Client> {
		const client = new Client(url, ['memory-ext.v1', `bearer.${await token(account, seconds)}`], options);
		await client.until(() => client.messages.length > 0);
		return client;
	}

	async until(condition: () => boolean): Promise<void> {
		for (let turn = 0; !condition(); turn++) {
			assert.ok(turn < 1000, `it did not come: ${JSON.stringify(this.messages)} ${this.closed}`);
			await new Promise((resolve) => setTimeout(resolve, 10));
		}
	}

	pokes(): (number | null)[] {
		return this.messages.filter((message) => message.type === 'poke').map((message) => message.revision);
	}

	async close(): Promise<void> {
		if (this.socket.readyState !== WebSocket.CLOSED) {
			this.socket.terminate();
			await once(this.socket, 'close');
		}
	}
}

async function refused(url: string, protocols: string[], headers: Record<string, string> = {}, path = '/v1/live'): Promise<number> {
	const socket = new WebSocket(url.replace('http', 'ws') + path, protocols, { headers });
	socket.on('error', () => {});
	const [, response] = await once(socket, 'unexpected-response');
	response.resume();
	return response.statusCode;
}

async function notify(...changes: object[]): Promise<void> {
	await world.admin.query("SELECT pg_notify('memory_changes', $1)", [JSON.stringify(changes)]);
}

test('those are told whose account has changed, and nobody else', async () => {
	const [ann, ann2, ben] = await Promise.all(['ann', 'ann', 'ben'].map((account) => Client.open(world.url, account)));
	assert.ok(ann && ann2 && ben);
	assert.equal(ann.socket.protocol, 'memory-ext.v1');
	assert.deepEqual([ann.messages[0].type, ann.messages[0].heartbeat_seconds], ['hello', 30]);
	await notify({ account_id: 'ann', revision: 7 }, { account_id: 'cas', revision: 1 });
	await notify({ account_id: 'ben', revision: 3 });
	await ben.until(() => ben.pokes().length > 0);
	await ann2.until(() => ann2.pokes().length > 0);
	assert.deepEqual([ann.pokes(), ann2.pokes(), ben.pokes()], [[7], [7], [3]]);
	await Promise.all([ann.close(), ann2.close(), ben.close()]);
});

test('a token in the header serves as well; without a good one there is no socket', async () => {
	const headers = { authorization: `Bearer ${await token('ann')}` };
	const client = new Client(world.url, ['memory-ext.v1'], { headers });
	await client.until(() => client.messages.length > 0);
	await client.close();
	assert.equal(await refused(world.url, ['memory-ext.v1']), 401);
	assert.equal(await refused(world.url, ['memory-ext.v1', 'bearer.nonsense']), 401);
	assert.equal(await refused(world.url, ['memory-ext.v1'], headers, '/v1/other'), 404);
});

test('a page of another origin is refused unless it is allowed', async () => {
	const authorization = `Bearer ${await token('ann')}`;
	assert.equal(await refused(world.url, ['memory-ext.v1'], { authorization, origin: 'https://evil.example' }), 403);
	for (const origin of ['https://app.example', world.url]) {
		const client = new Client(world.url, ['memory-ext.v1'], { headers: { authorization, origin } });
		await client.until(() => client.messages.length > 0);
		await client.close();
	}
});

test('an account may have so many sockets', async () => {
	const clients = await Promise.all([1, 2, 3].map(() => Client.open(world.url, 'many')));
	assert.equal(await refused(world.url, ['memory-ext.v1', `bearer.${await token('many')}`]), 429);
	await clients[0]?.close();
	const again = await Client.open(world.url, 'many');
	await Promise.all([...clients, again].map((client) => client?.close()));
});

test('when the listening connection breaks, all are told to look', async () => {
	const client = await Client.open(world.url, 'ann');
	await world.admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'memory_ext_gateway listener' AND datname = current_database()`);
	await client.until(() => client.pokes().includes(null));
	await notify({ account_id: 'ann', revision: 9 });
	await client.until(() => client.pokes().includes(9));
	await client.close();
});

test('a socket that shows no sign of life is cut off, one that does is kept', async () => {
	const beating = await startGateway({ ...world.config, heartbeatSeconds: 1 });
	const dead = await Client.open(urlOfGateway(beating), 'ann', 300, { autoPong: false });
	const alive = await Client.open(urlOfGateway(beating), 'ann');
	await dead.until(() => dead.closed !== undefined);
	assert.equal(alive.closed, undefined);
	alive.socket.send('{"type":"ping"}');
	await alive.until(() => alive.messages.some((message) => message.type === 'pong'));
	await alive.close();
	await beating.close();
});

test('a token that expires closes its socket, with a code of its own', async () => {
	const beating = await startGateway({ ...world.config, heartbeatSeconds: 1 });
	const client = await Client.open(urlOfGateway(beating), 'ann', 1);
	await client.until(() => client.closed !== undefined);
	assert.equal(client.closed, 4401);
	await beating.close();
});

test('what is no message, or too many, closes the socket', async () => {
	const bad = await Client.open(world.url, 'ann');
	bad.socket.send('nonsense');
	await bad.until(() => bad.closed !== undefined);
	assert.equal(bad.closed, 1008);
	const large = await Client.open(world.url, 'ann');
	large.socket.send('x'.repeat(5000));
	await large.until(() => large.closed !== undefined);
	assert.equal(large.closed, 1009);
	const flood = await Client.open(world.url, 'ann');
	for (let n = 0; n < 200; n++)
		flood.socket.send('{"type":"ping"}');
	await flood.until(() => flood.closed !== undefined);
	assert.equal(flood.closed, 1008);
});

test('who does not read has a queue of one, and gets the last', async () => {
	const client = await Client.open(world.url, 'ann');
	const raw = (client.socket as unknown as { _socket: { pause(): void; resume(): void } })._socket;
	const before = process.memoryUsage().heapUsed;
	raw.pause();
	// Enough that the buffers of the system are full.
	const many = 60_000;
	await world.admin.query(`SELECT pg_notify('memory_changes', list) FROM (
		SELECT json_agg(json_build_object('account_id', 'ann', 'revision', n) ORDER BY n)::text AS list
		FROM generate_series(1, ${many}) n GROUP BY n / 100 ORDER BY n / 100) lists`);
	await notify({ account_id: 'ann', revision: many + 1 });
	raw.resume();
	await client.until(() => client.pokes().at(-1) === many + 1);
	const pokes = client.pokes() as number[];
	assert.ok(pokes.length < many / 2, `${pokes.length} pokes`);
	assert.deepEqual(pokes, [...pokes].sort((a, b) => a - b));
	assert.ok(process.memoryUsage().heapUsed - before < 100_000_000);
	await client.close();
});

test('a gateway that closes says so', async () => {
	const gateway = await startGateway(world.config);
	const client = await Client.open(urlOfGateway(gateway), 'ann');
	await gateway.close();
	await client.until(() => client.closed !== undefined);
	assert.equal(client.closed, 1001);
});

test('a notification that says nothing clear concerns everybody', () => {
	assert.deepEqual(changesOf('[{"account_id":"a","revision":1}]'), [{ account: 'a', revision: 1 }]);
	for (const payload of ['', 'x', '[]', '{}', 'null', '[null]', '[{"revision":1}]'])
		assert.deepEqual(changesOf(payload), [null], payload);
	assert.deepEqual(changesOf('[{"account_id":"a"}]'), [{ account: 'a', revision: null }]);
});
