// A device of the simulation in test/sync, with this package in place of the reference client: it
// has the interface that simulate.mjs uses, which is RxDB's, over a Memory.
import 'fake-indexeddb/auto';
import { randomUUID } from 'node:crypto';
import { canonical } from '../src/documents.js';
import { type Conversation, Memory, type Message } from '../src/index.js';

export { canonical };
export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** What simulate.mjs gives a device. */
interface World {
	account: string;
	batch: number;
	faults: { request: number; answer: number; delay: number };
	random(): number;
	pull(collection: string, checkpoint: unknown, size: number): Promise<unknown>;
	push(collection: string, rows: unknown[]): Promise<Answer>;
	acknowledged(collection: string, document: object): void;
}

interface Answer {
	conflicts: { id: string }[];
	refusals: { row: number; sqlstate: string }[];
}

type Fields = Record<string, unknown>;

/** A document as RxDB shows it. */
abstract class Shown {
	constructor(
		protected readonly device: Device,
		fields: object,
	) {
		Object.assign(this, fields);
	}

	abstract incrementalPatch(changes: Fields): Promise<void>;
	abstract incrementalRemove(): Promise<void>;

	async incrementalModify(modify: (document: Fields) => Fields): Promise<void> {
		await this.incrementalPatch(modify({ ...(this as object) }));
	}
}

class ShownConversation extends Shown {
	declare id: string;

	async incrementalPatch(changes: Fields): Promise<void> {
		await this.device.tolerant((memory) => memory.update(this.id, changes));
	}

	async incrementalRemove(): Promise<void> {
		await this.device.memory.delete(this.id);
	}
}

class ShownMessage extends Shown {
	declare id: string;
	declare conversation_id: string;

	async incrementalPatch({ content }: Fields): Promise<void> {
		await this.device.tolerant((memory) =>
			memory.edit(this.conversation_id, this.id, { content: content as string }),
		);
	}

	async incrementalRemove(): Promise<void> {
		await this.device.memory.remove(this.conversation_id, this.id);
	}
}

export class Device {
	memory!: Memory;
	online = true;
	/** The package begins anew by itself. */
	readonly expired = false;
	restarts = 0;
	readonly skew: number;
	private readonly name = `simulated ${randomUUID()}`;

	constructor(
		private readonly world: World,
		readonly number: number,
	) {
		this.skew = Math.floor((world.random() - 0.5) * 2 * 10 * 60 * 1000);
	}

	async start(): Promise<void> {
		this.memory = await Memory.open({
			url: 'http://simulated',
			account: this.world.account,
			name: this.name,
			token: () => 'none',
			batch: this.world.batch,
			backoff: { firstMs: 20, mostMs: 40, random: () => this.world.random() },
			hotConversations: 3,
			requestTimeoutMs: 5000,
			fetch: (url, init) => this.fetch(String(url), init),
		});
		this.memory.watchStatus(({ restarts }) => {
			this.restarts = restarts;
		});
	}

	/** Changes of what is no longer there change nothing. */
	async tolerant(work: (memory: Memory) => Promise<void>): Promise<void> {
		await work(this.memory).catch((error: Error) => {
			if (!error.message.startsWith('there is no such document'))
				throw error;
		});
	}

	poke(): void {
		if (this.online)
			void this.memory.sync();
	}

	/** The network: a request is lost, or takes its time, or its answer is lost. */
	private async fetch(url: string, init: RequestInit = {}): Promise<Response> {
		const { random, faults } = { random: () => this.world.random(), faults: this.world.faults };

		if (!this.online || random() < faults.request)
			throw new TypeError('request lost');
		await sleep(random() * faults.delay);
		const response = await Promise.race([
			this.answer(new URL(url).pathname, JSON.parse(String(init.body)) as Fields),
			aborted(init.signal),
		]);
		await sleep(random() * faults.delay);
		if (!this.online || random() < faults.answer)
			throw new TypeError('answer lost');
		return response;
	}

	private async answer(path: string, body: Fields): Promise<Response> {
		try {
			if (path === '/v1/pull')
				return Response.json(
					await this.world.pull(
						String(body.collection),
						body.checkpoint,
						Number(body.max_documents),
					),
				);
			return Response.json(
				await this.push(
					String(body.collection),
					body.rows as { newDocumentState: { id: string } }[],
				),
			);
		} catch (error) {
			const { code, message } = error as { code?: string; message: string };
			const status = code === 'MX010' ? 410 : 503;
			return Response.json({ detail: message, sqlstate: code }, { status });
		}
	}

	private async push(
		collection: string,
		rows: { newDocumentState: { id: string } }[],
	): Promise<Answer> {
		const answer = await this.world.push(collection, rows);
		const conflicts = new Set(answer.conflicts.map(({ id }) => id));
		const refused = new Set(answer.refusals.map(({ row }) => row));

		for (const [n, { newDocumentState }] of rows.entries())
			if (!refused.has(n) && !conflicts.has(newDocumentState.id))
				this.world.acknowledged(collection, newDocumentState);
		return answer;
	}

	async stop(): Promise<void> {
		await this.memory.logout();
	}

	now(): string {
		return new Date(Date.now() + this.skew).toISOString();
	}

	/** A message that is deleted with its conversation needs no word of its own. */
	async forget(): Promise<void> {}

	async contents(): Promise<Map<string, object>> {
		const all = new Map<string, object>();

		for (const conversation of await this.conversations()) {
			all.set(`conversations/${conversation.id}`, plain(conversation));
			for (const message of await this.memory.messages(conversation.id, {
				allBranches: true,
			}))
				all.set(`messages/${message.id}`, plain(message));
		}
		return all;
	}

	private async conversations(): Promise<Conversation[]> {
		return this.memory.list({ includeArchived: true, limit: 100_000 });
	}

	private async allMessages(selector?: { conversation_id: string }): Promise<Message[]> {
		const ids =
			selector === undefined
				? (await this.conversations()).map(({ id }) => id)
				: [selector.conversation_id];

		return (
			await Promise.all(ids.map((id) => this.memory.messages(id, { allBranches: true })))
		).flat();
	}

	readonly collections = {
		conversations: {
			find: () => ({
				exec: async () =>
					(await this.conversations()).map(
						(fields) => new ShownConversation(this, plain(fields)),
					),
			}),
			insert: async (document: Fields) => void (await this.memory.create(document)),
		},
		messages: {
			find: (query: { selector?: { conversation_id: string } } = {}) => ({
				exec: async () =>
					(await this.allMessages(query.selector)).map(
						(fields) => new ShownMessage(this, plain(fields)),
					),
			}),
			insert: async ({ conversation_id, ...document }: Fields) =>
				void (await this.memory.append(
					conversation_id as string,
					document as unknown as Parameters<Memory['append']>[1],
				)),
		},
	};
}

/** A request to a server that was killed may never be answered. */
function aborted(signal: AbortSignal | null | undefined): Promise<never> {
	return new Promise((_resolve, reject) =>
		signal?.addEventListener('abort', () => reject(new TypeError('no answer in time'))),
	);
}

/** A document as the server has it. */
function plain(document: Conversation | Message): object {
	const {
		pending: _pending,
		refusal: _refusal,
		here: _here,
		place: _place,
		...rest
	} = document as Conversation;

	return rest;
}
