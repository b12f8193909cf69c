// What devices pull and push, as RxDB's replication asks for it.  The documents are jsonb that
// PostgreSQL has written, and go out as they are.
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { ConversationParams, Timestamp, answers } from '../schemas.js';

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

const documents = { type: 'array', items: { type: 'object', description: 'see the manual on synchronization' } };

export async function syncRoutes(app: FastifyInstance): Promise<void> {
	const jsonOf = async (account: string, call: string, values: unknown[], readOnly: boolean) => {
		const rows = await app.database.query<{ json: string }>(
			account, `SELECT ${call}::text AS json`, values, { readOnly });
		return rows[0]?.json ?? 'null';
	};

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
		const { collection, checkpoint, max_documents = 100, max_bytes, since, max_conversations } = request.body;
		const json = await jsonOf(
			request.account,
			`memory.pull(account_id => $1, collection => $2, checkpoint => $3::jsonb, max_documents => $4,
				max_bytes => $5, since => $6::timestamptz, max_conversations => $7)`,
			[
				request.account, collection, checkpoint == null ? null : JSON.stringify(checkpoint), max_documents,
				max_bytes ?? null, since ?? null, max_conversations ?? null,
			],
			true,
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
		const json = await jsonOf(
			request.account,
			'memory.push(account_id => $1, collection => $2, rows => $3::jsonb)',
			[request.account, collection, JSON.stringify(rows)],
			false,
		);
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
			const { after_seq, max_documents = 1000, max_bytes } = request.query;
			const json = await jsonOf(
				request.account,
				`memory.pull_conversation(account_id => $1, conversation_id => $2::uuid, after_seq => $3,
					max_documents => $4, max_bytes => $5)`,
				[request.account, request.params.conversation_id, after_seq ?? null, max_documents, max_bytes ?? null],
				true,
			);
			return reply.type('application/json').send(json);
		},
	);
}

