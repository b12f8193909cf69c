// The replication of one copy, by the one tab that leads: pulls what has changed, pushes what has
// to be pushed, and gets the conversations that somebody waits for.  One thing at a time: what a
// page says is written before the next is asked for, so that nothing old overwrites what is newer.
import { applyAccepted, applyStored, pushable } from './apply.js';
import {
	type AnyDocument,
	COLLECTIONS,
	type Collection,
	type ConversationDocument,
	type MessageDocument,
	type Resolve,
	isChanged,
} from './documents.js';
import {
	type Gateway,
	GatewayError,
	type PullLimits,
	type PushAnswer,
	type PushRow,
	type Refusal,
} from './http.js';
import {
	type Body,
	type Key,
	type Loaded,
	type Plan,
	type Store,
	conversationKey,
	keyOf,
	messageKey,
	nameOf,
} from './store.js';

export interface ReplicationOptions {
	/** Documents of a page, and rows of a push. */
	batch: number;
	firstCopy: Pick<PullLimits, 'since' | 'maxConversations'>;
	resolve: Resolve;
	/** What the server refuses for good, or for the time being. */
	onRefused: (key: Key, refusal: Omit<Refusal, 'row' | 'id'>) => void;
	/** The copy was begun anew. */
	onRestart: () => void;
}

interface Row {
	key: Key;
	pushed: Body<AnyDocument>;
	row: PushRow;
}

/** Refusals that pass by themselves: a quota, whose period ends or whose plan changes. */
const PASSING = /^(MX001|40|53|57)/;
const NO_PARENT = '23503';
const NOTHING: Loaded = { record: undefined, body: undefined };

export class Replication {
	/** Documents that are not pushed again as they are: name → which version, and whether it may pass later. */
	private readonly waiting = new Map<string, { version: number; passing: boolean }>();

	constructor(
		private readonly store: Store,
		private readonly gateway: Gateway,
		private readonly options: ReplicationOptions,
	) {}

	/** Lets what a quota has refused be tried again; whether there was anything. */
	retryRefused(): boolean {
		const before = this.waiting.size;

		for (const [name, { passing }] of this.waiting)
			if (passing) this.waiting.delete(name);
		return this.waiting.size < before;
	}

	/** Everything once, until both sides have the same. */
	async run(signal: AbortSignal): Promise<void> {
		try {
			await this.pull(signal);
			// A merge may leave something to push.  What is refused is not tried again, so it ends.
			while (await this.push(signal))
				await this.pull(signal);
			await this.fetchWanted(signal);
		} catch (error) {
			if (!(error instanceof GatewayError) || error.status !== 410)
				throw error;
			await this.beginAnew();
			await this.run(signal);
		}
	}

	private async beginAnew(): Promise<void> {
		await this.store.beginAnew();
		this.waiting.clear();
		this.options.onRestart();
	}

	// -----------------------------------------------------------------------------------------
	// Pull
	// -----------------------------------------------------------------------------------------

	private async pull(signal: AbortSignal): Promise<void> {
		for (const collection of COLLECTIONS)
			for (let more = true; more;) {
				const before = (await this.store.checkpoints())[collection] ?? null;
				const limits = { maxDocuments: this.options.batch, ...this.options.firstCopy };
				const page = await this.gateway.pull(collection, before, limits, signal);
				const checkpoint = { collection, before, after: page.checkpoint };

				if (
					page.documents.length > 0 ||
					JSON.stringify(before) !== JSON.stringify(page.checkpoint)
				)
					await this.apply(collection, page.documents, checkpoint);
				({ more } = page);
				// A first copy takes long, and somebody who opens a conversation does not wait for it.
				await this.fetchWanted(signal);
			}
	}

	private async apply(
		collection: Collection,
		documents: AnyDocument[],
		checkpoint: NonNullable<Plan['checkpoint']>,
	): Promise<void> {
		const keys = documents.map((document) => keyOf(collection, document));
		// The conversations of messages say whether these are kept on the device at all.
		const parents =
			collection === 'messages'
				? [...new Set(keys.map((key) => key.conversation_id))].map(conversationKey)
				: [];

		const foreign = checkpoint.before === null ? await this.foreign(collection, keys) : [];

		await this.store.change([...keys, ...parents, ...foreign], (loaded) => {
			const plan: Plan = {
				writes: foreign.map((key) => ({ key, body: null, queued: false })),
				checkpoint,
			};
			const evicted = new Set(
				parents.filter((_key, n) => isEvicted(loaded[keys.length + n])).map(({ id }) => id),
			);

			for (const [n, document] of documents.entries()) {
				const state = loaded[n];
				if (state === undefined)
					continue;
				// All of an evicted conversation comes when it is opened.
				if (evicted.has(keys[n]?.conversation_id ?? '') && state.record === undefined)
					continue;
				applyStored(plan, collection, document, state, this.options.resolve);
			}
			const told = new Set(keys.map(({ id }) => id));
			for (const [n, key] of parents.entries())
				forgetHead(plan, key, loaded[keys.length + n] ?? NOTHING, told);
			return plan;
		});
	}

	/**
	 * A pull from the beginning tells all that is stored.  What was pushed before, while there was no
	 * account to give a checkpoint, and is not told, was stored in an earlier life of the account.
	 */
	private async foreign(collection: Collection, told: Key[]): Promise<Key[]> {
		const names = new Set(told.map(nameOf));

		return (await this.store.acknowledged(collection)).filter((key) => !names.has(nameOf(key)));
	}

	// -----------------------------------------------------------------------------------------
	// Push
	// -----------------------------------------------------------------------------------------

	/** Pushes what there is; whether there was anything. */
	private async push(signal: AbortSignal): Promise<boolean> {
		let pushed = false;

		for (const step of [newConversations, messages, conversations]) {
			// Each pass takes what the one before has not, so that it ends.
			for (const seen = new Set<string>(); ;) {
				const rows = (await this.rows(step))
					.filter(({ key }) => !seen.has(nameOf(key)))
					.slice(0, this.options.batch);
				if (rows.length === 0)
					break;
				rows.forEach(({ key }) => seen.add(nameOf(key)));
				await this.send(rows[0]?.key.collection ?? 'messages', rows, signal);
				pushed = true;
			}
		}
		return pushed;
	}

	/** What a step of a push takes from the queue, in its order. */
	private async rows(step: Step): Promise<Row[]> {
		const queue = (await this.store.queue())
			.map(({ key }) => key)
			.filter((key) => key.collection === step.collection);
		const loaded = await this.store.loadAll(queue);
		// A message waits for its parent, when that cannot be pushed.
		const stuck = new Set<string>();
		const rows: Row[] = [];

		for (const [n, { record, body }] of loaded.entries()) {
			const key = queue[n];
			if (
				key === undefined ||
				record === undefined ||
				body === undefined ||
				record.queued === undefined
			)
				continue;
			const parent = (body.doc as MessageDocument).parent;
			if (
				this.waiting.get(nameOf(key))?.version === record.version ||
				(step.collection === 'messages' &&
					typeof parent === 'string' &&
					body.base === undefined &&
					stuck.has(`${key.conversation_id}/${parent}`))
			) {
				if (body.base === undefined)
					stuck.add(`${key.conversation_id}/${key.id}`);
				continue;
			}
			const row = step.row(body);
			if (row !== undefined)
				rows.push({ key, pushed: { ...body, doc: row.newDocumentState }, row });
		}
		return rows;
	}

	/**
	 * Pushes the rows.  A push that is refused as a whole, because one of them is too large or cannot
	 * be stored, is pushed in halves, until the row is found.
	 */
	private async send(collection: Collection, rows: Row[], signal: AbortSignal): Promise<void> {
		let answer: PushAnswer;

		try {
			answer = await this.gateway.push(
				collection,
				rows.map(({ row }) => row),
				signal,
			);
		} catch (error) {
			if (!(error instanceof GatewayError) || !error.isFinal)
				throw error;
			if (rows.length > 1) {
				const half = Math.ceil(rows.length / 2);
				await this.send(collection, rows.slice(0, half), signal);
				await this.send(collection, rows.slice(half), signal);
				return;
			}
			const refusal = {
				row: 0,
				id: null,
				sqlstate: error.sqlstate ?? String(error.status),
				message: error.message,
			};
			answer = { conflicts: [], stored: [], refusals: [refusal] };
		}
		await this.accept(collection, rows, answer);
	}

	private async accept(collection: Collection, rows: Row[], answer: PushAnswer): Promise<void> {
		const byName = (documents: AnyDocument[]) =>
			new Map(documents.map((document) => [nameOf(keyOf(collection, document)), document]));
		const [conflicts, stored] = [byName(answer.conflicts), byName(answer.stored)];
		const refusals = new Map(answer.refusals.map((refusal) => [refusal.row, refusal]));
		const stalled = new Set<Key>();
		const isRefused = (id: string | null | undefined) =>
			answer.refusals.some(({ row }) => rows[row]?.key.id === id);
		const owners =
			collection === 'messages'
				? [...new Set(rows.map(({ key }) => key.conversation_id))].map(conversationKey)
				: [];

		const heads = rows.map(({ key, pushed }) =>
			messageKey({
				id: (pushed.doc as ConversationDocument).head ?? '',
				conversation_id: key.conversation_id,
			}),
		);

		await this.store.change(
			[...rows.map(({ key }) => key), ...owners, ...heads],
			(loaded) => {
				const plan: Plan = { writes: [] };

				stalled.clear();
				for (const [n, { key, pushed }] of rows.entries()) {
					const state = loaded[n];
					const refusal = refusals.get(n);
					const conflict = conflicts.get(nameOf(key));
					if (state === undefined)
						continue;
					if (refusal !== undefined) {
						// One whose parent was refused in the same push waits for it.
						if (
							refusal.sqlstate !== NO_PARENT ||
							!isRefused((pushed.doc as MessageDocument).parent)
						)
							refuse(plan, key, state, refusal);
					} else if (conflict !== undefined) {
						// Nothing was learned: the same push would end in the same conflict.
						const isStalled =
							pushed.base !== undefined &&
							!isChanged(collection, pushed.base, conflict);
						if (isStalled)
							stalled.add(key);
						// A head that is not there, and is not about to be pushed, was deleted.
						const head = loaded[rows.length + owners.length + n];
						const isLost =
							isStalled &&
							collection === 'conversations' &&
							head?.record?.queued === undefined;
						applyConflict(
							plan,
							collection,
							conflict,
							isLost ? withHead(state, conflict) : state,
							this.options.resolve,
						);
					} else applyAccepted(plan, key, pushed, stored.get(nameOf(key)), state);
				}
				for (const [n, key] of owners.entries())
					settleHead(plan, key, loaded[rows.length + n], rows, refusals, stored);
				return plan;
			},
			'strict',
		);
		await this.report(
			[...refusals.keys()].flatMap((n) => rows[n]?.key ?? []),
			stalled,
		);
	}

	/** What was refused waits: until it is changed or, where that may help, until retryRefused(). */
	private async report(refused: Key[], stalled: ReadonlySet<Key>): Promise<void> {
		const keys = [...refused, ...stalled];

		for (const [n, { record, body }] of (await this.store.loadAll(keys)).entries()) {
			const key = keys[n];
			if (key === undefined || record?.queued === undefined)
				continue;
			// One whose parent was left out is pushed again at once.
			if (stalled.has(key) || body?.refusal !== undefined)
				this.waiting.set(nameOf(key), {
					version: record.version,
					passing: body?.refusal === undefined || PASSING.test(body.refusal.sqlstate),
				});
			if (body?.refusal !== undefined && !stalled.has(key))
				this.options.onRefused(key, body.refusal);
		}
	}

	// -----------------------------------------------------------------------------------------
	// A conversation that somebody waits for
	// -----------------------------------------------------------------------------------------

	private async fetchWanted(signal: AbortSignal): Promise<void> {
		for (const id of await this.store.wanted())
			await this.fetch(id, signal);
	}

	private async fetch(id: string, signal: AbortSignal): Promise<void> {
		const messageDocuments: AnyDocument[] = [];
		let conversation: AnyDocument | undefined;

		try {
			for (let after: number | null = 0; after !== null;) {
				const page = await this.gateway.conversation(id, after, this.options.batch, signal);
				messageDocuments.push(...page.messages);
				conversation = page.conversations[0] ?? conversation;
				after = page.after_seq;
			}
		} catch (error) {
			// It was deleted: the next pull says so.
			if (!(error instanceof GatewayError) || error.status !== 404)
				throw error;
		}
		const keys = messageDocuments.map((document) => messageKey(document as MessageDocument));

		await this.store.change([conversationKey(id), ...keys], ([owner, ...loaded]) => {
			const plan: Plan = { writes: [] };
			// It was removed here meanwhile.
			if (owner?.record === undefined || owner.body === undefined)
				return plan;
			if (conversation !== undefined)
				applyStored(plan, 'conversations', conversation, owner, this.options.resolve);
			else
				plan.writes.push({
					key: conversationKey(id),
					body: owner.body,
					queued: owner.record.queued !== undefined,
				});
			for (const write of plan.writes)
				write.flags = { wanted: false, evicted: false, packed: false };
			if (conversation?._deleted !== true)
				for (const [n, document] of messageDocuments.entries())
					if (loaded[n] !== undefined)
						applyStored(plan, 'messages', document, loaded[n], this.options.resolve);
			return plan;
		});
	}
}

function isEvicted(loaded: Loaded | undefined): boolean {
	return (loaded?.record as { evicted?: 1 } | undefined)?.evicted === 1;
}

// ---------------------------------------------------------------------------------------------
// The steps of a push
// ---------------------------------------------------------------------------------------------

interface Step {
	collection: Collection;
	/** The row that the step pushes of a record; undefined: none. */
	row(body: Body<AnyDocument>): PushRow | undefined;
}

/** New conversations first, so that they are made with their titles; their heads are not there yet. */
const newConversations: Step = {
	collection: 'conversations',
	row({ base, doc }) {
		if (base !== undefined || doc._deleted)
			return undefined;
		const { head: _later, ...document } = pushable(
			'conversations',
			doc,
		) as ConversationDocument;
		return { newDocumentState: document };
	},
};

const messages: Step = { collection: 'messages', row: (body) => rowOf('messages', body) };
const conversations: Step = {
	collection: 'conversations',
	row: (body) => rowOf('conversations', body),
};

function rowOf(collection: Collection, { base, doc }: Body<AnyDocument>): PushRow {
	return {
		...(base === undefined ? {} : { assumedMasterState: base }),
		newDocumentState:
			base === undefined || doc._deleted
				? pushable(collection, doc)
				: { ...base, ...pushable(collection, doc) },
	};
}

/** A conflict says what is stored, and settles the fields that are not in conflict. */
function applyConflict(
	plan: Plan,
	collection: Collection,
	stored: AnyDocument,
	state: Loaded,
	resolve: Resolve,
): void {
	// It was removed here meanwhile; the next pull tells what else there is.
	if (state.body !== undefined)
		applyStored(plan, collection, stored, state, resolve);
}

/** The state with the head that is stored. */
function withHead({ record, body }: Loaded, stored: AnyDocument): Loaded {
	return {
		record,
		body:
			body === undefined
				? undefined
				: {
						...body,
						doc: { ...body.doc, head: (stored as ConversationDocument).head ?? null },
					},
	};
}

/** Keeps what is refused, and why; a parent that is gone for good is left out. */
function refuse(
	plan: Plan,
	key: Key,
	{ body }: Loaded,
	{ sqlstate, message, detail, hint }: Refusal,
): void {
	if (body === undefined)
		return;
	const refusal = {
		sqlstate,
		message,
		...(detail == null ? {} : { detail }),
		...(hint == null ? {} : { hint }),
	};

	if (sqlstate === NO_PARENT && key.collection === 'messages' && 'parent' in body.doc) {
		const { parent: _gone, ...doc } = body.doc;
		plan.writes.push({ key, body: { ...body, doc: doc as MessageDocument }, queued: true });
	} else plan.writes.push({ key, body: { ...body, refusal }, queued: true });
}

/**
 * A message that is stored became its conversation's head by itself, which the next pull tells.
 * Until then it is taken for the head, unless the conversation that is known is newer than the
 * message: that of a push whose answer was lost may have been answered since.
 */
function settleHead(
	plan: Plan,
	key: Key,
	loaded: Loaded | undefined,
	rows: Row[],
	refusals: ReadonlyMap<number, Refusal>,
	stored: ReadonlyMap<string, AnyDocument>,
): void {
	const { localHead, ...body } = (loaded?.body ?? {}) as Partial<Body<ConversationDocument>>;
	const settled = rows.findIndex(
		(row) => row.key.conversation_id === key.id && row.key.id === localHead,
	);
	const { doc, base } = body;

	if (settled < 0 || refusals.has(settled) || doc === undefined || localHead === undefined)
		return;
	const revision = stored.get(nameOf(messageKey({ id: localHead, conversation_id: key.id })))
		?.revision;
	const isNews = revision !== undefined && revision > (doc.revision ?? 0);
	// A head that was chosen here stays chosen.
	const queued = loaded?.record?.queued !== undefined;
	const isHead = isNews && (queued ? base !== undefined && base.head === doc.head : true);
	plan.writes.push({
		key,
		body: {
			...body,
			doc: isHead ? { ...doc, head: localHead } : doc,
			...(isHead && base !== undefined ? { base: { ...base, head: localHead } } : {}),
		},
		queued,
	});
}

/** A message that was pulled is stored, though the answer to its push was lost. */
function forgetHead(plan: Plan, key: Key, { record, body }: Loaded, told: ReadonlySet<string>): void {
	const { localHead, ...rest } = (body ?? {}) as Partial<Body<ConversationDocument>>;

	if (rest.doc !== undefined && localHead !== undefined && told.has(localHead))
		plan.writes.push({
			key,
			body: { ...rest, doc: rest.doc },
			queued: record?.queued !== undefined,
		});
}

