// What devices pull and push, as RxDB's replication asks for it.  The documents are jsonb that
// PostgreSQL has written, and go out as they are.
import { type JsonValue, changes, pull, pullConversation, push } from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { ConversationParams, Limit, Timestamp, answers, arrayOf, object } from '../schemas.js';

const Collection = Type.Enum(['conversations', 'messages']);
const MaxDocuments = Type.Integer({ minimum: 1, maximum: 10_000 });
const MaxBytes = Type.Integer({ minimum: 1, maximum: 134_217_728 });

const Pull = Type.Object({
	collection: Collection,
	checkpoint: Type.Optional(Type.Unknown({ description: 'that of the page before; null or none: from the beginning' })),
	max_documents: Type.Optional(MaxDocuments),
	max_bytes: Type.Optional(MaxBytes),
	since: Type.Optional(Timestamp),
	max_conversations: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 })),
}, { additionalProperties: false });

const PullConversation = Type.Object({
	after_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
	max_documents: Type.Optional(MaxDocuments),
	max_bytes: Type.Optional(MaxBytes),
});

const Push = Type.Object({
	collection: Collection,
	rows: Type.Array(Type.Object({
		assumedMasterState: Type.Optional(Type.Unknown()),
		newDocumentState: Type.Unknown(),
	}), { maxItems: 10_000 }),
}, { additionalProperties: false });

const ChangesQuery = Type.Object({
	after_revision: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
	limit: Type.Optional(Limit),
});

const documents = { type: 'array', items: { type: 'object', description: 'see the manual on synchronization' } };

export async function syncRoutes(app: FastifyInstance): Promise<void> {
	app.post<{ Body: Static<typeof Pull> }>('/pull', {
		schema: {
			summary: 'The documents that have changed since a checkpoint',
			body: Pull,
			response: answers(
				{ type: 'object', properties: { documents, checkpoint: {} }, required: ['documents', 'checkpoint'] },
				'a page; a short one is the last',
			),
		},
	}, async (request, reply) => {
		const { checkpoint, ...options } = request.body;
		const json = await app.database.callValue(
			request.account,
			pull,
			{ account_id: request.account, checkpoint: (checkpoint ?? null) as JsonValue, ...options },
			{ readOnly: true },
		);
		return reply.type('application/json').send(json);
	});

	app.post<{ Body: Static<typeof Push> }>('/push', {
		schema: {
			summary: 'Store the documents that a device has changed',
			body: Push,
			response: answers({ type: 'object' }, 'the stored documents of those in conflict, and what was refused'),
		},
	}, async (request, reply) => {
		const { collection, rows } = request.body;
		const json = await app.database.callValue(request.account, push, {
			account_id: request.account,
			collection,
			rows: rows as JsonValue,
		});
		return reply.type('application/json').send(json);
	});

	app.get<{ Params: Static<typeof ConversationParams>; Querystring: Static<typeof PullConversation> }>(
		'/conversations/:conversation_id/documents',
		{
			schema: {
				summary: 'The documents of one conversation, for a device that has not pulled it',
				params: ConversationParams,
				querystring: PullConversation,
				response: answers({ type: 'object' }, 'the documents of the conversation and of its messages'),
			},
		},
		async (request, reply) => {
			const json = await app.database.callValue(
				request.account,
				pullConversation,
				{ account_id: request.account, ...request.params, ...request.query },
				{ readOnly: true },
			);
			return reply.type('application/json').send(json);
		},
	);

	app.get<{ Querystring: Static<typeof ChangesQuery> }>('/changes', {
		schema: {
			summary: 'The conversations that were changed or deleted after a revision',
			querystring: ChangesQuery,
			response: answers(
				object({ changes: arrayOf(changes) }),
				"in order of revision; the last one's revision goes on from there",
			),
		},
	}, async (request, reply) => {
		const json = await app.database.callRows(request.account, changes, {
			account_id: request.account,
			after_revision: request.query.after_revision,
			max_rows: request.query.limit,
		});
		return reply.type('application/json').send(`{"changes":${json}}`);
	});
}
