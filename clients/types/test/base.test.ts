import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import * as memory from '../src/index.js';
import { callSql, rowSchema } from '../src/base.js';

test('a call leaves out what is undefined and gives null as NULL', () => {
	assert.deepEqual(
		callSql(memory.append, { account_id: null, conversation_id: 'c', role: 'user', content: 'x', metadata: { a: 1 } }, 3),
		{
			text:
				'memory.append("account_id" => $3::text, "conversation_id" => $4::uuid, "role" => $5::text, ' +
				'"content" => $6::text, "metadata" => $7::jsonb)',
			values: [null, 'c', 'user', 'x', '{"a":1}'],
		},
	);
});

test('a required argument that is missing is an error', () => {
	assert.throws(() => callSql(memory.history, {} as memory.HistoryArgs), /history: argument account_id is missing/);
});

test('every description names something that the server has', async () => {
	const admin = new pg.Client();
	const database = `memory_ext_base_${process.pid}`;
	await admin.connect();
	await admin.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
	const client = new pg.Client({ database });
	await client.connect();
	try {
		await client.query('CREATE EXTENSION memory_ext');
		for (const item of Object.values(memory)) {
			if (typeof item !== 'object' || !('columns' in item))
				continue;
			if ('args' in item) {
				const args = Object.fromEntries(item.args.map((argument) => [argument.name, null]));
				const sql = callSql(item, args);
				// Parsed and planned, and not run.  PREPARE takes no CALL.
				if (item.kind === 'function')
					await client.query(`PREPARE p AS SELECT * FROM ${sql.text}; DEALLOCATE p`);
			} else if (item.kind !== 'type') {
				await client.query(`SELECT ${Object.keys(item.columns).join(', ')} FROM memory.${item.name} LIMIT 0`);
			}
		}
	} finally {
		await client.end();
		await admin.query(`DROP DATABASE ${database}`);
		await admin.end();
	}
});

test('a schema names every column, and null where it may be', () => {
	const schema = rowSchema(memory.messageType) as { properties: Record<string, object>; required: string[] };
	assert.deepEqual(schema.required.slice(0, 3), ['seq', 'parent_seq', 'role']);
	assert.deepEqual(schema.properties.seq, { type: 'integer' });
	assert.deepEqual(schema.properties.model, { type: ['string', 'null'] });
});
