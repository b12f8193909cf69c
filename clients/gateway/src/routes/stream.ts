// A streaming answer, appended as it comes.  The first text makes the message, and every so often
// it gets what has come since; so other devices see it grow, and what breaks off is not lost.  The
// answer of this request is the same stream, so that an application's backend can put the gateway
// between the model and the browser.
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { append, editMessage } from '@memory-ext/types';
import type { FastifyInstance, FastifyReply } from 'fastify';
import Type, { type Static } from 'typebox';
import { readBody } from '../body.js';
import { type Delta, readDeltas } from '../delta.js';
import { ProblemError, problemOf } from '../problem.js';
import { ConversationParams, answers } from '../schemas.js';

const StreamQuery = Type.Object({
	role: Type.Optional(Type.String({ description: 'assistant unless it is given' })),
	model: Type.Optional(Type.String()),
	message_id: Type.Optional(Type.String()),
	parent_seq: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
	metadata: Type.Optional(Type.String({ description: 'a JSON object' })),
});

type Query = Static<typeof StreamQuery>;
type Metadata = Record<string, unknown>;

/** Where the metadata of a message say that it is not complete. */
const STATE = 'stream';

export async function streamRoutes(app: FastifyInstance): Promise<void> {
	app.removeAllContentTypeParsers();
	app.addContentTypeParser(['text/event-stream', 'text/plain'], (_request, payload, done) => done(null, payload));

	app.post<{ Params: Static<typeof ConversationParams>; Querystring: Query; Body: Readable }>(
		'/conversations/:conversation_id/stream',
		{
			schema: {
				summary: 'Append a streaming answer as it comes',
				description:
					'The body is the stream of a model: server-sent events of OpenAI or Anthropic, events ' +
					'`{"text": …}`, or plain text. The answer has an event `message` with the seq, an event ' +
					'`delta` for each piece, and `done` or `error` at the end. Until then the metadata of the ' +
					'message have `"stream": "open"`; `"interrupted"` if the body broke off.',
				params: ConversationParams,
				querystring: StreamQuery,
				response: answers({ type: 'string' }, 'the events', 'text/event-stream'),
			},
		},
		async (request, reply) => {
			if (request.body === undefined)
				throw new ProblemError(400, 'Bad request', 'there is no body to append');
			const isEvents = (request.headers['content-type'] ?? '').startsWith('text/event-stream');
			const answer = new Answer(app, request.account, request.params.conversation_id, request.query);
			const { maxBodyBytes, idleSeconds } = app.config;
			const body = readBody(request.body, { bytes: 16 * maxBodyBytes, idleSeconds });
			await answer.run(readDeltas(body, isEvents), reply);
			return reply;
		},
	);
}

class Answer {
	private readonly metadata: Metadata;
	private readonly where: { account_id: string; conversation_id: string };
	private content = '';
	private tokens: number | undefined;
	private stored = 0;
	private seq: number | undefined;
	/** The store that is under way; one at a time. */
	private storing: Promise<void> = Promise.resolve();
	private failure: unknown;
	private timer: NodeJS.Timeout | undefined;

	constructor(
		private readonly app: FastifyInstance,
		private readonly account: string,
		conversation: string,
		private readonly query: Query,
	) {
		this.where = { account_id: account, conversation_id: conversation };
		this.metadata = metadataOf(query.metadata);
	}

	async run(deltas: AsyncGenerator<Delta>, reply: FastifyReply): Promise<void> {
		try {
			for await (const delta of deltas) {
				await this.add(delta, reply);
				if (this.failure !== undefined)
					throw this.failure;
			}
			if (this.seq === undefined)
				throw new ProblemError(400, 'Bad value', 'the answer is empty');
			await this.finish('done');
			await send(reply, 'done', {
				seq: this.seq,
				content_bytes: Buffer.byteLength(this.content),
				...(this.tokens === undefined ? {} : { tokens: this.tokens }),
			});
			reply.raw.end();
		} catch (error) {
			await this.fail(error, reply);
		}
	}

	private async add(delta: Delta, reply: FastifyReply): Promise<void> {
		this.content += delta.text;
		this.tokens = delta.tokens ?? this.tokens;
		if (Buffer.byteLength(this.content) > this.app.config.maxBodyBytes)
			throw new ProblemError(413, 'Too large', `an answer may have ${this.app.config.maxBodyBytes} bytes`, { connection: 'close' });
		if (this.content === '')
			return;
		if (this.seq === undefined) {
			await this.begin();
			startEvents(reply);
			await send(reply, 'message', { ...this.where, seq: this.seq });
		}
		if (delta.text !== '')
			await send(reply, 'delta', { text: delta.text });
		this.timer ??= setTimeout(() => {
			this.timer = undefined;
			this.storing = this.store('open').catch((error: unknown) => {
				this.failure = error;
			});
		}, this.app.config.streamFlushMs);
	}

	private async begin(): Promise<void> {
		const { role = 'assistant', model, message_id, parent_seq } = this.query;

		this.stored = this.content.length;
		this.seq = Number(await this.app.database.callValue(this.account, append, {
			...this.where,
			role,
			content: this.content,
			model,
			message_id,
			parent_seq,
			metadata: { ...this.metadata, [STATE]: 'open' } as never,
		}));
	}

	/** What has come so far; in the end the metadata too. */
	private async store(state: 'open' | 'interrupted' | 'done'): Promise<void> {
		if (state === 'open' && this.stored === this.content.length)
			return;
		this.stored = this.content.length;
		await this.app.database.callValue(this.account, editMessage, {
			...this.where,
			seq: this.seq as number,
			content: this.content,
			...(state === 'open'
				? {}
				: { metadata: (state === 'done' ? this.metadata : { ...this.metadata, [STATE]: state }) as never }),
			...(state === 'done' && this.tokens !== undefined ? { tokens: this.tokens } : {}),
		});
	}

	private async finish(state: 'interrupted' | 'done'): Promise<void> {
		clearTimeout(this.timer);
		await this.storing;
		await this.store(state);
	}

	/** What has come is kept; the client learns what happened, if it is still there. */
	private async fail(error: unknown, reply: FastifyReply): Promise<void> {
		if (this.seq === undefined)
			throw error;
		reply.log.warn(error);
		await this.finish('interrupted').catch((second: unknown) => reply.log.error(second));
		if (!reply.raw.destroyed) {
			await send(reply, 'error', problemOf(error).problem);
			// The rest of the body, if there is any, is not waited for.
			reply.raw.end(() => reply.raw.destroy());
		}
	}
}

function metadataOf(text: string | undefined): Metadata {
	if (text === undefined)
		return {};
	try {
		const value: unknown = JSON.parse(text);
		if (typeof value === 'object' && value !== null && !Array.isArray(value))
			return value as Metadata;
	} catch {
		// refused below
	}
	throw new ProblemError(400, 'Bad value', 'metadata is no JSON object');
}

function startEvents(reply: FastifyReply): void {
	reply.hijack();
	// What other plugins have set, such as CORS, is part of the answer too.
	for (const [name, value] of Object.entries(reply.getHeaders()))
		if (value !== undefined)
			reply.raw.setHeader(name, value);
	reply.raw.writeHead(200, {
		'content-type': 'text/event-stream',
		'cache-control': 'no-store',
		'x-accel-buffering': 'no',
	});
}

/** An event; when the client reads slowly, so is the body read. */
async function send(reply: FastifyReply, event: string, data: unknown): Promise<void> {
	const { raw } = reply;

	// Who does not read any more does not keep the answer from being stored.
	if (raw.destroyed || raw.writableEnded)
		return;
	if (raw.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`))
		return;
	const over = new AbortController();
	const waits = ['drain', 'close'].map((name) => once(raw, name, { signal: over.signal }).catch(() => {}));
	await Promise.race(waits);
	over.abort();
}
