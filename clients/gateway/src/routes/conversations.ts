// Conversations: list, create, read, change, delete.
import {
	type ConversationsRow, conversationsRelation, createConversation, deleteConversation,
	recentConversations, rowSchema, updateConversation,
} from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { columnsOf } from '../database.js';
import { decodeCursor, encodeCursor } from '../cursor.js';
import { ProblemError } from '../problem.js';
import { ConversationParams, Limit, Metadata, Timestamp, Uuid, answers, arrayOf, integer, nullableText, object } from '../schemas.js';

const ListQuery = Type.Object({
	limit: Type.Optional(Limit),
	after: Type.Optional(Type.String({ description: 'the `next` of the page before' })),
	include_archived: Type.Optional(Type.Boolean()),
});

const NewConversation = Type.Object({
	conversation_id: Type.Optional(Uuid),
	title: Type.Optional(Type.String()),
	metadata: Type.Optional(Metadata),
	created_at: Type.Optional(Timestamp),
}, { additionalProperties: false });

const ChangedConversation = Type.Object({
	title: Type.Optional(Type.String()),
	metadata: Type.Optional(Metadata),
	archived: Type.Optional(Type.Boolean()),
	head_seq: Type.Optional(Type.Integer({ minimum: 1 })),
}, { additionalProperties: false, minProperties: 1 });

const COLUMNS = columnsOf<ConversationsRow>(
	'conversation_id', 'account_id', 'title', 'metadata', 'archived', 'head_seq', 'created_at',
	'updated_at', 'message_count', 'token_count', 'content_bytes',
);

/** The key that the next page goes on behind. */
type Key = [revision: string, updatedAt: string, conversationId: string];

export async function conversationRoutes(app: FastifyInstance): Promise<void> {
	app.get<{ Querystring: Static<typeof ListQuery> }>('/conversations', {
		schema: {
			summary: 'The conversations of the account, last changed first',
			querystring: ListQuery,
			response: answers(
				object({ conversations: arrayOf(recentConversations), next: nullableText }),
				'a page; `next` is null on the last one',
			),
		},
	}, async (request, reply) => {
		const { limit = 50, after, include_archived = false } = request.query;
		const key = after === undefined ? [null, null, null] : decodeCursor(after, 3);
		const rows = await app.database.query<{ json: string; key: Key }>(
			request.account,
			`SELECT row_to_json(r)::text AS json,
				ARRAY[r.revision::text, r.updated_at::text, r.conversation_id::text] AS key
			FROM memory.recent_conversations($1, $2::bigint, $3::timestamptz, $4::uuid, $5, $6) r`,
			[request.account, ...key, limit, include_archived],
			{ readOnly: true },
		);
		const last = rows.length === limit ? rows.at(-1)?.key : undefined;
		return reply.type('application/json').send(
			`{"conversations":[${rows.map((row) => row.json).join(',')}],` +
				`"next":${JSON.stringify(last === undefined ? null : encodeCursor(last))}}`,
		);
	});

	app.post<{ Body: Static<typeof NewConversation> }>('/conversations', {
		schema: {
			summary: 'Make an empty conversation',
			body: NewConversation,
			response: answers(object({ conversation_id: { type: 'string', format: 'uuid' } }), 'its id'),
		},
	}, async (request, reply) => {
		const id = await app.database.callValue(request.account, createConversation, {
			account_id: request.account,
			...(request.body as object),
		});
		return reply.type('application/json').send(`{"conversation_id":${id}}`);
	});

	app.get<{ Params: Static<typeof ConversationParams> }>('/conversations/:conversation_id', {
		schema: {
			summary: 'A conversation',
			params: ConversationParams,
			response: answers(rowSchema(conversationsRelation), 'the conversation'),
		},
	}, async (request, reply) => {
		const rows = await app.database.query<{ json: string }>(
			request.account,
			`SELECT row_to_json(r)::text AS json FROM (SELECT ${COLUMNS} FROM memory.conversations
				WHERE account_id = $1 AND conversation_id = $2) r`,
			[request.account, request.params.conversation_id],
			{ readOnly: true },
		);
		if (rows[0] === undefined)
			throw new ProblemError(404, 'Not found', 'the conversation does not exist');
		return reply.type('application/json').send(rows[0].json);
	});

	const revision = answers(object({ revision: integer }), "the account's new revision");

	app.patch<{ Params: Static<typeof ConversationParams>; Body: Static<typeof ChangedConversation> }>(
		'/conversations/:conversation_id',
		{
			schema: {
				summary: 'Change title, metadata, archived or head_seq',
				params: ConversationParams,
				body: ChangedConversation,
				response: revision,
			},
		},
		async (request, reply) => {
			const value = await app.database.callValue(request.account, updateConversation, {
				account_id: request.account,
				conversation_id: request.params.conversation_id,
				...(request.body as object),
			});
			return reply.type('application/json').send(`{"revision":${value}}`);
		},
	);

	app.delete<{ Params: Static<typeof ConversationParams> }>('/conversations/:conversation_id', {
		schema: {
			summary: 'Delete a conversation with its messages',
			params: ConversationParams,
			response: revision,
		},
	}, async (request, reply) => {
		const value = await app.database.callValue(request.account, deleteConversation, {
			account_id: request.account,
			conversation_id: request.params.conversation_id,
		});
		return reply.type('application/json').send(`{"revision":${value}}`);
	});
}
