// The gateway's routes for devices.
import type { AnyDocument, Collection } from './documents.js';

/** An answer that is no success, or none at all. */
export class GatewayError extends Error {
	constructor(
		message: string,
		/** 0: there was no answer. */
		readonly status: number,
		readonly sqlstate?: string,
		/** When to try again, in milliseconds, where the gateway says so. */
		readonly retryAfterMs?: number,
	) {
		super(message);
	}

	/** Whether the same request would be refused again. */
	get isFinal(): boolean {
		return (
			this.status >= 400 &&
			this.status < 500 &&
			![401, 408, 410, 425, 429].includes(this.status)
		);
	}
}

/** Where a pull goes on; only the server looks into it. */
export type Checkpoint = unknown;

export interface Page {
	documents: AnyDocument[];
	checkpoint: Checkpoint;
	more: boolean;
}

export interface PushRow {
	assumedMasterState?: AnyDocument;
	newDocumentState: AnyDocument;
}

export interface Refusal {
	row: number;
	id: string | null;
	sqlstate: string;
	message: string;
	detail?: unknown;
	hint?: string | null;
}

export interface PushAnswer {
	conflicts: AnyDocument[];
	refusals: Refusal[];
	stored: AnyDocument[];
}

export interface ConversationPage {
	conversations: AnyDocument[];
	messages: AnyDocument[];
	after_seq: number | null;
}

/** Gives a bearer token; `renew` is true when the last one was refused. */
export type GetToken = (renew: boolean) => string | Promise<string>;

export interface PullLimits {
	maxDocuments: number;
	/** Only conversations that were changed since this time. */
	since?: string;
	/** Only the newest so many conversations. */
	maxConversations?: number;
}

export class Gateway {
	constructor(
		readonly url: string,
		private readonly getToken: GetToken,
		private readonly send: typeof fetch,
		private readonly timeoutMs: number,
	) {}

	async token(renew: boolean): Promise<string> {
		return this.getToken(renew);
	}

	async pull(
		collection: Collection,
		checkpoint: Checkpoint,
		limits: PullLimits,
		signal: AbortSignal,
	): Promise<Page> {
		return this.call('/v1/pull', signal, {
			collection,
			checkpoint: checkpoint ?? null,
			max_documents: limits.maxDocuments,
			...(limits.since === undefined ? {} : { since: limits.since }),
			...(limits.maxConversations === undefined
				? {}
				: { max_conversations: limits.maxConversations }),
		});
	}

	async push(collection: Collection, rows: PushRow[], signal: AbortSignal): Promise<PushAnswer> {
		return this.call('/v1/push', signal, { collection, rows });
	}

	async conversation(
		id: string,
		afterSeq: number,
		maxDocuments: number,
		signal: AbortSignal,
	): Promise<ConversationPage> {
		return this.call(
			`/v1/conversations/${id}/documents?after_seq=${afterSeq}&max_documents=${maxDocuments}`,
			signal,
		);
	}

	private async call<Answer>(path: string, signal: AbortSignal, body?: object): Promise<Answer> {
		let response = await this.request(path, signal, body, await this.token(false));

		if (response.status === 401)
			response = await this.request(path, signal, body, await this.token(true));
		if (!response.ok)
			throw await problemOf(response);
		try {
			return (await response.json()) as Answer;
		} catch {
			throw new GatewayError('the answer was cut off', 0);
		}
	}

	private async request(
		path: string,
		signal: AbortSignal,
		body: object | undefined,
		token: string,
	): Promise<Response> {
		try {
			return await this.send(this.url + path, {
				method: body === undefined ? 'GET' : 'POST',
				headers: {
					authorization: `Bearer ${token}`,
					...(body === undefined ? {} : { 'content-type': 'application/json' }),
				},
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
				signal: AbortSignal.any([signal, AbortSignal.timeout(this.timeoutMs)]),
				cache: 'no-store',
				credentials: 'omit',
			});
		} catch (error) {
			throw new GatewayError((error as Error).message, 0);
		}
	}
}

async function problemOf(response: Response): Promise<GatewayError> {
	const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
	let problem: { detail?: string; title?: string; sqlstate?: string } = {};

	try {
		problem = (await response.json()) as typeof problem;
	} catch {
		// a proxy's page: the status says enough
	}
	return new GatewayError(
		problem.detail ?? problem.title ?? `status ${response.status}`,
		response.status,
		problem.sqlstate,
		Number.isFinite(seconds) ? Math.min(seconds, 3600) * 1000 : undefined,
	);
}
