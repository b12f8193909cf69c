// Messages: append, history, context, one message, edit, delete.
import {
	type MessagesRow, append, appendOfMessages, context, deleteMessage, editMessage, history, message,
	messagesRelation, rowSchema,
} from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { columnsOf } from '../database.js';
import { ConversationParams, Limit, MessageParams, Metadata, Seq, Timestamp, answers, arrayOf, integer, object, pick } from '../schemas.js';

const NewMessage = Type.Object({
	role: Type.String(),
	content: Type.String(),
	model: Type.Optional(Type.String()),
	tokens: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
	metadata: Type.Optional(Metadata),
	message_id: Type.Optional(Type.String()),
	parent_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
	created_at: Type.Optional(Timestamp),
}, { additionalProperties: false });

const NewMessages = Type.Object({
	messages: Type.Array(NewMessage, { minItems: 1, maxItems: 10_000 }),
}, { additionalProperties: false });

const EditedMessage = Type.Object({
	content: Type.Optional(Type.String()),
	role: Type.Optional(Type.String()),
	model: Type.Optional(Type.String()),
	tokens: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
	metadata: Type.Optional(Metadata),
}, { additionalProperties: false, minProperties: 1 });

const HistoryQuery = Type.Object({
	before_seq: Type.Optional(Seq),
	limit: Type.Optional(Limit),
});

const BranchesQuery = Type.Object({
	after_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
	limit: Type.Optional(Limit),
});

const ContextQuery = Type.Object({
	max_tokens: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })),
	max_messages: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
	include_system: Type.Optional(Type.Boolean()),
});

const BRANCHES = [
	'seq', 'parent_seq', 'role', 'content', 'model', 'tokens', 'created_at', 'message_id', 'metadata',
] as const satisfies (keyof MessagesRow)[];

export async function messageRoutes(app: FastifyInstance): Promise<void> {
	type Conversation = { Params: Static<typeof ConversationParams> };
	type Message = { Params: Static<typeof MessageParams> };

	app.post<Conversation & { Body: Static<typeof NewMessage> | Static<typeof NewMessages> }>(
		'/conversations/:conversation_id/messages',
		{
			schema: {
				summary: 'Append a message, or several as one statement',
				description: 'With a `message_id` it can be repeated: sent twice, it is stored once.',
				params: ConversationParams,
				body: Type.Union([NewMessage, NewMessages]),
				response: answers(object({ seqs: { type: 'array', items: integer } }), 'the numbers of the messages'),
			},
		},
		async (request, reply) => {
			const { body, account } = request;
			const where = { account_id: account, conversation_id: request.params.conversation_id };
			const seqs = 'messages' in body
				? await app.database.callValue(account, appendOfMessages, {
					...where,
					messages: body.messages as never,
				})
				: `[${await app.database.callValue(account, append, { ...where, ...(body as typeof body & object) } as never)}]`;
			return reply.type('application/json').send(`{"seqs":${seqs}}`);
		},
	);

	app.get<Conversation & { Querystring: Static<typeof HistoryQuery> }>(
		'/conversations/:conversation_id/messages',
		{
			schema: {
				summary: 'The newest messages of the current branch, oldest first',
				params: ConversationParams,
				querystring: HistoryQuery,
				response: answers(object({ messages: arrayOf(history) }), 'the messages'),
			},
		},
		async (request, reply) => {
			const json = await app.database.callRows(request.account, history, {
				account_id: request.account,
				conversation_id: request.params.conversation_id,
				before_seq: request.query.before_seq,
				max_messages: request.query.limit ?? 50,
			});
			return reply.type('application/json').send(`{"messages":${json}}`);
		},
	);

	app.get<Conversation & { Querystring: Static<typeof BranchesQuery> }>(
		'/conversations/:conversation_id/branches',
		{
			schema: {
				summary: 'The messages of all branches in order of seq',
				params: ConversationParams,
				querystring: BranchesQuery,
				response: answers(object({ messages: arrayOf(pick(messagesRelation, ...BRANCHES)) }), 'the messages'),
			},
		},
		async (request, reply) => {
			const json = await app.database.rows(
				request.account,
				`SELECT ${columnsOf<MessagesRow>(...BRANCHES)} FROM memory.messages
				WHERE account_id = $1 AND conversation_id = $2 AND seq > $3 ORDER BY seq LIMIT $4`,
				[request.account, request.params.conversation_id, request.query.after_seq ?? 0, request.query.limit ?? 200],
			);
			return reply.type('application/json').send(`{"messages":${json}}`);
		},
	);

	app.get<Conversation & { Querystring: Static<typeof ContextQuery> }>(
		'/conversations/:conversation_id/context',
		{
			schema: {
				summary: 'The context window for a model',
				params: ConversationParams,
				querystring: ContextQuery,
				response: answers(object({ messages: arrayOf(context) }), 'the messages, oldest first'),
			},
		},
		async (request, reply) => {
			const json = await app.database.callRows(request.account, context, {
				account_id: request.account,
				conversation_id: request.params.conversation_id,
				max_tokens: request.query.max_tokens ?? null,
				max_messages: request.query.max_messages,
				include_system: request.query.include_system,
			});
			return reply.type('application/json').send(`{"messages":${json}}`);
		},
	);

	app.get<Message>('/conversations/:conversation_id/messages/:seq', {
		schema: {
			summary: 'One message, of any branch',
			params: MessageParams,
			response: answers(rowSchema(message), 'the message'),
		},
	}, async (request, reply) => {
		const json = await app.database.callValue(
			request.account,
			message,
			{ account_id: request.account, ...request.params },
			{ readOnly: true },
		);
		return reply.type('application/json').send(json);
	});

	const revision = answers(object({ revision: integer }), "the account's new revision");

	app.patch<Message & { Body: Static<typeof EditedMessage> }>('/conversations/:conversation_id/messages/:seq', {
		schema: { summary: 'Edit a message', params: MessageParams, body: EditedMessage, response: revision },
	}, async (request, reply) => {
		const value = await app.database.callValue(request.account, editMessage, {
			account_id: request.account,
			...request.params,
			...(request.body as object),
		});
		return reply.type('application/json').send(`{"revision":${value}}`);
	});

	app.delete<Message>('/conversations/:conversation_id/messages/:seq', {
		schema: { summary: 'Delete a message', params: MessageParams, response: revision },
	}, async (request, reply) => {
		const value = await app.database.callValue(request.account, deleteMessage, {
			account_id: request.account,
			...request.params,
		});
		return reply.type('application/json').send(`{"revision":${value}}`);
	});
}
