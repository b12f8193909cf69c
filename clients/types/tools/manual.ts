// The table of errors is in the manual and not in the catalog.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Condition } from '../src/base.js';

/** The conditions by SQLSTATE, from the table `| SQLSTATE | when | what to do |` of the manual. */
export function readConditions(project: string): Record<string, Condition> {
	const conditions: Record<string, Condition> = {};
	const doc = join(project, 'doc');
	const pages = existsSync(doc) ? readdirSync(doc).sort().map((page) => join(doc, page)) : [];

	for (const page of [join(project, 'README.md'), ...pages]) {
		if (!page.endsWith('.md'))
			continue;
		let inTable = false;
		for (const line of readFileSync(page, 'utf8').split('\n')) {
			if (/^\|\s*SQLSTATE\s*\|\s*when\s*\|/.test(line))
				inTable = true;
			else if (!line.startsWith('|'))
				inTable = false;
			else if (inTable && !/^\|[\s:-]+\|/.test(line)) {
				const [, states, when, remedy] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
				for (const state of (states ?? '').matchAll(/\b[0-9A-Z]{5}\b/g))
					conditions[state[0]] = { when: plain(when ?? ''), remedy: plain(remedy ?? '') };
			}
		}
	}
	if (Object.keys(conditions).length === 0)
		throw new Error('the manual has no table of errors');
	return conditions;
}

/** Without Markdown's links. */
function plain(text: string): string {
	return text.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/\\\|/g, '|');
}
