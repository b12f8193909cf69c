// Writes src/*.ts from the catalog of the database that the environment names (PGHOST, …), in
// which it makes a temporary database with the extension.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT, generate } from './run.js';

for (const [file, text] of await generate())
	writeFileSync(join(PROJECT, 'clients/types/src', file), text);
