// What an application uses: the copy of one account on this device.
import type { JsonValue } from '@memory-ext/types';
import { deleteDB } from 'idb';
import { Backoff, type BackoffOptions, Signal } from './backoff.js';
import { branchOf, inOrder } from './branch.js';
import { type Cipher, Codec } from './codec.js';
import {
	type ConversationDocument,
	EDITABLE,
	type MessageDocument,
	type Resolve,
	checkStorable,
	isChanged,
	resolveByDefault,
} from './documents.js';
import { Gateway, GatewayError, type GetToken, type PullLimits, type Refusal } from './http.js';
import { Live, type LiveState } from './live.js';
import { Replication } from './replication.js';
import { type Found, type SearchOptions, searchStore } from './search.js';
import {
	type Body,
	type Change,
	ErasedError,
	type Key,
	type Place,
	Store,
	type Write,
	conversationKey,
	messageKey,
	placeOf,
} from './store.js';
import { type TabMessage, Tabs } from './tabs.js';
import { Tidy, type TidyOptions } from './tidy.js';

export interface MemoryOptions {
	/** The gateway, without a slash at its end. */
	url: string;
	/** Whose copy it is.  That of another account is erased. */
	account: string;
	/** Gives a bearer token for the account. */
	token: GetToken;
	/** The name of the database on the device. */
	name?: string;
	/**
	 * Whether the copy is kept up to date by itself.  A service worker, which sleeps, says false and
	 * calls sync() when it is woken.
	 */
	live?: boolean;
	/** What a first copy is limited to. */
	firstCopy?: Pick<PullLimits, 'since' | 'maxConversations'>;
	/** Encrypts what is kept on the device. */
	cipher?: Cipher;
	/** Decides about a field that was changed here and elsewhere. */
	resolve?: Resolve;
	/** Is told what the server does not take, and why. */
	onRefused?: (refused: Refused) => void;
	/** So many conversations, the newest, are kept uncompressed. */
	hotConversations?: number;
	/** What the copy may take on the device, in bytes; by default half of what the browser gives. */
	maxBytes?: number;
	/** Whether the browser is asked never to clear the copy by itself. */
	persist?: boolean;
	/** Documents of a request. */
	batch?: number;
	/** How often to look when nothing was heard; with a WebSocket rarely. */
	pollSeconds?: number;
	requestTimeoutMs?: number;
	backoff?: Partial<BackoffOptions>;
	fetch?: typeof globalThis.fetch;
	WebSocket?: typeof globalThis.WebSocket;
	estimate?: () => Promise<StorageEstimate>;
}

export interface Conversation extends ConversationDocument {
	/** Whether a change of it waits to be pushed. */
	pending: boolean;
	refusal?: Omit<Refusal, 'row' | 'id'>;
	/** Whether its messages are on the device. */
	here: boolean;
	/** Where the list goes on behind it. */
	place: Place;
}

export interface Message extends MessageDocument {
	pending: boolean;
	refusal?: Omit<Refusal, 'row' | 'id'>;
}

export interface Refused extends Omit<Refusal, 'row' | 'id'>, Omit<Key, 'collection'> {
	collection: Key['collection'];
}

/**
 * starting: nothing was tried yet; syncing; live: up to date, and told of changes; polling: up to
 * date, and looks now and then; waiting: the gateway could not be reached, or was busy; offline: the
 * browser says so; unauthorized: the token is refused; erased: the copy is gone or another
 * account's; closed.
 */
export type State =
	| 'starting'
	| 'syncing'
	| 'live'
	| 'polling'
	| 'waiting'
	| 'offline'
	| 'unauthorized'
	| 'erased'
	| 'closed';

export interface Status {
	state: State;
	/** Whether this tab replicates for all. */
	leader: boolean;
	/** Documents that wait to be pushed. */
	pending: number;
	/** Why the last try failed. */
	error: string | null;
	/** How often the copy was begun anew. */
	restarts: number;
	/** Whether the browser has promised to keep the copy. */
	persisted: boolean;
}

export interface NewMessage {
	id?: string;
	role: string;
	content: string;
	model?: string | null;
	metadata?: JsonValue;
	/** The message that it answers: by default the last of the current branch; null: none. */
	parent?: string | null;
	created_at?: string;
}

export type ConversationChanges = Partial<
	Pick<ConversationDocument, 'title' | 'archived' | 'metadata' | 'head'>
>;
export type MessageChanges = Partial<
	Pick<MessageDocument, 'role' | 'content' | 'model' | 'metadata'>
>;

/** The conversation's messages are not on the device, and cannot be fetched now. */
export class NotHereError extends Error {
	constructor() {
		super('the conversation is not on this device, and the gateway cannot be reached');
	}
}

type Leading = Pick<Status, 'state' | 'error' | 'restarts'>;

const TIDY_EVERY_MS = 600_000;
const QUOTA_RETRY = { firstMs: 30_000, mostMs: 900_000 };
/** What is freed at a time when the device is full, in bytes. */
const ROOM = 5_000_000;

export class Memory {
	private readonly watchers = new Set<Watcher>();
	private readonly statusWatchers = new Set<(status: Status) => void>();
	private readonly stop = new AbortController();
	private readonly work = new Signal();
	private readonly hurry = new Signal();
	private readonly backoff: Backoff;
	private readonly quotaBackoff: Backoff;
	private readonly replication: Replication;
	private readonly tidier: Tidy;
	private readonly tabs: Tabs<Leading>;
	private leader = false;
	private leading: Leading = { state: 'starting', error: null, restarts: 0 };
	private live: Live | undefined;
	private liveState: LiveState = 'closed';
	private running: Promise<void> = Promise.resolve();
	private tidiedAt = Number.NEGATIVE_INFINITY;
	private quotaTimer: ReturnType<typeof setTimeout> | undefined;
	private persisted = false;

	private constructor(
		private readonly options: MemoryOptions,
		private readonly name: string,
		private readonly store: Store,
	) {
		const backoff = { firstMs: 500, mostMs: 60_000, random: Math.random, ...options.backoff };
		const send = options.fetch ?? globalThis.fetch.bind(globalThis);

		this.backoff = new Backoff(backoff);
		this.quotaBackoff = new Backoff({ ...backoff, ...QUOTA_RETRY });
		this.replication = new Replication(
			store,
			new Gateway(options.url, options.token, send, options.requestTimeoutMs ?? 60_000),
			{
				batch: options.batch ?? 200,
				firstCopy: options.firstCopy ?? {},
				resolve: options.resolve ?? resolveByDefault,
				onRefused: (key, refusal) => this.refused({ ...key, ...refusal }),
				onRestart: () => this.setLeading({ restarts: this.leading.restarts + 1 }),
			},
		);
		this.tidier = new Tidy(store, tidyOptions(options));
		this.tabs = new Tabs(name, `${name} ${store.generation}`, (message) =>
			this.received(message),
		);
	}

	/** Opens the copy of the account, and keeps it up to date until close(). */
	static async open(options: MemoryOptions): Promise<Memory> {
		const name = options.name ?? 'memory-ext';
		let memory: Memory | undefined;
		const { store, erased } = await Store.open(
			name,
			options.account,
			new Codec(options.cipher),
			(change) => memory?.changed(change),
			() => memory?.gone(),
		);

		memory = new Memory(options, name, store);
		if (erased)
			memory.tabs.tell({ type: 'erased', generation: store.generation });
		if (options.persist ?? true)
			void memory.persist();
		memory.tabs.tell({ type: 'ask' });
		if (options.live ?? true) {
			for (const event of ['online', 'offline'] as const)
				globalThis.addEventListener?.(event, memory.network);
			memory.tabs.elect(() => {
				if (memory !== undefined)
					memory.running = memory.lead();
			});
		}
		return memory;
	}

	// -----------------------------------------------------------------------------------------
	// Reading
	// -----------------------------------------------------------------------------------------

	/** Conversations, last changed first. */
	async list(
		options: { limit?: number; after?: Place; includeArchived?: boolean } = {},
	): Promise<Conversation[]> {
		const { limit = 50, includeArchived = false } = options;
		const listed: Conversation[] = [];

		for (let below = options.after; listed.length < limit;) {
			const page = await this.store.conversations(below, limit);
			for (const { record, body } of page)
				if (
					!body.doc._deleted &&
					(includeArchived || !body.doc.archived) &&
					listed.length < limit
				)
					listed.push({
						...shown(record.queued, body),
						here: record.evicted === undefined,
						place: placeOf(record),
					});
			const last = page.at(-1);
			if (page.length < limit || last === undefined)
				break;
			below = placeOf(last.record);
		}
		return listed;
	}

	async get(id: string): Promise<Conversation | undefined> {
		const { record, body } = await this.store.load<ConversationDocument>(conversationKey(id));

		if (record === undefined || !('sort' in record) || body === undefined || body.doc._deleted)
			return undefined;
		return {
			...shown(record.queued, body),
			here: record.evicted === undefined,
			place: placeOf(record),
		};
	}

	/**
	 * A conversation's messages, those of the current branch or all, oldest first.  What has left the
	 * device is fetched again; NotHereError where that is not possible now.
	 */
	async messages(id: string, options: { allBranches?: boolean } = {}): Promise<Message[]> {
		await this.fetch(id);
		return this.localMessages(id, options.allBranches ?? false);
	}

	private async localMessages(id: string, all: boolean): Promise<Message[]> {
		const { body: owner } = await this.store.load<ConversationDocument>(conversationKey(id));
		const records = new Map(
			(await this.store.messages(id)).map((loaded) => [loaded.record.id, loaded]),
		);

		if (owner === undefined || owner.doc._deleted)
			return [];
		const documents = [...records.values()].map(({ body }) => body.doc);
		const chosen = all
			? inOrder(documents).filter((doc) => !doc._deleted)
			: branchOf(documents, headOf(owner));
		return chosen.flatMap(({ id: message }) => {
			const loaded = records.get(message);
			return loaded === undefined ? [] : [shown(loaded.record.queued, loaded.body)];
		});
	}

	/** Messages and titles on this device that hold all words of the query. */
	async search(query: string, options: SearchOptions = {}): Promise<Found[]> {
		return searchStore(this.store, query, options);
	}

	/** Calls back now, and after each change of what was asked for; the function that is returned ends it. */
	watchList(
		options: Parameters<Memory['list']>[0],
		callback: (conversations: Conversation[]) => void,
	): () => void {
		return this.observe(
			({ list }) => list,
			() => this.list(options),
			callback,
			[],
		);
	}

	/** The same for a conversation's messages; those that are not here come when they are fetched. */
	watchMessages(
		id: string,
		options: { allBranches?: boolean },
		callback: (messages: Message[]) => void,
	): () => void {
		void this.fetch(id).catch(() => {});
		return this.observe(
			({ list, conversations }) =>
				conversations.includes(id) || (list && conversations.length === 0),
			() => this.localMessages(id, options.allBranches ?? false),
			callback,
			[],
		);
	}

	/** The same for the status. */
	watchStatus(callback: (status: Status) => void): () => void {
		this.statusWatchers.add(callback);
		void this.status().then(callback);
		return () => this.statusWatchers.delete(callback);
	}

	async status(): Promise<Status> {
		const pending = this.isOver() ? 0 : await this.store.pending().catch(() => 0);

		return { ...this.leading, leader: this.leader, pending, persisted: this.persisted };
	}

	/** What the older, compressed contents take on the device, and would take. */
	async saving(): Promise<{ conversations: number; bytes: number; rawBytes: number }> {
		const { packs, ...bytes } = await this.store.packedBytes();

		return { conversations: packs, ...bytes };
	}

	// -----------------------------------------------------------------------------------------
	// Changing
	// -----------------------------------------------------------------------------------------

	/** Makes a conversation and returns its id. */
	async create(
		fields: ConversationChanges & { id?: string; created_at?: string } = {},
	): Promise<string> {
		const { id = crypto.randomUUID(), created_at = new Date().toISOString(), ...rest } = fields;
		const doc = { id, title: null, archived: false, metadata: null, created_at, ...rest };

		checkStorable(doc);
		await this.change([conversationKey(id)], ([loaded]) => {
			if (loaded?.body !== undefined)
				throw new Error('there is a conversation of this id');
			return {
				writes: [{ key: conversationKey(id), body: { doc }, queued: true, sort: 'top' }],
			};
		});
		return id;
	}

	/** Appends a message; a conversation that is not there is made.  Appended twice, it is there once. */
	async append(conversationId: string, message: NewMessage): Promise<string> {
		const {
			id = crypto.randomUUID(),
			created_at = new Date().toISOString(),
			parent,
			...rest
		} = message;
		const keys = [
			conversationKey(conversationId),
			messageKey({ id, conversation_id: conversationId }),
		];

		checkStorable(message);
		await this.change(keys, ([owner, same]) => {
			if (owner?.body?.doc._deleted)
				throw new Error('the conversation was deleted');
			if (same?.body !== undefined)
				return { writes: [] };
			const conversation = (owner?.body ?? {
				doc: { id: conversationId, created_at },
			}) as Body<ConversationDocument>;
			const doc = {
				id,
				conversation_id: conversationId,
				created_at,
				...rest,
				...(parent !== undefined ? { parent } : answered(conversation)),
			};
			return {
				writes: [
					{ key: keys[1] as Key, body: { doc }, queued: true },
					{
						key: keys[0] as Key,
						body: { ...conversation, localHead: id },
						sort: 'top',
						flags: { packed: false },
						queued: owner?.body === undefined || owner.record?.queued !== undefined,
					},
				],
			};
		});
		return id;
	}

	/** Changes a conversation's title, metadata, head, or whether it is archived. */
	async update(id: string, changes: ConversationChanges): Promise<void> {
		checkStorable(changes);
		await this.change([conversationKey(id)], ([loaded]) => ({
			writes: [
				edited(
					conversationKey(id),
					loaded?.record?.queued,
					loaded?.body as Body<ConversationDocument> | undefined,
					{
						...changes,
					},
				),
			],
		}));
	}

	/** Changes a message. */
	async edit(conversationId: string, id: string, changes: MessageChanges): Promise<void> {
		const key = messageKey({ id, conversation_id: conversationId });

		checkStorable(changes);
		await this.fetch(conversationId);
		await this.change([key], async ([loaded]) => {
			// Of what is compressed, the content stands elsewhere.
			const body =
				(loaded?.record as { packed?: 1 } | undefined)?.packed === undefined
					? loaded?.body
					: (await this.store.messages(conversationId)).find(
							({ record }) => record.id === id,
						)?.body;
			return {
				writes: [
					edited(
						key,
						loaded?.record?.queued,
						body as Body<MessageDocument> | undefined,
						changes,
					),
				],
			};
		});
	}

	/** Deletes a message; what answered it answers what came before. */
	async remove(conversationId: string, id: string): Promise<void> {
		const key = messageKey({ id, conversation_id: conversationId });

		await this.change([key], ([loaded]) => ({
			writes:
				loaded?.body === undefined
					? []
					: [deleted(key, loaded.record?.queued, loaded.body)],
		}));
	}

	/** Deletes a conversation with its messages. */
	async delete(id: string): Promise<void> {
		await this.change([conversationKey(id)], ([loaded]) =>
			loaded?.body === undefined
				? { writes: [] }
				: {
						writes: [deleted(conversationKey(id), loaded.record?.queued, loaded.body)],
						drop: [id],
					},
		);
	}

	/** Local changes are on the disk when this is over; a device that is full makes room first. */
	private async change(keys: Key[], plan: Parameters<Store['change']>[1]): Promise<void> {
		try {
			await this.store.change(keys, plan, 'strict');
		} catch (error) {
			if (!isFull(error) || (await this.tidier.evict(ROOM)) === 0)
				throw error;
			await this.store.change(keys, plan, 'strict');
		}
		this.wake({ type: 'work' });
	}

	/** Has the messages of a conversation fetched, where they are not here. */
	private async fetch(id: string): Promise<void> {
		if ((await this.get(id))?.here !== false)
			return;
		await this.store.change([conversationKey(id)], ([loaded]) => ({
			writes:
				loaded?.body === undefined
					? []
					: [
							{
								key: conversationKey(id),
								body: loaded.body,
								queued: loaded.record?.queued !== undefined,
								flags: { wanted: true },
							},
						],
		}));
		this.wake({ type: 'work' });
		await new Promise<void>((resolve, reject) => {
			const end = (error?: Error) => {
				stopList();
				stopStatus();
				if (error === undefined)
					resolve();
				else
					reject(error);
			};
			const stopList = this.observe(
				({ conversations }) => conversations.includes(id),
				() => this.get(id),
				(conversation) => conversation?.here !== false && end(),
				undefined,
			);
			const stopStatus = this.watchStatus(({ state }) => {
				if (!['starting', 'syncing', 'live', 'polling'].includes(state))
					end(new NotHereError());
			});
		});
	}

	// -----------------------------------------------------------------------------------------
	// Life
	// -----------------------------------------------------------------------------------------

	/**
	 * Synchronizes now, also what was refused for the time being.  In a tab that does not lead, the
	 * leader does it; without live, it is over when this returns.
	 */
	async sync(): Promise<void> {
		if (this.options.live ?? true) {
			this.wake({ type: 'sync' });
			return;
		}
		this.replication.retryRefused();
		if (!(await this.tabs.ifAlone(async () => this.replication.run(this.stop.signal))))
			this.tabs.tell({ type: 'sync' });
	}

	/** Compresses older contents and makes room now, which otherwise happens now and then. */
	async tidy(): Promise<{ packed: number; freedBytes: number }> {
		return {
			packed: await this.tidier.pack(this.stop.signal),
			freedBytes: await this.tidier.makeRoom(),
		};
	}

	/** Stops; the copy stays, with what has to be pushed. */
	async close(): Promise<void> {
		await this.end('closed');
		this.store.close();
	}

	/** Stops and erases the copy, with what was not pushed, in all tabs. */
	async logout(): Promise<void> {
		this.tabs.tell({ type: 'erased', generation: null });
		await this.end('erased');
		await this.store.erase();
		this.store.close();
		await deleteDB(this.name);
	}

	/** The copy was erased by another tab. */
	private gone(): void {
		if (this.isOver())
			return;
		void this.end('erased').then(() => this.store.close());
	}

	private isOver(): boolean {
		return this.leading.state === 'closed' || this.leading.state === 'erased';
	}

	private async end(state: 'closed' | 'erased'): Promise<void> {
		if (this.isOver())
			return;
		this.leading = { ...this.leading, state };
		this.stop.abort();
		this.live?.close();
		clearTimeout(this.quotaTimer);
		this.hurry.set();
		this.work.set();
		for (const event of ['online', 'offline'] as const)
			globalThis.removeEventListener?.(event, this.network);
		if (state === 'erased')
			for (const watcher of this.watchers) watcher.empty();
		this.tellStatus();
		this.watchers.clear();
		this.statusWatchers.clear();
		await this.running;
		await this.tabs.close();
	}

	private async persist(): Promise<void> {
		const storage = typeof navigator === 'undefined' ? undefined : navigator.storage;

		// A worker may only ask whether it was promised.
		this.persisted = await (
			storage?.persist?.() ??
			storage?.persisted?.() ??
			Promise.resolve(false)
		).catch(() => false);
		this.tellStatus();
	}

	// -----------------------------------------------------------------------------------------
	// Leading
	// -----------------------------------------------------------------------------------------

	private async lead(): Promise<void> {
		this.leader = true;
		this.connect();
		while (!this.stop.signal.aborted) {
			if (typeof navigator !== 'undefined' && navigator.onLine === false) {
				this.setLeading({ state: 'offline' });
				await this.hurry.wait();
				continue;
			}
			this.setLeading({ state: 'syncing' });
			const delay = await this.runOnce();
			if (this.stop.signal.aborted)
				break;
			// After a failure only time helps, or the word that the network is back.
			await (delay === undefined ? this.work.wait(this.pollMs()) : this.hurry.wait(delay));
		}
	}

	/** Everything once; after a failure for how long to wait, in milliseconds. */
	private async runOnce(): Promise<number | undefined> {
		try {
			await this.replication.run(this.stop.signal);
			this.backoff.reset();
			this.setLeading({ state: this.liveState === 'open' ? 'live' : 'polling', error: null });
			await this.tidyNowAndThen();
			return undefined;
		} catch (error) {
			if (this.stop.signal.aborted)
				return undefined;
			if (error instanceof ErasedError) {
				this.gone();
				return undefined;
			}
			if (isFull(error))
				await this.tidier.evict(ROOM).catch(() => 0);
			const { status = 0, retryAfterMs = 0 } = error instanceof GatewayError ? error : {};
			this.setLeading({
				state: status === 401 ? 'unauthorized' : 'waiting',
				error: (error as Error).message,
			});
			return Math.max(this.backoff.next(), retryAfterMs);
		}
	}

	private async tidyNowAndThen(): Promise<void> {
		if (performance.now() - this.tidiedAt < TIDY_EVERY_MS)
			return;
		this.tidiedAt = performance.now();
		await this.tidy();
	}

	private pollMs(): number {
		return (this.options.pollSeconds ?? (this.liveState === 'open' ? 300 : 30)) * 1000;
	}

	private connect(): void {
		const socket = this.options.WebSocket ?? globalThis.WebSocket;

		if (socket === undefined)
			return;
		this.live = new Live({
			url: this.options.url,
			token: this.options.token,
			WebSocket: socket,
			...(this.options.backoff === undefined ? {} : { backoff: this.options.backoff }),
			onPoke: () => this.work.set(),
			onState: (state) => {
				this.liveState = state;
				if (state === 'open')
					this.hurryUp();
				else if (this.leading.state === 'live')
					this.setLeading({ state: 'polling' });
			},
		});
	}

	private hurryUp(): void {
		this.backoff.reset();
		this.hurry.set();
		this.work.set();
	}

	private readonly network = (): void => {
		if (navigator.onLine)
			this.live?.reconnect();
		else if (this.leader)
			this.setLeading({ state: 'offline' });
		this.hurryUp();
	};

	private refused(refused: Refused): void {
		this.options.onRefused?.(refused);
		if (this.quotaTimer !== undefined || this.stop.signal.aborted)
			return;
		this.quotaTimer = setTimeout(() => {
			this.quotaTimer = undefined;
			if (this.replication.retryRefused())
				this.work.set();
		}, this.quotaBackoff.next());
		(this.quotaTimer as { unref?: () => void }).unref?.();
	}

	// -----------------------------------------------------------------------------------------
	// Between tabs
	// -----------------------------------------------------------------------------------------

	/** There is work: for this tab if it leads, or for the one that does. */
	private wake(message: { type: 'work' } | { type: 'sync' }): void {
		if (this.leader)
			this.received(message);
		else
			this.tabs.tell(message);
	}

	private received(message: TabMessage<Leading>): void {
		if (this.isOver())
			return;
		switch (message.type) {
			case 'changed':
				this.notify(message.change);
				break;
			case 'work':
				this.work.set();
				break;
			case 'sync':
				this.replication.retryRefused();
				this.hurryUp();
				break;
			case 'ask':
				if (this.leader)
					this.tabs.tell({ type: 'state', state: this.leading });
				break;
			case 'state':
				if (!this.leader) {
					this.leading = message.state;
					this.tellStatus();
				}
				break;
			case 'erased':
				if (message.generation !== this.store.generation)
					this.gone();
				break;
		}
	}

	private changed(change: Change): void {
		this.tabs.tell({ type: 'changed', change });
		this.notify(change);
	}

	private notify(change: Change): void {
		for (const watcher of this.watchers)
			if (watcher.matches(change)) watcher.run();
		this.tellStatus();
	}

	private setLeading(changes: Partial<Leading>): void {
		if (this.isOver())
			return;
		this.leading = { ...this.leading, ...changes };
		this.tabs.tell({ type: 'state', state: this.leading });
		this.tellStatus();
	}

	private tellStatus(): void {
		if (this.statusWatchers.size > 0) {
			const watchers = [...this.statusWatchers];
			void this.status().then((status) => watchers.forEach((callback) => callback(status)));
		}
	}

	private observe<Result>(
		matches: (change: Change) => boolean,
		query: () => Promise<Result>,
		callback: (result: Result) => void,
		none: Result,
	): () => void {
		const watcher = new Watcher(
			matches,
			async () => {
				const result = await query();
				if (this.watchers.has(watcher))
					callback(result);
			},
			() => callback(none),
		);

		this.watchers.add(watcher);
		watcher.run();
		return () => this.watchers.delete(watcher);
	}
}

/** A query that is run again after changes: one at a time, and once more when something changed meanwhile. */
class Watcher {
	private running = false;
	private again = false;

	constructor(
		readonly matches: (change: Change) => boolean,
		private readonly work: () => Promise<void>,
		readonly empty: () => void,
	) {}

	run(): void {
		this.again = true;
		if (this.running)
			return;
		this.running = true;
		void (async () => {
			while (this.again) {
				this.again = false;
				// A copy that was closed meanwhile has nothing more to say.
				await this.work().catch(() => {});
			}
			this.running = false;
		})();
	}
}

// ---------------------------------------------------------------------------------------------
// Bodies
// ---------------------------------------------------------------------------------------------

function shown<D extends ConversationDocument | MessageDocument>(
	queued: number | undefined,
	{ doc, refusal }: Body<D>,
) {
	return { ...doc, pending: queued !== undefined, ...(refusal === undefined ? {} : { refusal }) };
}

const headOf = ({ doc, localHead }: Body<ConversationDocument>): string | null | undefined =>
	localHead ?? doc.head;

/** What a new message answers; of a conversation whose head is not known, the server knows it. */
function answered(conversation: Body<ConversationDocument>): { parent?: string | null } {
	const head = headOf(conversation);

	return head === undefined ? {} : { parent: head };
}

/** A document with changes; what they restore need not be pushed any more. */
function edited<D extends ConversationDocument | MessageDocument>(
	key: Key,
	queued: number | undefined,
	body: Body<D> | undefined,
	changes: Partial<D>,
): Write {
	if (body === undefined || body.doc._deleted)
		throw new Error('there is no such document, or it was deleted');
	const { refusal: _before, ...rest } = body;
	const fields = Object.entries(changes).filter(
		([field, value]) =>
			value !== undefined && (EDITABLE[key.collection] as readonly string[]).includes(field),
	);
	const doc = { ...body.doc, ...Object.fromEntries(fields) };
	const base = queued === undefined ? body.doc : body.base;
	const waits = isChanged(key.collection, base, doc);

	return {
		key,
		body: { ...without(rest, 'base'), doc, ...(waits && base !== undefined ? { base } : {}) },
		queued: waits,
		flags: { packed: false },
	};
}

function deleted(
	key: Key,
	queued: number | undefined,
	body: Body<ConversationDocument | MessageDocument>,
): Write {
	const base = queued === undefined ? body.doc : body.base;

	return {
		key,
		body: { doc: { ...body.doc, _deleted: true }, ...(base === undefined ? {} : { base }) },
		queued: true,
		flags: { packed: false },
	};
}

function without<Value extends object, Name extends keyof Value>(
	value: Value,
	name: Name,
): Omit<Value, Name> {
	const { [name]: _gone, ...rest } = value;

	return rest;
}

function tidyOptions(options: MemoryOptions): TidyOptions {
	const storage = typeof navigator === 'undefined' ? undefined : navigator.storage;

	return {
		hotConversations: options.hotConversations ?? 100,
		maxBytes: options.maxBytes,
		estimate:
			options.estimate ??
			(storage?.estimate === undefined ? undefined : () => storage.estimate()),
	};
}

const isFull = (error: unknown): boolean =>
	(error as { name?: string } | null)?.name === 'QuotaExceededError';
