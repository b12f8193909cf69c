import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { OPTIONS, readConfig, variableOf } from '../src/index.js';
import { loadConfig } from '../src/config.js';
import { SECRET, type World, call, createWorld, newId, startGateway, urlOf, urlOfGateway } from './world.js';

let world: World;

before(async () => {
	world = await createWorld();
});
after(async () => world.close());

test('answers are as OpenAPI says', async () => {
	const id = newId();
	const path = `/v1/conversations/${id}`;
	await call(world, 'ann', 'POST', `${path}/messages`, { role: 'assistant', content: 'x', model: 'm', metadata: { a: 1 } });
	await call(world, 'ann', 'POST', `/v1/conversations`, { title: 'An x in the title only' });
	await world.admin.query("SELECT memory.record_usage('ann', 'm', 10, output_tokens => 5), memory.load_example_plans(), memory.subscribe('ann', 'free')");
	await world.admin.query("INSERT INTO memory.model_prices (model, valid_from, input_cost_per_token, output_cost_per_token) VALUES ('m', '2020-01-01', 0.1, 0.2)");

	const { body: document } = await call(world, null, 'GET', '/v1/openapi.json');
	assert.equal(document.openapi, '3.1.0');
	const ajv = new Ajv2020({ strict: false });
	formats.default(ajv);
	const template = '/v1/conversations/{conversation_id}';
	for (const [route, url] of [
		['/v1/conversations', '/v1/conversations'],
		[template, path],
		[`${template}/messages`, `${path}/messages`],
		[`${template}/messages/{seq}`, `${path}/messages/1`],
		[`${template}/branches`, `${path}/branches`],
		[`${template}/context`, `${path}/context?max_tokens=100`],
		['/v1/search', '/v1/search?q=x'],
		['/v1/search/conversations', '/v1/search/conversations?q=x'],
		['/v1/list', '/v1/list'],
		['/v1/usage', '/v1/usage'],
		['/v1/usage/models', '/v1/usage/models'],
		['/v1/costs', '/v1/costs'],
		['/v1/storage', '/v1/storage'],
		['/v1/quota', '/v1/quota'],
		['/v1/quota/{meter}', '/v1/quota/messages'],
	]) {
		const { status, body } = await call(world, 'ann', 'GET', url ?? '');
		assert.equal(status, 200, url);
		const list = Object.values(body).find(Array.isArray);
		assert.ok(list === undefined || list.length > 0, `${url} is empty`);
		const { schema } = document.paths[route ?? ''].get.responses['200'].content['application/json'];
		assert.ok(ajv.validate(schema, body), `${url}: ${ajv.errorsText()}`);
	}
	const problem = await call(world, 'ann', 'GET', `${path}/messages/9`);
	const { schema } = document.paths[`${template}/messages/{seq}`].get.responses['4XX'].content['application/problem+json'];
	assert.ok(ajv.validate(schema, problem.body), ajv.errorsText());
});

test('usage and costs are of the days that are asked for', async () => {
	await world.admin.query(`SET memory_ext.backdated_after = '90d'; SELECT memory.record_usage('days', 'm', 10, occurred_at => now() - interval '40 days'),
		memory.record_usage('days', 'm', 20, occurred_at => now() - interval '2 days')`);
	const sum = async (query: string) => (await call(world, 'days', 'GET', `/v1/usage${query}`)).body.usage
		.reduce((total: number, row: any) => total + row.input_tokens, 0);
	const day = (ago: number) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10);
	assert.equal(await sum(''), 20);
	assert.equal(await sum(`?from=${day(50)}`), 30);
	assert.equal(await sum(`?from=${day(50)}&to=${day(30)}`), 10);
	const { body } = await call(world, 'days', 'GET', `/v1/costs?from=${day(3)}`);
	assert.equal(body.costs[0].input_cost, 2);
	assert.equal((await call(world, 'days', 'GET', '/v1/usage?from=yesterday')).status, 400);
});

test('an invoice needs an operator', async () => {
	const path = '/v1/invoice?from=2026-01-01&to=2026-02-01';
	const refused = await call(world, 'ann', 'GET', path);
	assert.deepEqual([refused.status, refused.body.sqlstate], [403, '42501']);
	await world.admin.query(`SELECT memory.grant_access('${world.role}', 'operator')`);
	const { status, body } = await call(world, 'ann', 'GET', path);
	assert.equal(status, 200, JSON.stringify(body));
	assert.equal(body.lines.at(-1).component, 'total');
	await world.admin.query(`SELECT memory.revoke_access('${world.role}'), memory.grant_access('${world.role}', 'gateway')`);
});

test('metrics say what was done, and no account', async () => {
	await call(world, 'secret-account', 'GET', '/v1/conversations');
	await call(world, 'secret-account', 'GET', `/v1/conversations/${newId()}/messages/1`);
	const { body } = await call<string>(world, null, 'GET', '/metrics');
	assert.match(body, /memory_gateway_request_seconds_count\{method="GET",route="\/v1\/conversations",status="200"\} \d/);
	assert.match(body, /memory_gateway_database_errors_total\{sqlstate="P0002"\} \d/);
	assert.match(body, /memory_gateway_pool_connections\{state="open"\} [1-9]/);
	assert.match(body, /memory_gateway_listening 1/);
	assert.doesNotMatch(body, /secret-account/);

	const gateway = await startGateway({ ...world.config, metricsToken: 'prometheus' });
	const here = { url: urlOfGateway(gateway) };
	assert.equal((await call(here, null, 'GET', '/metrics')).status, 401);
	assert.equal((await call(here, null, 'GET', '/metrics', undefined, { authorization: 'Bearer prometheus' })).status, 200);
	await gateway.close();
});

test('CORS is off unless origins are named', async () => {
	const preflight = (url: string, origin: string) => fetch(`${url}/v1/conversations`, {
		method: 'OPTIONS',
		headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' },
	});
	assert.equal((await preflight(world.url, 'https://app.example')).headers.get('access-control-allow-origin'), null);
	const gateway = await startGateway({ ...world.config, corsOrigins: ['https://app.example'] });
	const url = urlOfGateway(gateway);
	assert.equal((await preflight(url, 'https://app.example')).headers.get('access-control-allow-origin'), 'https://app.example');
	assert.equal((await preflight(url, 'https://evil.example')).headers.get('access-control-allow-origin'), null);
	await gateway.close();
});

test('an account has so many requests in a minute, and others have theirs', async () => {
	const gateway = await startGateway({ ...world.config, rateLimit: 3 });
	const here = { url: urlOfGateway(gateway) };
	for (let n = 0; n < 3; n++)
		assert.equal((await call(here, 'ann', 'GET', '/v1/conversations')).status, 200);
	const { status, headers, body } = await call(here, 'ann', 'GET', '/v1/conversations');
	assert.deepEqual([status, body.title], [429, 'Too many requests']);
	assert.ok(Number(headers.get('retry-after')) > 0);
	assert.equal((await call(here, 'ben', 'GET', '/v1/conversations')).status, 200);
	await gateway.close();
});

test('the configuration: file, environment, and what cannot be', () => {
	const file = join(mkdtempSync(join(tmpdir(), 'gateway-')), 'config.json');
	writeFileSync(file, JSON.stringify({ port: 1234, jwtSecret: SECRET, corsOrigins: ['https://a.example'] }));
	const config = loadConfig(['--config', file], { MEMORY_GATEWAY_PORT: '99', MEMORY_GATEWAY_TRUST_PROXY: 'true' });
	assert.deepEqual([config.port, config.trustProxy, config.corsOrigins], [99, true, ['https://a.example']]);
	assert.deepEqual(readConfig({ jwtSecret: SECRET }, { MEMORY_GATEWAY_CORS_ORIGINS: 'https://a, https://b' }).corsOrigins,
		['https://a', 'https://b']);
	for (const [options, message] of [
		[{}, /jwtSecret or jwksUrl/],
		[{ jwtSecret: 'short' }, /32 bytes/],
		[{ jwtSecret: SECRET, jwksUrl: 'x' }, /exclude/],
		[{ jwtSecret: SECRET, port: 70000 }, /"port": an integer from 0 to 65535/],
		[{ jwtSecret: SECRET, prot: 1 }, /unknown option "prot"/],
	] as const)
		assert.throws(() => readConfig(options), message);
	assert.throws(() => readConfig({}, { MEMORY_GATEWAY_PORT: 'x' }), /MEMORY_GATEWAY_PORT/);
	assert.throws(() => loadConfig(['--port', '1'], {}), /unknown argument/);
});

test('the README has every option', () => {
	const readme = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
	for (const [name, option] of Object.entries(OPTIONS)) {
		const fallback = option.default as unknown;
		const shown = fallback === '' || (Array.isArray(fallback) && fallback.length === 0) ? '' : `\`${fallback}\``;
		assert.ok(readme.includes(`| \`${name}\` | ${shown} | ${option.what} |`), `| \`${name}\` | ${shown} | ${option.what} |`);
	}
	assert.ok(readme.includes(variableOf('statementTimeoutMs')));
});

test('the program listens, and ends on SIGTERM when what is under way is done', async (context) => {
	const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
	const child = spawn(process.execPath, [main], {
		env: {
			...process.env,
			MEMORY_GATEWAY_PORT: '0',
			MEMORY_GATEWAY_JWT_SECRET: SECRET,
			MEMORY_GATEWAY_DATABASE_URL: urlOf(world.database, world.role),
		},
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	context.after(() => child.kill('SIGKILL'));
	let log = '';
	child.stdout.setEncoding('utf8');
	const here = await new Promise<{ url: string }>((resolve) => {
		child.stdout.on('data', (text: string) => {
			log += text;
			const url = /http:\/\/127\.0\.0\.1:\d+/.exec(log);
			if (url)
				resolve({ url: url[0] });
		});
	});
	await world.admin.query('BEGIN');
	await world.admin.query("SELECT memory.create_conversation('busy')");
	const waiting = call(here, 'busy', 'POST', '/v1/conversations', {});
	for (let turn = 0; ; turn++) {
		// In a transaction the view would stay as it was at first.
		await world.admin.query('SELECT pg_stat_clear_snapshot()');
		const { rows } = await world.admin.query(`SELECT count(*)::int AS n FROM pg_stat_activity
			WHERE usename = $1 AND wait_event_type = 'Lock'`, [world.role]);
		if (rows[0].n > 0)
			break;
		assert.ok(turn < 1000);
	}
	child.kill('SIGTERM');
	const exit = once(child, 'exit');
	await world.admin.query('COMMIT');
	assert.equal((await waiting).status, 200);
	assert.deepEqual(await exit, [0, null]);
	assert.doesNotMatch(log, /Bearer|eyJ/);
});

test('a bad configuration ends the program with a word about it', async () => {
	const main = fileURLToPath(new URL('../src/main.js', import.meta.url));
	const child = spawn(process.execPath, [main], { env: { PATH: process.env.PATH }, stdio: ['ignore', 'ignore', 'pipe'] });
	let text = '';
	child.stderr.on('data', (data) => {
		text += data;
	});
	assert.deepEqual(await once(child, 'close'), [2, null]);
	assert.match(text, /^memory-ext-gateway: either jwtSecret or jwksUrl is needed\n$/);
});
