// Search in the messages of the account.
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { Limit, Timestamp, Uuid, answers, integer, nullableText, object } from '../schemas.js';

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

const found = object({
	conversation_id: { type: 'string', format: 'uuid' },
	seq: integer,
	role: { type: 'string' },
	model: nullableText,
	created_at: { type: 'string', format: 'date-time' },
	title: nullableText,
	score: { type: ['number', 'null'] },
	snippet: nullableText,
	highlights: {
		type: ['array', 'null'],
		items: integer,
		description: 'pairs of where a match begins and ends, in characters (not UTF-16 units) of the snippet',
	},
});

export async function searchRoutes(app: FastifyInstance): Promise<void> {
	app.get<{ Querystring: Static<typeof SearchQuery> }>('/search', {
		schema: {
			summary: 'The messages that hold words',
			querystring: SearchQuery,
			response: answers(object({ results: { type: 'array', items: found }, next: nullableText }), 'a page'),
		},
	}, async (request, reply) => {
		const { query } = request;
		const limit = query.limit ?? 20;
		const rows = await app.database.query<{ json: string; key: string | null }>(
			request.account,
			`SELECT page_key AS key, row_to_json(r)::text AS json
			FROM memory.search(account_id => $1, query => $2, max_results => $3, conversation_id => $4::uuid,
				roles => $5, models => $6, created_from => $7::timestamptz, created_to => $8::timestamptz,
				include_archived => $9, order_by => $10, page_key => $11, per_conversation => $12,
				snippet_length => $13, all_branches => $14) s,
			LATERAL (SELECT s.conversation_id, s.seq, s.role, s.model, s.created_at, s.title, s.score, s.snippet,
				s.highlights) r`,
			[
				request.account, query.q ?? null, limit, query.conversation_id ?? null, query.role ?? null,
				query.model ?? null, query.from ?? null, query.to ?? null, query.include_archived ?? false,
				query.order_by ?? 'newest', query.after ?? null, query.per_conversation ?? null,
				query.snippet_length ?? 160, query.all_branches ?? false,
			],
			{ readOnly: true },
		);
		const next = rows.length === limit ? rows.at(-1)?.key ?? null : null;
		return reply.type('application/json').send(
			`{"results":[${rows.map((row) => row.json).join(',')}],"next":${JSON.stringify(next)}}`,
		);
	});
}
