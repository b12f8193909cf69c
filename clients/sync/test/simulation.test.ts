// The simulation of test/sync with this package in place of the reference client: devices that
// replicate accounts while services write to them and the network fails.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const folder = fileURLToPath(new URL('./simulation/', import.meta.url));
const original = fileURLToPath(new URL('../../../../test/sync/simulate.mjs', import.meta.url));
const SEEDS = Number(process.env.SEEDS ?? 6);
const FIRST = Number(process.env.FIRST ?? 1);

const database = `simulation_${process.pid}_${randomBytes(3).toString('hex')}`;
const cluster = new pg.Client();

before(async () => {
	await cluster.connect();
	await cluster.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
	const admin = new pg.Client({ database });
	await admin.connect();
	await admin.query('CREATE EXTENSION memory_ext');
	await admin.query(`ALTER DATABASE ${database} SET memory_ext.notify = 'transaction'`);
	await admin.query(`INSERT INTO memory.plans (plan_id, title, price) VALUES ('tight', 'Tight', 0), ('unlimited', 'Unlimited', 0);
		INSERT INTO memory.plan_limits (plan_id, meter, period, limit_value) VALUES ('tight', 'messages', 'lifetime', 40)`);
	await admin.end();
	mkdirSync(folder, { recursive: true });
	copyFileSync(original, `${folder}/simulate.mjs`);
	writeFileSync(`${folder}/device.mjs`, "export * from '../device.js';\n");
});
after(async () => {
	await cluster.query(`DROP DATABASE ${database} WITH (FORCE)`);
	await cluster.end();
});

async function simulate(...args: string[]): Promise<{ status: number; output: string }> {
	const child = spawn(process.execPath, [`${folder}/simulate.mjs`, ...args], {
		env: { ...process.env, PGDATABASE: database },
	});
	let output = '';

	child.stdout.on('data', (data) => {
		output += data;
	});
	child.stderr.on('data', (data) => {
		output += data;
	});
	return new Promise((resolve) =>
		child.on('close', (status) => resolve({ status: status ?? -1, output })),
	);
}

test(`${SEEDS} accounts end the same everywhere, and nothing is lost`, async (t) => {
	const { status, output } = await simulate(String(FIRST), String(SEEDS));

	t.diagnostic(output);
	assert.equal(status, 0, output);
	assert.equal(output.match(/^ok /gm)?.length, SEEDS);
});
