// Search in the messages of the account, and in the list of its conversations.
import {
	type Call, type JsonValue, type ListConversationsResult, type SearchConversationsResult,
	type SearchResult, callSql, listConversations, search, searchConversations,
} from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { ProblemError } from '../problem.js';
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

const ConversationSearchQuery = Type.Object({
	q: Type.String({ description: 'the words' }),
	limit: Type.Optional(Limit),
	after: Type.Optional(Type.String({ description: 'the `next` of the page before' })),
	include_archived: Type.Optional(Type.Boolean()),
	snippet_length: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
	all_branches: Type.Optional(Type.Boolean()),
});

const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const ListQuery = Type.Object({
	title: Type.Optional(Type.String({ description: 'words of the title' })),
	role: Type.Optional(Type.Array(Type.String(), { maxItems: 100 })),
	model: Type.Optional(Type.Array(Type.String(), { maxItems: 100 })),
	min_tokens: Type.Optional(Count),
	max_tokens: Type.Optional(Count),
	from: Type.Optional(Timestamp),
	to: Type.Optional(Timestamp),
	archived: Type.Optional(Type.Enum(['false', 'true', 'any'], { description: 'false unless it is given' })),
	metadata: Type.Optional(Type.String({ description: 'a JSON object that the metadata contain' })),
	order_by: Type.Optional(Type.Enum(['changed', 'created', 'title', 'size'])),
	limit: Type.Optional(Limit),
	after: Type.Optional(Type.String({ description: 'the `next` of the page before' })),
});

const FOUND = [
	'conversation_id', 'seq', 'role', 'model', 'created_at', 'title', 'score', 'snippet', 'highlights',
] as const satisfies (keyof SearchResult)[];

const FOUND_CONVERSATIONS = [
	'conversation_id', 'title', 'title_highlights', 'updated_at', 'message_count', 'hits', 'seq', 'role',
	'created_at', 'snippet', 'highlights',
] as const satisfies (keyof SearchConversationsResult)[];

const LISTED = [
	'conversation_id', 'title', 'metadata', 'archived', 'head_seq', 'message_count', 'token_count',
	'content_bytes', 'created_at', 'updated_at', 'revision',
] as const satisfies (keyof ListConversationsResult)[];

/** The key of the next page, which stands in every row. */
const KEY = 'page_key' satisfies keyof SearchResult & keyof SearchConversationsResult & keyof ListConversationsResult;

/** What a call whose rows carry the key of the next page gives: a page as JSON, and the key. */
async function page<Args extends object, Result>(
	app: FastifyInstance,
	account: string,
	call: Call<Args, Result>,
	args: Args,
	limit: number,
	columns: readonly (keyof Result & string)[],
): Promise<{ rows: string; next: string }> {
	const { text, values } = callSql(call, args);
	const rows = await app.database.query<{ json: string; key: string | null }>(
		account,
		`SELECT s.${KEY} AS key, row_to_json(r)::text AS json
		FROM ${text} s, LATERAL (SELECT ${columns.map((name) => `s.${name}`).join(', ')}) r`,
		values,
		{ readOnly: true },
	);

	return {
		rows: `[${rows.map((row) => row.json).join(',')}]`,
		next: JSON.stringify(rows.length === limit ? rows.at(-1)?.key ?? null : null),
	};
}

function parsedMetadata(text: string | undefined): JsonValue | undefined {
	if (text === undefined)
		return undefined;
	try {
		return JSON.parse(text) as JsonValue;
	} catch {
		throw new ProblemError(400, 'Bad value', 'metadata is no JSON');
	}
}

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
		const { rows, next } = await page(app, request.account, search, {
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
		}, limit, FOUND);
		return reply.type('application/json').send(`{"results":${rows},"next":${next}}`);
	});

	app.get<{ Querystring: Static<typeof ConversationSearchQuery> }>('/search/conversations', {
		schema: {
			summary: 'The conversations whose messages and title together hold words, last changed first',
			querystring: ConversationSearchQuery,
			response: answers(
				object({ conversations: arrayOf(pick(searchConversations, ...FOUND_CONVERSATIONS)), next: nullableText }),
				'a page; `seq` to `highlights` are of the message that holds most of the words, and null where ' +
					'only the title has some',
			),
		},
	}, async (request, reply) => {
		const { query } = request;
		const limit = query.limit ?? 20;
		const { rows, next } = await page(app, request.account, searchConversations, {
			account_id: request.account,
			query: query.q,
			max_results: limit,
			include_archived: query.include_archived,
			page_key: query.after,
			snippet_length: query.snippet_length,
			all_branches: query.all_branches,
		}, limit, FOUND_CONVERSATIONS);
		return reply.type('application/json').send(`{"conversations":${rows},"next":${next}}`);
	});

	app.get<{ Querystring: Static<typeof ListQuery> }>('/list', {
		schema: {
			summary: 'The conversations that fulfil all filters, in the order that is asked for',
			querystring: ListQuery,
			response: answers(
				object({ conversations: arrayOf(pick(listConversations, ...LISTED)), next: nullableText }),
				'a page; `next` is null on the last one',
			),
		},
	}, async (request, reply) => {
		const { query } = request;
		const limit = query.limit ?? 50;
		const { rows, next } = await page(app, request.account, listConversations, {
			account_id: request.account,
			title: query.title,
			roles: query.role,
			models: query.model,
			min_tokens: query.min_tokens,
			max_tokens: query.max_tokens,
			updated_from: query.from,
			updated_to: query.to,
			archived: query.archived === 'any' ? null : query.archived === 'true',
			metadata: parsedMetadata(query.metadata),
			order_by: query.order_by,
			max_conversations: limit,
			page_key: query.after,
		}, limit, LISTED);
		return reply.type('application/json').send(`{"conversations":${rows},"next":${next}}`);
	});
}
