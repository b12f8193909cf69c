// What the tests start with: a database of their own with the extension, a role for the gateway
// that is no superuser, a gateway that listens, and tokens.
import { randomBytes, randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import pg from 'pg';
import type { FastifyInstance } from 'fastify';
import { type Config, createServer, readConfig } from '../src/index.js';

export const SECRET = randomBytes(32).toString('hex');

export interface Answer<Body> {
	status: number;
	headers: Headers;
	body: Body;
}

export interface World {
	app: FastifyInstance;
	config: Config;
	/** The superuser in the gateway's database. */
	admin: pg.Client;
	database: string;
	role: string;
	url: string;
	close(): Promise<void>;
}

export async function token(account: string, seconds = 300): Promise<string> {
	return new SignJWT({ sub: account })
		.setProtectedHeader({ alg: 'HS256' })
		.setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
		.sign(Buffer.from(SECRET));
}

/** A database and a gateway on it; settings replace the configuration's. */
export async function createWorld(settings: Partial<Config> = {}): Promise<World> {
	const database = `gateway_${process.pid}_${randomBytes(3).toString('hex')}`;
	const role = `${database}_role`;
	const cluster = new pg.Client();

	await cluster.connect();
	await cluster.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
	await cluster.query(`CREATE ROLE ${role} LOGIN`);
	const admin = new pg.Client({ database });
	await admin.connect();
	await admin.query('CREATE EXTENSION memory_ext');
	await admin.query(`SELECT memory.grant_access('${role}', 'gateway')`);

	const config = readConfig({
		port: 0,
		databaseUrl: urlOf(database, role),
		jwtSecret: SECRET,
		logLevel: process.env.TEST_LOG ?? 'silent',
		rateLimit: 0,
		...settings,
	});
	const app = await startGateway(config);
	return {
		app,
		config,
		admin,
		database,
		role,
		url: urlOfGateway(app),
		async close() {
			await app.close();
			await admin.query(`SELECT memory.revoke_access('${role}')`);
			await admin.end();
			await cluster.query(`DROP DATABASE ${database} WITH (FORCE)`);
			await cluster.query(`DROP ROLE ${role}`);
			await cluster.end();
		},
	};
}

export function urlOf(database: string, role: string): string {
	const host = encodeURIComponent(process.env.PGHOST ?? '/var/run/postgresql');

	return `postgres://${role}@/${database}?host=${host}&port=${process.env.PGPORT ?? 5432}`;
}

export async function startGateway(config: Config): Promise<FastifyInstance> {
	const app = await createServer(config);

	await app.listen({ host: config.host, port: config.port });
	return app;
}

export function urlOfGateway(app: FastifyInstance): string {
	return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

/** Calls the gateway as an account; the body is sent as JSON. */
export async function call<Body = any>(
	world: { url: string },
	account: string | null,
	method: string,
	path: string,
	body?: unknown,
	headers: Record<string, string> = {},
): Promise<Answer<Body>> {
	const response = await fetch(world.url + path, {
		method,
		headers: {
			...(account === null ? {} : { authorization: `Bearer ${await token(account)}` }),
			...(body === undefined ? {} : { 'content-type': 'application/json' }),
			...headers,
		},
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
	});
	const text = await response.text();
	const isJson = /json/.test(response.headers.get('content-type') ?? '');

	return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : text) as Body };
}

export const newId = randomUUID;
