// Search in the messages of the account.
import { type SearchResult, callSql, search } from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { Limit, Timestamp, Uuid, answers, arrayOf, nullableText, object, pick } from '../schemas.js';

const SearchQuery = Type.Object({
	q: Type.Optional(Type.String({ description: 'the words; none: all messages that the filters let through' })),
	limit: Type.Optional(Limit),
	after: Type.Optional(Type.String({ description: 'the `next` of the page before' })),
	conversation_id: Type.Optional(Uuid),
	role: Type.Optional(Type.Array(Type.String(), { maxItems: 100 })),
	model: Type.Optional(Type.Array(Type.String(), { maxItems: 100 })),
	from: Type.Optional(Timestamp),
	to: Type.Optional(Timestamp),
	include_archived: Type.Optional(Type.Boolean()),
	order_by: Type.Optional(Type.Enum(['newest', 'relevance'])),
	per_conversation: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
	snippet_length: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
	all_branches: Type.Optional(Type.Boolean()),
});

const FOUND = [
	'conversation_id', 'seq', 'role', 'model', 'created_at', 'title', 'score', 'snippet', 'highlights',
] as const satisfies (keyof SearchResult)[];

/** The key of the next page, which stands in every row. */
const KEY: keyof SearchResult = 'page_key';

export async function searchRoutes(app: FastifyInstance): Promise<void> {
	app.get<{ Querystring: Static<typeof SearchQuery> }>('/search', {
		schema: {
			summary: 'The messages that hold words',
			querystring: SearchQuery,
			response: answers(
				object({ results: arrayOf(pick(search, ...FOUND)), next: nullableText }),
				'a page; highlights are pairs of where a match begins and ends, in characters of the snippet ' +
					'(which are not always UTF-16 units)',
			),
		},
	}, async (request, reply) => {
		const { query } = request;
		const limit = query.limit ?? 20;
		const { text, values } = callSql(search, {
			account_id: request.account,
			query: query.q,
			max_results: limit,
			conversation_id: query.conversation_id,
			roles: query.role,
			models: query.model,
			created_from: query.from,
			created_to: query.to,
			include_archived: query.include_archived,
			order_by: query.order_by,
			page_key: query.after,
			per_conversation: query.per_conversation,
			snippet_length: query.snippet_length,
			all_branches: query.all_branches,
		});
		const rows = await app.database.query<{ json: string; key: string | null }>(
			request.account,
			`SELECT s.${KEY} AS key, row_to_json(r)::text AS json
			FROM ${text} s, LATERAL (SELECT ${FOUND.map((name) => `s.${name}`).join(', ')}) r`,
			values,
			{ readOnly: true },
		);
		const next = rows.length === limit ? rows.at(-1)?.key ?? null : null;
		return reply.type('application/json').send(
			`{"results":[${rows.map((row) => row.json).join(',')}],"next":${JSON.stringify(next)}}`,
		);
	});
}
