// Reads what the generator needs from the catalog of a database with the extension.
import type pg from 'pg';

export interface CatalogColumn {
	name: string;
	type: string;
	not_null: boolean;
	comment: string | null;
}

export interface CatalogRelation {
	name: string;
	kind: string;
	comment: string | null;
	columns: CatalogColumn[];
	/** The values that a CHECK constraint lists for a column. */
	choices: Record<string, string[]>;
}

export interface CatalogArgument {
	name: string;
	type: string;
	mode: string;
	optional: boolean;
}

export interface CatalogFunction {
	name: string;
	kind: string;
	set: boolean;
	result: string;
	/** Whether the result is a composite type, and not a value. */
	composite: boolean;
	comment: string | null;
	args: CatalogArgument[];
}

export interface CatalogSetting {
	name: string;
	type: string;
	unit: string | null;
	default: string;
	min: string | null;
	max: string | null;
	values: string[] | null;
	context: string;
	comment: string;
}

export interface Catalog {
	relations: CatalogRelation[];
	functions: CatalogFunction[];
	settings: CatalogSetting[];
	/** The formats of documents that can be read, and those that can be written. */
	importFormats: string[];
	exportFormats: string[];
}

// Tables, views and composite types that belong to the extension.
const RELATIONS = `
	SELECT c.relname AS name,
		CASE c.relkind WHEN 'r' THEN 'table' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'view' END
			AS kind,
		coalesce(pg_catalog.obj_description(c.oid, 'pg_class'),
			pg_catalog.obj_description(c.reltype, 'pg_type')) AS comment,
		(SELECT json_agg(json_build_object('name', a.attname, 'type', pg_catalog.format_type(a.atttypid, NULL),
				'not_null', a.attnotnull, 'comment', pg_catalog.col_description(c.oid, a.attnum))
				ORDER BY a.attnum)
			FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
		coalesce((SELECT json_object_agg(a.attname, pg_catalog.pg_get_constraintdef(k.oid))
			FROM pg_catalog.pg_constraint k
			JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
			WHERE k.conrelid = c.oid AND k.contype = 'c' AND cardinality(k.conkey) = 1
				AND pg_catalog.pg_get_constraintdef(k.oid) ~ '^CHECK \\(\\(\\w+ = ANY '), '{}') AS choices
	FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_catalog.pg_extension e ON e.extname = 'memory_ext'
	WHERE n.nspname = 'memory' AND c.relkind IN ('r', 'f', 'v', 'c')
		AND EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.deptype = 'e' AND d.refobjid = e.oid AND d.objid IN (c.oid, c.reltype))
	ORDER BY c.relname COLLATE "C"`;

// Functions that people call: not what PostgreSQL itself calls for a type, trigger or aggregate.
const FUNCTIONS = `
	SELECT p.proname AS name,
		CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind,
		p.proretset AS set,
		pg_catalog.format_type(p.prorettype, NULL) AS result,
		t.typtype = 'c' AS composite,
		pg_catalog.obj_description(p.oid, 'pg_proc') AS comment,
		coalesce((SELECT json_agg(json_build_object(
				'name', coalesce(p.proargnames[a.place], ''),
				'type', pg_catalog.format_type(a.type, NULL),
				'mode', coalesce(p.proargmodes[a.place], 'i'),
				'optional', a.input_place > p.pronargs - p.pronargdefaults) ORDER BY a.place)
			FROM (SELECT u.type, u.place, count(*) FILTER (
						WHERE coalesce(p.proargmodes[u.place], 'i') IN ('i', 'b', 'v')) OVER (ORDER BY u.place)
						AS input_place
				FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY u(type, place)) a),
			'[]') AS args
	FROM pg_catalog.pg_proc p
	JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	JOIN pg_catalog.pg_type t ON t.oid = p.prorettype
	JOIN pg_catalog.pg_extension e ON e.extname = 'memory_ext'
	WHERE n.nspname = 'memory'
		AND EXISTS (SELECT FROM pg_catalog.pg_depend d
			WHERE d.deptype = 'e' AND d.refobjid = e.oid AND d.objid = p.oid)
		AND NOT p.prorettype = ANY ('{internal,cstring,trigger,fdw_handler}'::regtype[])
		AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
		AND NOT 'cstring'::regtype = ANY (p.proargtypes::oid[])
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_type y WHERE p.oid IN (y.typsend, y.typreceive))
	ORDER BY p.proname COLLATE "C", p.pronargs DESC,
		pg_catalog.pg_get_function_identity_arguments(p.oid) COLLATE "C"`;

const SETTINGS = `
	SELECT s.name, s.vartype AS type, s.unit, s.boot_val AS default, s.min_val AS min, s.max_val AS max,
		s.enumvals AS values, s.context, s.short_desc AS comment
	FROM pg_catalog.pg_settings s
	WHERE s.name LIKE 'memory\\_ext.%'
	ORDER BY s.name COLLATE "C"`;

export async function readCatalog(client: pg.Client): Promise<Catalog> {
	// The first use of the extension loads its library, which defines the settings.
	await client.query("SELECT memory.estimate_tokens('')");
	// Names outside pg_catalog come with their schema.
	await client.query('SET search_path = pg_catalog');
	const relations = await client.query<CatalogRelation>(RELATIONS);
	for (const relation of relations.rows)
		for (const [column, check] of Object.entries(relation.choices))
			relation.choices[column] = choicesOf(String(check));
	return {
		relations: relations.rows,
		functions: (await client.query<CatalogFunction>(FUNCTIONS)).rows,
		settings: (await client.query<CatalogSetting>(SETTINGS)).rows,
		importFormats: await formatsOf(client, "SELECT memory.convert('{}', ' ', 'native')"),
		exportFormats: await formatsOf(client, "SELECT memory.export(' ')"),
	};
}

/** The strings in `CHECK ((kind = ANY (ARRAY['flat'::text, …])))`. */
function choicesOf(check: string): string[] {
	return [...check.matchAll(/'((?:[^']|'')*)'::text/g)].map(([, text]) => (text ?? '').replace(/''/g, "'"));
}

/** The hint of the error about an unknown format lists the known ones. */
async function formatsOf(client: pg.Client, query: string): Promise<string[]> {
	try {
		await client.query(query);
	} catch (error) {
		const list = /^Formats: (.*)\.$/.exec((error as pg.DatabaseError).hint ?? '')?.[1];
		if (list !== undefined)
			return list.split(', ');
		throw error;
	}
	throw new Error(`no error from ${query}`);
}
