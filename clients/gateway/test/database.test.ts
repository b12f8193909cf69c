import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { problemOf } from '../src/problem.js';
import { type World, call, createWorld, newId, startGateway, urlOf, urlOfGateway } from './world.js';

let world: World;

before(async () => {
	world = await createWorld({ poolSize: 3, poolWaitMs: 60_000 });
});
after(async () => world.close());

/** What each connection of the pool has of the settings that a request sets. */
async function settings(app = world.app): Promise<unknown[]> {
	const clients = await Promise.all(Array.from({ length: 3 }, () => app.database.pool.connect()));
	const all = [];
	for (const client of clients) {
		const { rows } = await client.query(`SELECT current_setting('memory_ext.account') AS account,
			current_setting('statement_timeout') AS timeout, now() = statement_timestamp() AS idle`);
		all.push(rows[0]);
		client.release();
	}
	return all;
}

const CLEAN = Array(3).fill({ account: '', timeout: '0', idle: true });

test('no connection keeps a setting, whatever the requests did', async () => {
	const id = newId();
	const path = `/v1/conversations/${id}/messages`;
	const requests: Promise<unknown>[] = [];
	for (let n = 0; n < 40; n++) {
		requests.push(call(world, `account ${n % 5}`, 'POST', path, { role: 'user', content: `${n}`, message_id: `m${n % 3}` }));
		requests.push(call(world, `account ${n % 5}`, 'GET', `/v1/conversations/${newId()}/messages/1`));
		requests.push(call(world, `account ${n % 5}`, 'GET', '/v1/quota/no-such-meter'));
	}
	await Promise.all(requests);
	assert.deepEqual(await settings(), CLEAN);
});

test('a request of an account never sees what another wrote, on the same connections', async () => {
	const id = newId();
	await Promise.all(Array.from({ length: 60 }, async (_, n) => {
		const account = `tenant ${n}`;
		await call(world, account, 'POST', `/v1/conversations/${id}/messages`, { role: 'user', content: account });
		const { body } = await call(world, account, 'GET', `/v1/conversations/${id}/messages`);
		assert.deepEqual(body.messages.map((m: any) => m.content), [account]);
	}));
});

test('a statement that takes too long is cut off, and leaves nothing behind', async () => {
	const impatient = await startGateway({ ...world.config, statementTimeoutMs: 400 });
	await call(world, 'slow', 'POST', '/v1/conversations', {});
	const holder = new pg.Client({ database: world.database });
	await holder.connect();
	await holder.query('BEGIN');
	await holder.query("SELECT memory.create_conversation('slow')");
	const { status, body } = await call({ url: urlOfGateway(impatient) }, 'slow', 'POST', '/v1/conversations', {});
	assert.deepEqual([status, body.sqlstate, body.title], [504, '57014', 'Timeout']);
	await holder.query('ROLLBACK');
	await holder.end();
	assert.deepEqual(await settings(impatient), CLEAN);
	await impatient.close();
	assert.equal((await call(world, 'slow', 'POST', '/v1/conversations', {})).status, 200);
});

test('a connection that the server ends in the middle of a statement is a 503', async () => {
	await call(world, 'cut', 'POST', '/v1/conversations', {});
	const holder = new pg.Client({ database: world.database });
	await holder.connect();
	await holder.query('BEGIN');
	await holder.query("SELECT memory.create_conversation('cut')");
	const waiting = call(world, 'cut', 'POST', '/v1/conversations', {});
	for (let turn = 0; ; turn++) {
		const { rows } = await world.admin.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE usename = $1 AND wait_event_type = 'Lock'`, [world.role]);
		if (rows.length > 0)
			break;
		assert.ok(turn < 1000);
	}
	assert.equal((await waiting).status, 503);
	await holder.end();
	assert.equal((await call(world, 'cut', 'GET', '/v1/conversations')).status, 200);
});

test('a request that names no account sees and writes nothing', async () => {
	const client = await world.app.database.pool.connect();
	await call(world, 'ann', 'POST', '/v1/conversations', {});
	assert.deepEqual((await client.query('SELECT * FROM memory.conversations')).rows, []);
	await assert.rejects(client.query("SELECT memory.create_conversation('ann')"), { code: '42501' });
	client.release();
});

test('a connection that the server ends is replaced', async () => {
	await world.admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [world.role]);
	const codes = new Set<number>();
	for (let n = 0; n < 10; n++)
		codes.add((await call(world, 'ann', 'GET', '/v1/conversations')).status);
	assert.ok([...codes].every((code) => code === 200 || code === 503), [...codes].join());
	assert.equal((await call(world, 'ann', 'GET', '/v1/conversations')).status, 200);
});

test('a deadlock is run again', async () => {
	let attempts = 0;
	const result = await world.app.database.transaction('ann', {}, async (client) => {
		attempts++;
		if (attempts < 3)
			await client.query("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$");
		return 'done';
	});
	assert.deepEqual([result, attempts], ['done', 3]);
});

test('a read cannot write', async () => {
	await assert.rejects(
		world.app.database.query('ann', "SELECT memory.create_conversation('ann')", [], { readOnly: true }),
		{ code: '25006' },
	);
});

test('a quota that is used up: SQLSTATE, detail as an object, hint', async () => {
	await world.admin.query(`INSERT INTO memory.plans (plan_id, title) VALUES ('tiny', 'Tiny'), ('big', 'Big');
		INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES
			('tiny', 'conversations', 'current', 1), ('tiny', 'messages', 'day', 1), ('big', 'conversations', 'current', 9);
		SELECT memory.subscribe('limited', 'tiny')`);
	const { body: { conversation_id } } = await call(world, 'limited', 'POST', '/v1/conversations', {});
	const standing = await call(world, 'limited', 'POST', '/v1/conversations', {});
	assert.deepEqual([standing.status, standing.body.sqlstate, standing.body.sql_detail.meter], [403, 'MX001', 'conversations']);
	assert.match(standing.body.hint, /change_plan/);
	assert.equal(standing.headers.get('retry-after'), null);

	const path = `/v1/conversations/${conversation_id}/messages`;
	assert.equal((await call(world, 'limited', 'POST', path, { role: 'user', content: 'x' })).status, 200);
	const flow = await call(world, 'limited', 'POST', path, { role: 'user', content: 'x' });
	assert.deepEqual([flow.status, flow.body.sqlstate, flow.body.sql_detail.meter], [429, 'MX001', 'messages']);
	const wait = Number(flow.headers.get('retry-after'));
	assert.ok(wait > 0 && wait <= 86_400, String(wait));

	const { body } = await call(world, 'limited', 'GET', '/v1/quota');
	assert.deepEqual(body.quota.map((q: any) => [q.meter, q.used, q.limit_value]), [['conversations', 1, 1], ['messages', 1, 1]]);
	const check = await call(world, 'limited', 'GET', '/v1/quota/messages?amount=1');
	assert.deepEqual([check.status, check.body.allowed, check.body.remaining], [200, false, 0]);
});

test('a database that cannot be reached is 503, and healthz says so', async () => {
	const gateway = await startGateway({ ...world.config, databaseUrl: urlOf('no_such_database', world.role) });
	try {
		const here = { url: urlOfGateway(gateway) };
		const { status, headers } = await call(here, 'ann', 'GET', '/v1/conversations');
		assert.deepEqual([status, headers.get('retry-after')], [503, '1']);
		assert.equal((await call(here, null, 'GET', '/healthz')).status, 503);
	} finally {
		await gateway.close();
	}
	assert.equal((await call(world, null, 'GET', '/healthz')).status, 200);
});

test('an internal error tells a client nothing', () => {
	const { problem } = problemOf(new Error('the secret is 42'));
	assert.equal(problem.status, 500);
	assert.doesNotMatch(JSON.stringify(problem), /42/);
});
