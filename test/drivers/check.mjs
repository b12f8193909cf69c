// What the programs of JavaScript share: each check is a line "library, check, result, note".
import { strict as assert } from 'node:assert';
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';

export { assert, randomUUID };

export const host = process.env.PGHOST;
export const port = Number(process.env.PGPORT);
export const user = process.env.PGUSER;
export const database = process.env.PGDATABASE;
// for what takes nothing but an address
export const url = `postgresql://${user}@127.0.0.1:${port}/${database}`;

export function version(name)
{
	return createRequire(import.meta.url)(`./node_modules/${name}/package.json`).version;
}

function print(library, check, result, note)
{
	const text = String(note ?? '').replace(/\s+/g, ' ').trim();

	console.log([library, check, result, text].join('\t'));
}

// suite(library): a function that runs a check.  What the check returns is the note.
export function suite(library)
{
	return async (name, run) => {
		try
		{
			const note = await run();

			print(library, name, note ? 'note' : 'works', note);
		}
		catch (error)
		{
			const cause = error.cause ?? error;
			print(library, name, 'FAILS', `${cause.code ?? cause.name} ${cause.message}`);
			if (process.env.TRACE)
				console.error(error);
		}
	};
}

// sqlstate(promise): the SQLSTATE with which it fails, wherever the library keeps it.
export async function sqlstate(promise)
{
	try
	{
		await promise;
	}
	catch (error)
	{
		for (let e = error; e; e = e.cause ?? e.original ?? e.driverError)
		{
			const code = e.meta?.code ?? e.originalCode ?? e.code;

			if (/^[0-9A-Z]{5}$/.test(code ?? ''))
				return code;
		}
		throw error;
	}
	throw new Error('did not fail');
}

// conflicts(promise): asserts that a conflict target is refused, and says so.
export async function conflicts(promise)
{
	assert.equal(await sqlstate(promise), '42P10');
	return 'a target: 42P10';
}

export const messages = (account_id, conversation_id, count) => Array.from({ length: count }, (_, i) => ({
	account_id, conversation_id, seq: i + 1, role: i % 2 ? 'assistant' : 'user', content: `message ${i + 1}`
}));
