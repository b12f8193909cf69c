import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SignJWT, UnsecuredJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose';
import type { Config } from '../src/index.js';
import { SECRET, type World, call, createWorld, startGateway, token, urlOfGateway } from './world.js';

let world: World;
const inFiveMinutes = () => Math.floor(Date.now() / 1000) + 300;

before(async () => {
	world = await createWorld({ jwtIssuer: 'https://issuer.example', jwtAudience: 'memory' });
});
after(async () => world.close());

async function status(url: string, jwt: string | null): Promise<[number, any, Headers]> {
	const response = await fetch(`${url}/v1/conversations`, {
		headers: jwt === null ? {} : { authorization: `Bearer ${jwt}` },
	});
	return [response.status, await response.json(), response.headers];
}

function signed(claims: Record<string, unknown>, secret = SECRET, algorithm = 'HS256') {
	return new SignJWT({ sub: 'ann', iss: 'https://issuer.example', aud: 'memory', exp: inFiveMinutes(), ...claims })
		.setProtectedHeader({ alg: algorithm })
		.sign(Buffer.from(secret));
}

test('a good token is taken', async () => {
	assert.equal((await status(world.url, await signed({})))[0], 200);
});

test('no token, and what is no good one, is 401', async () => {
	const tokens: [string, string | null][] = [
		['none', null],
		['nonsense', 'abc'],
		['expired', await signed({ exp: Math.floor(Date.now() / 1000) - 60 })],
		['without an end', await new SignJWT({ sub: 'ann', iss: 'https://issuer.example', aud: 'memory' })
			.setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET))],
		['not yet valid', await signed({ nbf: inFiveMinutes() })],
		['of another secret', await signed({}, 'x'.repeat(32))],
		['of another algorithm', await signed({}, SECRET, 'HS512')],
		['without a signature', new UnsecuredJWT({ sub: 'ann', iss: 'https://issuer.example', aud: 'memory', exp: inFiveMinutes() }).encode()],
		['of another issuer', await signed({ iss: 'https://other.example' })],
		['for somebody else', await signed({ aud: 'else' })],
		['without an account', await signed({ sub: undefined })],
		['with an empty account', await signed({ sub: '' })],
		['with a number', await signed({ sub: 5 })],
		['with a long account', await signed({ sub: 'ü'.repeat(128) })],
		['with a zero', await signed({ sub: 'a\0b' })],
	];
	for (const [what, jwt] of tokens) {
		const [code, problem, headers] = await status(world.url, jwt);
		assert.equal(code, 401, what);
		assert.match(headers.get('www-authenticate') ?? '', /^Bearer/, what);
		assert.equal(problem.title, 'Not authenticated', what);
	}
});

test('an account may have any name, quotes included', async () => {
	const account = `o'"\\; DROP TABLE x; -- ${'ü'.repeat(100)}`;
	const gateway = await startGateway({ ...world.config, jwtIssuer: '', jwtAudience: '' });
	try {
		const here = { url: urlOfGateway(gateway) };
		const made = await call(here, account, 'POST', '/v1/conversations', { title: 'x' });
		assert.equal(made.status, 200);
		const { rows } = await world.admin.query('SELECT account_id FROM memory.conversations WHERE conversation_id = $1',
			[made.body.conversation_id]);
		assert.deepEqual(rows, [{ account_id: account }]);
	} finally {
		await gateway.close();
	}
});

test('RS256 with keys from a URL or a file; the public key is no secret', async () => {
	const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
	const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256', use: 'sig' }] };
	const server = createServer((_request, response) => response.setHeader('content-type', 'application/json').end(JSON.stringify(keys)));
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const file = join(mkdtempSync(join(tmpdir(), 'jwks-')), 'jwks.json');
	writeFileSync(file, JSON.stringify(keys));

	const good = await new SignJWT({ tenant: 'ann', exp: inFiveMinutes() }).setProtectedHeader({ alg: 'RS256', kid: 'one' }).sign(privateKey);
	const forged = await new SignJWT({ tenant: 'ann', exp: inFiveMinutes() }).setProtectedHeader({ alg: 'HS256', kid: 'one' })
		.sign(Buffer.from(await exportSPKI(publicKey)));
	const stranger = await new SignJWT({ tenant: 'ann', exp: inFiveMinutes() }).setProtectedHeader({ alg: 'RS256', kid: 'two' })
		.sign((await generateKeyPair('RS256')).privateKey);
	for (const jwksUrl of [`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, file]) {
		const settings: Partial<Config> = { jwtSecret: '', jwksUrl, accountClaim: 'tenant', jwtIssuer: '', jwtAudience: '' };
		const gateway = await startGateway({ ...world.config, ...settings });
		try {
			const url = urlOfGateway(gateway);
			assert.equal((await status(url, good))[0], 200);
			assert.equal((await status(url, forged))[0], 401);
			assert.equal((await status(url, stranger))[0], 401);
			assert.equal((await status(url, await token('ann')))[0], 401);
		} finally {
			await gateway.close();
		}
	}
	server.close();
});

test('keys that cannot be fetched are no fault of the token', async () => {
	const gateway = await startGateway({ ...world.config, jwtSecret: '', jwksUrl: 'http://127.0.0.1:1/jwks' });
	try {
		const { privateKey } = await generateKeyPair('RS256');
		const jwt = await new SignJWT({ sub: 'ann', exp: inFiveMinutes() }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey);
		assert.equal((await status(urlOfGateway(gateway), jwt))[0], 503);
	} finally {
		await gateway.close();
	}
});
