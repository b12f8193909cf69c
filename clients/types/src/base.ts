// What the generated modules are made of.  Nothing here talks to a database: a Call or a Relation
// describes, and callSql and rowSchema turn the description into SQL or into a JSON schema.
//
// All types are those of the JSON form that PostgreSQL's to_json gives: bigint and numeric are
// numbers, uuid, date and timestamptz are strings (ISO 8601), jsonb is any JSON value.

export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** A uuid, as text. */
export type Uuid = string;
/** A point in time, ISO 8601 with its offset from UTC. */
export type Timestamp = string;
/** A calendar day, YYYY-MM-DD. */
export type CalendarDay = string;
/** memory.transcript in its text form, a JSON array of messages. */
export type TranscriptText = string;

/** A column of a relation, of a composite type, or of a function's result. */
export interface Column {
	/** The name of its SQL type. */
	readonly type: string;
	readonly nullable: boolean;
	readonly comment?: string;
}

export type Columns = { readonly [name: string]: Column };

/** A table or view of schema memory, or a composite type; Row is its row in JSON. */
export interface Relation<Row> {
	readonly name: string;
	readonly kind: 'table' | 'foreign table' | 'view' | 'type';
	readonly columns: Columns;
	readonly comment?: string;
	/** Never set: carries the type. */
	readonly row?: Row;
}

export interface Argument {
	readonly name: string;
	/** The name of its SQL type. */
	readonly type: string;
	/** Whether the function has a default for it. */
	readonly optional: boolean;
}

/**
 * A function or procedure of schema memory.  Args are its arguments by name, Result is what a call
 * gives: one value or, for a set, one row of it.
 */
export interface Call<Args, Result> {
	readonly name: string;
	readonly kind: 'function' | 'procedure' | 'aggregate';
	readonly returns: 'value' | 'row' | 'set of values' | 'set of rows' | 'nothing';
	/** Whether the arguments have names in SQL; otherwise they are given in order. */
	readonly named: boolean;
	readonly args: readonly Argument[];
	/** Of a row, or of a value the one column `value`. */
	readonly columns: Columns;
	readonly comment?: string;
	/** Never set: carries the types. */
	readonly types?: { args: Args; result: Result };
}

/** A setting of the extension. */
export interface Setting {
	readonly type: string;
	readonly unit?: string;
	readonly default: string;
	readonly min?: string;
	readonly max?: string;
	readonly values?: readonly string[];
	/** Who may change it: user, superuser, sighup or postmaster. */
	readonly context: string;
	readonly comment: string;
}

/** A condition that the extension reports. */
export interface Condition {
	readonly when: string;
	readonly remedy: string;
}

/** An SQL expression with its parameters. */
export interface Sql {
	readonly text: string;
	readonly values: unknown[];
}

/**
 * The call as SQL, `memory.history("account_id" => $1::text, …)`, with parameters from `$first` on.
 * Arguments that are undefined are left to their defaults; null is given as NULL.
 */
export function callSql<Args extends object>(
	call: Call<Args, unknown>,
	args: Args,
	first = 1,
): Sql {
	const given = args as Record<string, unknown>;
	const values: unknown[] = [];
	const list: string[] = [];

	for (const argument of call.args) {
		const value = given[argument.name];
		if (value === undefined) {
			if (!argument.optional)
				throw new TypeError(`memory.${call.name}: argument ${argument.name} is missing`);
			continue;
		}
		const parameter = `$${first + values.length}::${argument.type}`;
		list.push(call.named ? `"${argument.name}" => ${parameter}` : parameter);
		values.push(isJson(argument.type) && value !== null ? JSON.stringify(value) : value);
	}
	return { text: `memory.${call.name}(${list.join(', ')})`, values };
}

function isJson(type: string): boolean {
	return type === 'jsonb' || type === 'json';
}

/** A JSON schema, as OpenAPI 3.1 takes it. */
export type JsonSchema = { [key: string]: unknown };

/** The JSON schema of a row. */
export function rowSchema(of: { columns: Columns; comment?: string }): JsonSchema {
	const properties: JsonSchema = {};

	for (const [name, column] of Object.entries(of.columns))
		properties[name] = columnSchema(column);
	return {
		type: 'object',
		...(of.comment === undefined ? {} : { description: of.comment }),
		properties,
		required: Object.keys(of.columns),
		additionalProperties: false,
	};
}

/** The JSON schema of a value. */
export function columnSchema(column: Column): JsonSchema {
	const schema = typeSchema(column.type);

	if (column.nullable && typeof schema.type === 'string')
		schema.type = [schema.type, 'null'];
	if (column.comment !== undefined)
		schema.description = column.comment;
	return schema;
}

function typeSchema(type: string): JsonSchema {
	if (type.endsWith('[]'))
		return { type: 'array', items: typeSchema(type.slice(0, -2)) };
	switch (type) {
		case 'boolean':
			return { type: 'boolean' };
		case 'smallint':
		case 'integer':
		case 'bigint':
			return { type: 'integer' };
		case 'numeric':
		case 'real':
		case 'double precision':
			return { type: 'number' };
		case 'uuid':
			return { type: 'string', format: 'uuid' };
		case 'date':
			return { type: 'string', format: 'date' };
		case 'timestamp with time zone':
			return { type: 'string', format: 'date-time' };
		case 'json':
		case 'jsonb':
			return {};
		default:
			return { type: 'string' };
	}
}
