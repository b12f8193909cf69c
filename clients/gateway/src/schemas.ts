// Schemas of requests and answers.  Fastify checks requests by them, and OpenAPI shows them; those
// of rows come from the generated types.
import { type Call, type Columns, type JsonSchema, type Relation, rowSchema } from '@memory-ext/types';
import Type from 'typebox';

export const problemSchema: JsonSchema = {
	type: 'object',
	description: 'RFC 9457',
	properties: {
		type: { type: 'string' },
		title: { type: 'string' },
		status: { type: 'integer' },
		detail: { type: 'string', description: "what happened: PostgreSQL's message" },
		sqlstate: { type: 'string' },
		sql_detail: { description: "PostgreSQL's DETAIL; that of MX001 is an object" },
		hint: { type: 'string' },
		errors: {
			type: 'array',
			items: {
				type: 'object',
				properties: { path: { type: 'string' }, message: { type: 'string' } },
			},
		},
	},
	required: ['type', 'title', 'status', 'detail'],
};

const problemResponse = {
	description: 'a problem',
	content: { 'application/problem+json': { schema: problemSchema } },
};

/** The answers of a route: the one that is hoped for, and problems. */
export function answers(schema: JsonSchema, description: string, type = 'application/json'): JsonSchema {
	return {
		200: { description, content: { [type]: { schema } } },
		'4xx': problemResponse,
		'5xx': problemResponse,
	};
}

export function arrayOf(of: { columns: Columns; comment?: string }): JsonSchema {
	return { type: 'array', items: rowSchema(of) };
}

/** Some columns of a relation or of a function's rows, as they are in an answer. */
export function pick<Row>(
	relation: Relation<Row> | Call<any, Row>,
	...names: (keyof Row & string)[]
): { columns: Columns } {
	const columns: Record<string, Columns[string]> = {};

	for (const name of names) {
		const column = relation.columns[name];
		if (column !== undefined)
			columns[name] = column;
	}
	return { columns };
}

export const object = (properties: JsonSchema, required = Object.keys(properties)): JsonSchema => ({
	type: 'object',
	properties,
	required,
	additionalProperties: false,
});

export const nullableText: JsonSchema = { type: ['string', 'null'] };
export const integer: JsonSchema = { type: 'integer' };

export const Uuid = Type.String({ format: 'uuid' });
export const Seq = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const Timestamp = Type.String({ format: 'date-time' });
export const Day = Type.String({ format: 'date' });
export const Metadata = Type.Record(Type.String(), Type.Unknown());
export const Limit = Type.Integer({ minimum: 1, maximum: 1000 });

export const ConversationParams = Type.Object({ conversation_id: Uuid });
export const MessageParams = Type.Object({ conversation_id: Uuid, seq: Seq });
