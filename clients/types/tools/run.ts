// Generates the modules from a database of their own, which is dropped again.
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { readCatalog } from './catalog.js';
import { readConditions } from './manual.js';
import { writeModules } from './write.js';

export const PROJECT = fileURLToPath(new URL('../../../..', import.meta.url));

/** The text of each generated file, by its name in src/. */
export async function generate(): Promise<Map<string, string>> {
	const database = `memory_ext_types_${process.pid}`;
	const admin = new pg.Client();

	await admin.connect();
	try {
		await admin.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
		const client = new pg.Client({ database });
		await client.connect();
		try {
			await client.query('CREATE EXTENSION memory_ext');
			return writeModules(await readCatalog(client), readConditions(PROJECT));
		} finally {
			await client.end();
		}
	} finally {
		await admin.query(`DROP DATABASE IF EXISTS ${database}`);
		await admin.end();
	}
}
