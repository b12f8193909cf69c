import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { PROJECT, generate } from '../tools/run.js';

const source = join(PROJECT, 'clients/types/src');
let generated: Map<string, string>;

before(async () => {
	generated = await generate();
});

test('the modules are what the catalog gives', () => {
	for (const [file, text] of generated)
		assert.equal(readFileSync(join(source, file), 'utf8'), text, `${file}: run npm run generate`);
});

test('there is no module beside those generated but base', () => {
	assert.deepEqual(readdirSync(source).sort(), [...generated.keys(), 'base.ts'].sort());
});

test('comments of the catalog are TSDoc', () => {
	assert.match(
		generated.get('message.ts') ?? '',
		/\/\*\* Appends a message and returns its seq; [^\n]* \*\/\nexport const append: Call<AppendArgs, number>/,
	);
});

test('a CHECK that lists values is a union', () => {
	assert.match(generated.get('quota.ts') ?? '', /\n\tenforcement: 'hard' \| 'soft';\n/);
});
