// Turns the catalog into the text of the modules.
import type { Condition } from '../src/base.js';
import type { Catalog, CatalogFunction, CatalogRelation } from './catalog.js';
import { MODULES, type Module, isNeverNull, moduleOf } from './modules.js';

const HEADER = `// Made by \`npm run generate\` from the catalog of an installed extension.  Do not edit.\n`;

interface Field {
	name: string;
	type: string;
	nullable: boolean;
	comment: string | null;
	choices: string[] | undefined;
}

/** The text of each generated file, by its name in src/. */
export function writeModules(
	catalog: Catalog,
	conditions: Record<string, Condition>,
): Map<string, string> {
	const files = new Map<string, string>();
	const parts = new Map<Module, string[]>();
	const composites = new Map<string, Module>();
	const add = (module: Module, text: string) => {
		parts.set(module, [...(parts.get(module) ?? []), text]);
	};

	for (const relation of catalog.relations) {
		const module = moduleOf(relation.name);
		if (relation.kind === 'type')
			composites.set(`memory.${relation.name}`, module);
		add(module, writeRelation(relation));
	}
	for (const [fn, name] of nameFunctions(catalog.functions))
		add(moduleOf(fn.name), writeFunction(fn, name, catalog));
	add('transfer', writeFormats(catalog));

	for (const module of Object.keys(MODULES) as Module[])
		files.set(`${module}.ts`, writeModule(module, (parts.get(module) ?? []).join('\n'), composites));
	files.set('setting.ts', writeSettings(catalog));
	files.set('condition.ts', writeConditions(conditions));
	files.set('index.ts', writeIndex());
	return files;
}

function writeModule(module: Module, body: string, composites: Map<string, Module>): string {
	const uses = (word: string) => new RegExp(`\\b${word}\\b`).test(body);
	const types = ['Call', 'CalendarDay', 'JsonValue', 'Relation', 'Timestamp', 'TranscriptText', 'Uuid'].filter(uses);
	const imports = types.length === 0 ? [] : [`import type { ${types.join(', ')} } from './base.js';`];
	const others = new Map<Module, string[]>();

	for (const [type, home] of composites)
		if (home !== module && uses(`${pascal(type.slice('memory.'.length))}`))
			others.set(home, [...(others.get(home) ?? []), pascal(type.slice('memory.'.length))]);
	for (const [home, names] of [...others].sort())
		imports.push(`import type { ${names.sort().join(', ')} } from './${home}.js';`);
	return `${HEADER}\n// ${MODULES[module]}\n${imports.join('\n')}\n\n${body === '' ? 'export {};\n' : body}`;
}

function writeIndex(): string {
	const modules = ['base', ...Object.keys(MODULES), 'setting', 'condition'];

	return HEADER + modules.map((module) => `export * from './${module}.js';\n`).join('');
}

// ---------------------------------------------------------------------------------------------
// Relations and types
// ---------------------------------------------------------------------------------------------

function writeRelation(relation: CatalogRelation): string {
	const name = relation.kind === 'type' ? pascal(relation.name) : `${pascal(relation.name)}Row`;
	const fields = relation.columns.map((column) => ({
		name: column.name,
		type: column.type,
		nullable: !(column.not_null || isNeverNull(relation.name, column.name)),
		comment: column.comment,
		choices: relation.choices[column.name],
	}));
	const what = relation.kind === 'type' ? 'Type' : relation.kind === 'view' ? 'View' : 'Table';
	const comment = sentence(relation.comment) || `${what} memory.${relation.name}.`;

	return (
		`${writeInterface(name, comment, fields)}\n${doc(`${what} memory.${relation.name}.`)}` +
		`export const ${camel(relation.name)}${relation.kind === 'type' ? 'Type' : 'Relation'}: Relation<${name}> = {\n` +
		`\tname: ${quote(relation.name)},\n\tkind: ${quote(relation.kind)},\n` +
		`${writeColumns(fields)}${writeComment(relation.comment)}};\n`
	);
}

function writeInterface(name: string, comment: string, fields: Field[]): string {
	let text = `${doc(comment)}export interface ${name} {\n`;

	for (const field of fields)
		text += `${doc(sentence(field.comment), '\t')}\t${field.name}: ${fieldType(field)};\n`;
	return `${text}}\n`;
}

function fieldType(field: Field): string {
	const type = field.choices?.map(quote).join(' | ') ?? typescript(field.type);

	return field.nullable && type !== 'JsonValue' ? `${type} | null` : type;
}

function writeColumns(fields: Field[]): string {
	let text = '\tcolumns: {\n';

	for (const field of fields) {
		const comment = field.comment === null ? '' : `, comment: ${quote(field.comment)}`;
		text += `\t\t${field.name}: { type: ${quote(field.type)}, nullable: ${field.nullable}${comment} },\n`;
	}
	return `${text}\t},\n`;
}

function writeComment(comment: string | null): string {
	return comment === null ? '' : `\tcomment: ${quote(comment)},\n`;
}

// ---------------------------------------------------------------------------------------------
// Functions
// ---------------------------------------------------------------------------------------------

const isInput = (mode: string) => mode === 'i' || mode === 'b' || mode === 'v';

/** The functions with a name for each: of several, the one with most arguments keeps its own. */
function nameFunctions(functions: CatalogFunction[]): [CatalogFunction, string][] {
	const plain = new Map<string, CatalogFunction>();
	const taken = new Set<string>();

	return functions.map((fn) => {
		const first = plain.get(fn.name);
		let name = fn.name;
		if (first === undefined) {
			plain.set(fn.name, fn);
		} else {
			const known = new Set(first.args.map((argument) => argument.name));
			const own = fn.args.filter((a) => isInput(a.mode) && a.name !== '' && !known.has(a.name));
			const words = own.length > 0 ? own.map((a) => a.name) : fn.args.map((a) => typeWord(a.type));
			name = `${fn.name}_of_${words.join('_')}`;
			for (let n = 2; taken.has(name); n++)
				name = `${fn.name}_of_${words.join('_')}_${n}`;
		}
		taken.add(name);
		return [fn, name];
	});
}

function typeWord(type: string): string {
	return type.replace(/^memory\./, '').replace('[]', 's').replace(/\W+/g, '_');
}

function writeFunction(fn: CatalogFunction, name: string, catalog: Catalog): string {
	const inputs = fn.args.filter((argument) => isInput(argument.mode));
	const outputs = fn.args.filter((argument) => 'obt'.includes(argument.mode));
	const named = inputs.every((argument) => argument.name !== '');
	const args = `${pascal(name)}Args`;
	const place = (index: number) => (named ? inputs[index]?.name ?? '' : `arg${index + 1}`);
	let text = `/** The arguments of memory.${fn.name}. */\nexport interface ${args} {\n`;

	inputs.forEach((argument, index) => {
		const mark = argument.optional ? '?' : '';
		const type = typescript(argument.type);
		const value = type === 'JsonValue' ? type : `${type} | null`;
		text += `\t${place(index)}${mark}: ${value}${argument.optional ? ' | undefined' : ''};\n`;
	});
	text += '}\n\n';

	const result = resultOf(fn, name, outputs, catalog);
	text += result.declaration;
	text += `${doc(sentence(fn.comment))}export const ${variable(name)}: Call<${args}, ${result.type}> = {\n`;
	text += `\tname: ${quote(fn.name)},\n\tkind: ${quote(fn.kind)},\n\treturns: ${quote(result.returns)},\n`;
	text += `\tnamed: ${named},\n\targs: [\n`;
	inputs.forEach((argument, index) => {
		text += `\t\t{ name: ${quote(place(index))}, type: ${quote(argument.type)}, optional: ${argument.optional} },\n`;
	});
	return `${text}\t],\n${writeColumns(result.fields)}${writeComment(fn.comment)}};\n`;
}

interface Result {
	type: string;
	declaration: string;
	returns: string;
	fields: Field[];
}

function resultOf(
	fn: CatalogFunction,
	name: string,
	outputs: CatalogFunction['args'],
	catalog: Catalog,
): Result {
	const many = fn.set ? 'set of ' : '';
	const composite = catalog.relations.find((r) => `memory.${r.name}` === fn.result);

	if (fn.composite && composite !== undefined)
		return {
			type: pascal(composite.name),
			declaration: '',
			returns: fn.set ? 'set of rows' : 'row',
			fields: composite.columns.map((column) => ({
				name: column.name,
				type: column.type,
				nullable: !isNeverNull(composite.name, column.name),
				comment: column.comment,
				choices: undefined,
			})),
		};
	if (outputs.length > 1 || (outputs.length === 1 && fn.result === 'record')) {
		const type = `${pascal(name)}Result`;
		const fields = outputs.map((output) => ({
			name: output.name,
			type: output.type,
			nullable: !isNeverNull(fn.name, output.name),
			comment: null,
			choices: undefined,
		}));
		const declaration = writeInterface(type, `A row of memory.${fn.name}.`, fields);
		return { type, declaration: `${declaration}\n`, returns: fn.set ? 'set of rows' : 'row', fields };
	}
	if (fn.result === 'void' || (fn.kind === 'procedure' && outputs.length === 0))
		return { type: 'void', declaration: '', returns: 'nothing', fields: [] };

	// A comment that speaks of null says when there is none.
	const type = outputs[0]?.type ?? fn.result;
	const nullable = !fn.set && /\bnull\b/i.test(fn.comment ?? '');
	const field = { name: 'value', type, nullable, comment: null, choices: undefined };
	const returns = fn.kind === 'procedure' ? 'row' : `${many}${fn.set ? 'values' : 'value'}`;
	return { type: fieldType(field), declaration: '', returns, fields: [field] };
}

// ---------------------------------------------------------------------------------------------
// Formats, settings, conditions
// ---------------------------------------------------------------------------------------------

function writeFormats(catalog: Catalog): string {
	const list = (name: string, type: string, comment: string, values: string[]) =>
		`${doc(comment)}export const ${name} = [${values.map(quote).join(', ')}] as const;\n` +
		`export type ${type} = (typeof ${name})[number];\n`;

	return (
		list('importFormats', 'ImportFormat', 'The formats of documents that can be imported.', catalog.importFormats) +
		'\n' +
		list('exportFormats', 'ExportFormat', 'The formats of documents that can be exported.', catalog.exportFormats)
	);
}

function writeSettings(catalog: Catalog): string {
	let text = `${HEADER}\n// The settings of the extension.\nimport type { Setting } from './base.js';\n\n`;

	text += 'export const settings = {\n';
	for (const setting of catalog.settings) {
		text += `${doc(setting.comment, '\t')}\t${quote(setting.name)}: {\n\t\ttype: ${quote(setting.type)},\n`;
		for (const key of ['unit', 'default', 'min', 'max', 'context'] as const)
			if (setting[key] !== null)
				text += `\t\t${key}: ${quote(setting[key])},\n`;
		if (setting.values !== null)
			text += `\t\tvalues: [${setting.values.map(quote).join(', ')}],\n`;
		text += `\t\tcomment: ${quote(setting.comment)},\n\t},\n`;
	}
	return `${text}} as const satisfies Record<string, Setting>;\n\nexport type SettingName = keyof typeof settings;\n`;
}

function writeConditions(conditions: Record<string, Condition>): string {
	let text = `${HEADER}\n// The SQLSTATEs that the extension reports, as the manual lists them.\n`;

	text += "import type { Condition } from './base.js';\n\nexport const conditions = {\n";
	for (const state of Object.keys(conditions).sort()) {
		const { when, remedy } = conditions[state] as Condition;
		text += `${doc(`${when}.`, '\t')}\t${quote(state)}: {\n\t\twhen: ${quote(when)},\n\t\tremedy: ${quote(remedy)},\n\t},\n`;
	}
	return `${text}} as const satisfies Record<string, Condition>;\n\nexport type Sqlstate = keyof typeof conditions;\n`;
}

// ---------------------------------------------------------------------------------------------
// Words
// ---------------------------------------------------------------------------------------------

function typescript(type: string): string {
	if (type.endsWith('[]'))
		return `${typescript(type.slice(0, -2))}[]`;
	switch (type) {
		case 'boolean':
			return 'boolean';
		case 'smallint':
		case 'integer':
		case 'bigint':
		case 'numeric':
		case 'real':
		case 'double precision':
			return 'number';
		case 'uuid':
			return 'Uuid';
		case 'date':
			return 'CalendarDay';
		case 'timestamp with time zone':
			return 'Timestamp';
		case 'json':
		case 'jsonb':
			return 'JsonValue';
		case 'memory.transcript':
			return 'TranscriptText';
		default:
			return type.startsWith('memory.') ? pascal(type.slice('memory.'.length)) : 'string';
	}
}

function pascal(name: string): string {
	return name.replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function camel(name: string): string {
	return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** A function's name as a variable: one that is a word of the language gets a line behind it. */
function variable(name: string): string {
	return /^(export|import|delete|new|function|default|in|do|if|for|with|case|class)$/.test(name) ? `${name}_` : camel(name);
}

function quote(text: string): string {
	return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'").replace(/\n/g, '\\n')}'`;
}

function sentence(comment: string | null): string {
	if (comment === null || comment === '')
		return '';
	return `${comment.charAt(0).toUpperCase()}${comment.slice(1)}${comment.endsWith('.') ? '' : '.'}`;
}

/** A TSDoc comment; what TSDoc would take for a tag or an end is escaped. */
function doc(comment: string, indent = ''): string {
	return comment === '' ? '' : `${indent}/** ${comment.replace(/\*\//g, '*\\/').replace(/([@{}])/g, '\\$1')} */\n`;
}
