// The copy on the device: an IndexedDB database with the conversations, the messages, the older
// contents in packs, and where the replication stands.
//
// Documents are encoded and decoded by functions that take their time (compression, the
// application's cipher), and a transaction of IndexedDB ends while one waits.  So a change reads
// the records first, works out what becomes of them, and writes only if each record still has the
// version that was read; otherwise it begins again.  No lock is held meanwhile, and a tab that is
// killed leaves either all of a change or nothing.
//
// Each life of the copy has a generation.  A logout or another account erases all stores and begins
// a new one in the same transaction, and every transaction compares: a tab that still shows the old
// account can neither write into the new one's copy nor read it.
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from 'idb';
import { Codec, type Sealed } from './codec.js';
import type {
	AnyDocument,
	Collection,
	ConversationDocument,
	MessageDocument,
} from './documents.js';
import type { Checkpoint, Refusal } from './http.js';

/** What a record says, apart from what it is found by. */
export interface Body<D extends AnyDocument> {
	/** What is shown. */
	doc: D;
	/** What is known to be stored, while doc differs from it; without it nothing is. */
	base?: D;
	/** Why the server does not take it. */
	refusal?: Omit<Refusal, 'row' | 'id'>;
	/** Of a conversation: the message that was last appended here, until it is stored. */
	localHead?: string;
}

interface Stored<D extends AnyDocument> {
	id: string;
	/** Another one after each change. */
	version: number;
	/** Its place in the queue of what has to be pushed. */
	queued?: number;
	body: Sealed<Body<D>>;
}

export interface ConversationRecord extends Stored<ConversationDocument> {
	/** By which the list is ordered. */
	sort: number;
	/** Somebody waits for its messages. */
	wanted?: 1;
	/** Its messages are not on the device. */
	evicted?: 1;
	/** Its contents stand in a pack. */
	packed?: 1;
}

export interface MessageRecord extends Stored<MessageDocument> {
	conversation_id: string;
	/** Its content stands in the conversation's pack. */
	packed?: 1;
}

/** The contents of a conversation's messages, compressed. */
export interface Pack {
	id: string;
	bytes: Uint8Array<ArrayBuffer>;
	rawBytes: number;
}

export interface Meta {
	generation: string;
	account: string;
	checkpoints: Partial<Record<Collection, Checkpoint>>;
}

/** A place in the list of conversations. */
export type Place = [sort: number, id: string];
export const placeOf = ({ sort, id }: ConversationRecord): Place => [sort, id];

interface Schema extends DBSchema {
	meta: { key: keyof Meta; value: Meta[keyof Meta] };
	conversations: {
		key: string;
		value: ConversationRecord;
		indexes: { place: Place; queued: number; wanted: number };
	};
	messages: { key: [string, string]; value: MessageRecord; indexes: { queued: number } };
	packs: { key: string; value: Pack };
}

const STORES = ['meta', 'conversations', 'messages', 'packs'] as const;
type Transaction<Mode extends IDBTransactionMode> = IDBPTransaction<
	Schema,
	(typeof STORES)[number][],
	Mode
>;

export interface Key {
	collection: Collection;
	id: string;
	conversation_id: string;
}

export const conversationKey = (id: string): Key => ({
	collection: 'conversations',
	id,
	conversation_id: id,
});
export const messageKey = (document: { id: string; conversation_id: string }): Key => ({
	collection: 'messages',
	id: document.id,
	conversation_id: document.conversation_id,
});
export const keyOf = (collection: Collection, document: AnyDocument): Key =>
	collection === 'messages'
		? messageKey(document as MessageDocument)
		: conversationKey(document.id);
export const nameOf = (key: Key): string => `${key.collection}/${key.conversation_id}/${key.id}`;

/** All messages of a conversation. */
const rangeOf = (id: string): IDBKeyRange => IDBKeyRange.bound([id], [id, []]);

type AnyRecord = ConversationRecord | MessageRecord;

/** A record as it was read, with its body decoded. */
export interface Loaded<D extends AnyDocument = AnyDocument> {
	record: AnyRecord | undefined;
	body: Body<D> | undefined;
}

/** What becomes of a record; a body of null removes it. */
export interface Write<D extends AnyDocument = AnyDocument> {
	key: Key;
	body: Body<D> | null;
	/** Whether it has to be pushed. */
	queued: boolean;
	/** Of a conversation: where it stands in the list; undefined: as before, or at the top. */
	sort?: number | 'top';
	flags?: { wanted?: boolean; evicted?: boolean; packed?: boolean };
}

export interface Plan {
	writes: Write[];
	/** Conversations whose messages and packs are removed. */
	drop?: string[];
	packs?: Pack[];
	/** Packs that are removed. */
	unpack?: string[];
	checkpoint?: { collection: Collection; before: Checkpoint; after: Checkpoint };
}

/** What a change has touched, for those who watch. */
export interface Change {
	list: boolean;
	conversations: string[];
}

/** The copy on this device now belongs to another account, or was erased. */
export class ErasedError extends Error {
	constructor() {
		super('the copy on this device was erased');
	}
}

/** The record was changed meanwhile: the change begins again. */
class Stale extends Error {}

const ATTEMPTS = 100;

export class Store {
	private constructor(
		private readonly db: IDBPDatabase<Schema>,
		readonly codec: Codec,
		readonly generation: string,
		private readonly onChange: (change: Change) => void,
	) {}

	/** Opens the copy of an account; that of another one is erased first. */
	static async open(
		name: string,
		account: string,
		codec: Codec,
		onChange: (change: Change) => void,
		onClosed: () => void,
	): Promise<{ store: Store; erased: boolean }> {
		const db = await openDB<Schema>(name, 1, {
			upgrade(database) {
				database.createObjectStore('meta');
				const conversations = database.createObjectStore('conversations', {
					keyPath: 'id',
				});
				conversations.createIndex('place', ['sort', 'id']);
				conversations.createIndex('queued', 'queued');
				conversations.createIndex('wanted', 'wanted');
				const messages = database.createObjectStore('messages', {
					keyPath: ['conversation_id', 'id'],
				});
				messages.createIndex('queued', 'queued');
				database.createObjectStore('packs', { keyPath: 'id' });
			},
			// Another tab deletes the database, or has a newer version of it.
			blocking: (_current, _blocked, event) => {
				(event.target as IDBDatabase).close();
				onClosed();
			},
			terminated: onClosed,
		});
		const transaction = db.transaction([...STORES], 'readwrite');
		const meta = transaction.objectStore('meta');
		const [owner, known] = await Promise.all([meta.get('account'), meta.get('generation')]);
		const erased = owner !== account;
		const generation = erased ? crypto.randomUUID() : (known as string);

		if (erased)
			await beginGeneration(transaction, generation, account);
		await transaction.done;
		return {
			store: new Store(db, codec, generation, onChange),
			erased: erased && owner !== undefined,
		};
	}

	close(): void {
		this.db.close();
	}

	/** Removes everything, for all tabs. */
	async erase(): Promise<void> {
		const transaction = this.db.transaction([...STORES], 'readwrite');

		await Promise.all(STORES.map((name) => transaction.objectStore(name).clear()));
		await transaction.done;
	}

	// -----------------------------------------------------------------------------------------
	// Reading
	// -----------------------------------------------------------------------------------------

	private async read<Result>(
		work: (transaction: Transaction<'readonly'>) => Promise<Result>,
	): Promise<Result> {
		const transaction = this.db.transaction([...STORES], 'readonly');

		await this.check(transaction);
		const result = await work(transaction);
		await transaction.done;
		return result;
	}

	private async check(transaction: Transaction<IDBTransactionMode>): Promise<void> {
		if ((await transaction.objectStore('meta').get('generation')) !== this.generation)
			throw new ErasedError();
	}

	async checkpoints(): Promise<Meta['checkpoints']> {
		return this.read(
			async (t) =>
				((await t.objectStore('meta').get('checkpoints')) ?? {}) as Meta['checkpoints'],
		);
	}

	/** Conversations in the order of the list, last changed first, below a place in it. */
	async conversations(
		below: Place | undefined,
		most: number,
	): Promise<{ record: ConversationRecord; body: Body<ConversationDocument> }[]> {
		const records = await this.read(async (t) => {
			const range = below === undefined ? null : IDBKeyRange.upperBound(below, true);
			const found: ConversationRecord[] = [];

			for (
				let cursor = await t
					.objectStore('conversations')
					.index('place')
					.openCursor(range, 'prev');
				cursor !== null && found.length < most;
				cursor = await cursor.continue()
			)
				found.push(cursor.value);
			return found;
		});
		return Promise.all(
			records.map(async (record) => ({ record, body: await this.codec.open(record.body) })),
		);
	}

	async load<D extends AnyDocument>(key: Key): Promise<Loaded<D>> {
		return (await this.loadAll([key]))[0] as Loaded<D>;
	}

	async loadAll(keys: readonly Key[]): Promise<Loaded[]> {
		const records = await this.read((t) => Promise.all(keys.map((key) => get(t, key))));

		return Promise.all(
			records.map(async (record) => ({
				record,
				body:
					record === undefined
						? undefined
						: await this.codec.open<Body<AnyDocument>>(record.body),
			})),
		);
	}

	/** A conversation's messages, with contents. */
	async messages(id: string): Promise<{ record: MessageRecord; body: Body<MessageDocument> }[]> {
		const [records, pack] = await this.read((t) =>
			Promise.all([
				t.objectStore('messages').getAll(rangeOf(id)),
				t.objectStore('packs').get(id),
			]),
		);
		const contents = pack === undefined ? undefined : await this.codec.unpack(pack.bytes);

		return Promise.all(
			records.map(async (record) => {
				const body = await this.codec.open(record.body);
				return {
					record,
					body: record.packed ? withContent(body, contents?.get(record.id)) : body,
				};
			}),
		);
	}

	/** What has to be pushed, oldest first. */
	async queue(): Promise<{ key: Key; queued: number }[]> {
		const [conversations, messages] = await this.read((t) =>
			Promise.all([
				t.objectStore('conversations').index('queued').getAll(),
				t.objectStore('messages').index('queued').getAll(),
			]),
		);

		return [
			...conversations.map((record) => ({
				key: conversationKey(record.id),
				queued: record.queued ?? 0,
			})),
			...messages.map((record) => ({ key: messageKey(record), queued: record.queued ?? 0 })),
		].sort((a, b) => a.queued - b.queued);
	}

	/** What is known to be stored, whether it has been changed since or not. */
	async acknowledged(collection: Collection): Promise<Key[]> {
		const keys = await this.read(async (t) =>
			collection === 'messages'
				? (await t.objectStore('messages').getAllKeys()).map(([conversation_id, id]) =>
						messageKey({ id, conversation_id }),
					)
				: (await t.objectStore('conversations').getAllKeys()).map(conversationKey),
		);
		const loaded = await this.loadAll(keys);

		return keys.filter(
			(_key, n) =>
				loaded[n]?.record?.queued === undefined || loaded[n]?.body?.base !== undefined,
		);
	}

	/** How many documents have to be pushed. */
	async pending(): Promise<number> {
		return this.read(
			async (t) =>
				(await t.objectStore('conversations').index('queued').count()) +
				(await t.objectStore('messages').index('queued').count()),
		);
	}

	/** Conversations whose messages somebody waits for. */
	async wanted(): Promise<string[]> {
		return this.read((t) => t.objectStore('conversations').index('wanted').getAllKeys());
	}

	/** What older contents take, and would take. */
	async packedBytes(): Promise<{ packs: number; bytes: number; rawBytes: number }> {
		return this.read(async (t) => {
			const sum = { packs: 0, bytes: 0, rawBytes: 0 };

			for (
				let cursor = await t.objectStore('packs').openCursor();
				cursor !== null;
				cursor = await cursor.continue()
			) {
				sum.packs++;
				sum.bytes += cursor.value.bytes.length;
				sum.rawBytes += cursor.value.rawBytes;
			}
			return sum;
		});
	}

	// -----------------------------------------------------------------------------------------
	// Changing
	// -----------------------------------------------------------------------------------------

	/**
	 * Reads the records, lets plan say what becomes of them, and writes it, all or nothing.  The
	 * plan may be asked several times, and must have no effect of its own.  A checkpoint that is
	 * not where the plan believes it refuses everything: false.
	 */
	async change(
		keys: readonly Key[],
		plan: (loaded: Loaded[]) => Plan | Promise<Plan>,
		durability: IDBTransactionDurability = 'relaxed',
	): Promise<boolean> {
		for (let attempt = 1; ; attempt++) {
			const loaded = await this.loadAll(keys);
			const planned = await plan(loaded);
			const bodies = await Promise.all(
				planned.writes.map(({ body }) => (body === null ? null : this.codec.seal(body))),
			);
			const versions = new Map(
				keys.map((key, n) => [nameOf(key), loaded[n]?.record?.version]),
			);

			try {
				const written = await this.write(planned, bodies, keys, versions, durability);
				if (written)
					this.onChange(changeOf(planned));
				return written;
			} catch (error) {
				if (!(error instanceof Stale) || attempt === ATTEMPTS)
					throw error;
			}
		}
	}

	private async write(
		plan: Plan,
		bodies: (Sealed<Body<AnyDocument>> | null)[],
		keys: readonly Key[],
		versions: ReadonlyMap<string, number | undefined>,
		durability: IDBTransactionDurability,
	): Promise<boolean> {
		const transaction = this.db.transaction([...STORES], 'readwrite', { durability });

		// Whoever throws below has aborted it, and says why himself.
		transaction.done.catch(() => {});
		try {
			await this.check(transaction);
			if (!(await advance(transaction, plan.checkpoint))) {
				transaction.abort();
				return false;
			}
			for (const key of keys)
				if ((await get(transaction, key))?.version !== versions.get(nameOf(key)))
					throw new Stale();
			for (const id of plan.drop ?? []) {
				void transaction.objectStore('messages').delete(rangeOf(id));
				void transaction.objectStore('packs').delete(id);
			}
			for (const id of plan.unpack ?? [])
				void transaction.objectStore('packs').delete(id);
			for (const pack of plan.packs ?? [])
				void transaction.objectStore('packs').put(pack);
			for (const [n, write] of plan.writes.entries())
				await put(transaction, write, bodies[n] ?? null);
		} catch (error) {
			try {
				transaction.abort();
			} catch {
				// it is over already
			}
			throw error;
		}
		await transaction.done;
		return true;
	}

	/**
	 * Forgets everything but what was never stored on the server, and where the replication stands:
	 * the server does not know this copy any more.
	 */
	async beginAnew(): Promise<void> {
		const keys = (await this.queue()).map(({ key }) => key);
		// Changes of what was stored are no use without it; what was written since then is kept.
		const useless = new Map<string, number | undefined>();

		for (const [n, { record, body }] of (await this.loadAll(keys)).entries()) {
			const key = keys[n];
			if (
				key !== undefined &&
				(body?.base !== undefined || body?.doc._deleted || body?.doc.revision !== undefined)
			)
				useless.set(nameOf(key), record?.version);
		}
		const transaction = this.db.transaction([...STORES], 'readwrite');

		await this.check(transaction);
		for (const collection of ['conversations', 'messages'] as const)
			for (
				let cursor = await transaction.objectStore(collection).openCursor();
				cursor !== null;
				cursor = await cursor.continue()
			) {
				const { value } = cursor;
				const key =
					'conversation_id' in value ? messageKey(value) : conversationKey(value.id);
				if (value.queued === undefined || useless.get(nameOf(key)) === value.version)
					await cursor.delete();
			}
		await transaction.objectStore('packs').clear();
		await transaction.objectStore('meta').put({}, 'checkpoints');
		await transaction.done;
		this.onChange({ list: true, conversations: [] });
	}
}

// ---------------------------------------------------------------------------------------------
// Steps of a transaction
// ---------------------------------------------------------------------------------------------

async function beginGeneration(
	transaction: Transaction<'readwrite'>,
	generation: string,
	account: string,
): Promise<void> {
	await Promise.all(STORES.map((name) => transaction.objectStore(name).clear()));
	const meta = transaction.objectStore('meta');
	await Promise.all([
		meta.put(generation, 'generation'),
		meta.put(account, 'account'),
		meta.put({}, 'checkpoints'),
	]);
}

function get(
	transaction: Transaction<IDBTransactionMode>,
	key: Key,
): Promise<AnyRecord | undefined> {
	return key.collection === 'messages'
		? transaction.objectStore('messages').get([key.conversation_id, key.id])
		: transaction.objectStore('conversations').get(key.id);
}

/** Moves a checkpoint on; false: it is not where it was believed to be. */
async function advance(
	transaction: Transaction<'readwrite'>,
	checkpoint: Plan['checkpoint'],
): Promise<boolean> {
	if (checkpoint === undefined)
		return true;
	const meta = transaction.objectStore('meta');
	const checkpoints = ((await meta.get('checkpoints')) ?? {}) as Meta['checkpoints'];

	if (
		JSON.stringify(checkpoints[checkpoint.collection] ?? null) !==
		JSON.stringify(checkpoint.before ?? null)
	)
		return false;
	await meta.put({ ...checkpoints, [checkpoint.collection]: checkpoint.after }, 'checkpoints');
	return true;
}

async function put(
	transaction: Transaction<'readwrite'>,
	write: Write,
	body: Sealed<Body<AnyDocument>> | null,
): Promise<void> {
	const { key, flags } = write;

	if (body === null) {
		if (key.collection === 'messages')
			await transaction.objectStore('messages').delete([key.conversation_id, key.id]);
		else
			await transaction.objectStore('conversations').delete(key.id);
		return;
	}
	const before = await get(transaction, key);
	const common = {
		id: key.id,
		version: Math.random(),
		...(write.queued ? { queued: before?.queued ?? (await endOfQueue(transaction)) } : {}),
	};
	const flag = (name: 'wanted' | 'evicted' | 'packed') =>
		(flags?.[name] ?? (before as ConversationRecord | undefined)?.[name] === 1)
			? { [name]: 1 as const }
			: {};

	if (key.collection === 'messages')
		await transaction.objectStore('messages').put({
			...common,
			conversation_id: key.conversation_id,
			...flag('packed'),
			body: body as Sealed<Body<MessageDocument>>,
		});
	else
		await transaction.objectStore('conversations').put({
			...common,
			sort: await sortOf(
				transaction,
				write.sort ?? (before as ConversationRecord | undefined)?.sort ?? 'top',
			),
			...flag('wanted'),
			...flag('evicted'),
			...flag('packed'),
			body: body as Sealed<Body<ConversationDocument>>,
		});
}

async function endOfQueue(transaction: Transaction<'readwrite'>): Promise<number> {
	const last = await Promise.all(
		(['conversations', 'messages'] as const).map(
			async (name) =>
				(await transaction.objectStore(name).index('queued').openKeyCursor(null, 'prev'))
					?.key ?? 0,
		),
	);

	return Math.max(...last) + 1;
}

/** The top is above everything else, whatever the clock says. */
async function sortOf(
	transaction: Transaction<'readwrite'>,
	sort: number | 'top',
): Promise<number> {
	if (sort !== 'top')
		return sort;
	return (
		((await transaction.objectStore('conversations').index('place').openKeyCursor(null, 'prev'))
			?.key[0] ?? 0) + 1
	);
}

function withContent(
	body: Body<MessageDocument>,
	content: string | undefined,
): Body<MessageDocument> {
	return content === undefined ? body : { ...body, doc: { ...body.doc, content } };
}

function changeOf(plan: Plan): Change {
	return {
		list: plan.writes.some(({ key }) => key.collection === 'conversations'),
		conversations: [
			...new Set([
				...plan.writes.map(({ key }) => key.conversation_id),
				...(plan.drop ?? []),
			]),
		],
	};
}
