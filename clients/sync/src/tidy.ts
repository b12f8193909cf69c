// What the leading tab does when there is nothing else to do: older contents are compressed, and
// when the device has no room for all of them, the oldest leave it.
//
// "Older" are the conversations below so many in the list, whatever the clock says.
import { type Plan, type Store, conversationKey, placeOf } from './store.js';

export interface TidyOptions {
	/** So many conversations at the top of the list stay as they are. */
	hotConversations: number;
	/** What the copy may take, in bytes; undefined: half of what the browser gives. */
	maxBytes: number | undefined;
	/** What the browser says that it has given; navigator.storage.estimate(). */
	estimate: (() => Promise<StorageEstimate>) | undefined;
}

/** Conversations that are read at a time. */
const STEP = 50;
/** An eviction makes so much more room than is needed, so that it is rare. */
const SPARE = 0.1;
/** A pack that takes a larger part than this of what is in it is none. */
const WORTH = 0.9;
/** What is no content still takes room: keys, titles, the database itself. */
const MESSAGE_BYTES = 300;

export class Tidy {
	constructor(
		private readonly store: Store,
		private readonly options: TidyOptions,
	) {}

	/** Compresses contents, a conversation at a time, until there is no older one that is not. */
	async pack(signal: AbortSignal): Promise<number> {
		let packed = 0;

		for await (const { record } of this.older())
			if (
				record.packed === undefined &&
				record.evicted === undefined &&
				!signal.aborted &&
				(await this.packOne(record.id))
			)
				packed++;
		return packed;
	}

	private async *older() {
		let page = await this.store.conversations(undefined, this.options.hotConversations);
		let size = this.options.hotConversations;

		for (
			let last = page.at(-1);
			page.length === size && last !== undefined;
			last = page.at(-1)
		) {
			page = await this.store.conversations(placeOf(last.record), STEP);
			size = STEP;
			yield* page;
		}
	}

	/** What waits to be pushed stays as it is, and so does its conversation. */
	private async packOne(id: string): Promise<boolean> {
		const messages = await this.store.messages(id);
		const keys = [
			conversationKey(id),
			...messages.map(({ record }) => ({
				collection: 'messages' as const,
				id: record.id,
				conversation_id: id,
			})),
		];
		let done = false;

		await this.store.change(keys, async ([owner, ...loaded]) => {
			const plan: Plan = { writes: [], packs: [] };
			done =
				owner?.body !== undefined &&
				owner.record?.queued === undefined &&
				loaded.every(
					({ record }, n) =>
						record?.queued === undefined &&
						record?.version === messages[n]?.record.version,
				);
			if (!done || owner?.body === undefined)
				return plan;
			const pack = await this.store.codec.pack(
				new Map(messages.map(({ record, body }) => [record.id, body.doc.content ?? ''])),
			);
			// What is short does not become shorter.
			const isWorth = pack.bytes.length < pack.rawBytes * WORTH;
			if (isWorth)
				plan.packs?.push({ id, ...pack });
			else
				plan.unpack = [id];
			plan.writes.push({
				key: conversationKey(id),
				body: owner.body,
				queued: false,
				flags: { packed: true },
			});
			for (const { record, body } of messages) {
				const { content: _packed, ...doc } = body.doc;
				plan.writes.push({
					key: { collection: 'messages', id: record.id, conversation_id: id },
					body: { ...body, doc: isWorth ? doc : body.doc },
					queued: false,
					flags: { packed: isWorth },
				});
			}
			return plan;
		});
		return done;
	}

	/** Removes the oldest contents when there is too little room; how many bytes, about. */
	async makeRoom(): Promise<number> {
		const { usage = 0, quota = Number.POSITIVE_INFINITY } =
			(await this.options.estimate?.()) ?? {};
		const limit = Math.min(this.options.maxBytes ?? Number.POSITIVE_INFINITY, quota / 2);

		return usage > limit ? this.evict(usage - limit * (1 - SPARE)) : 0;
	}

	/** Removes the oldest contents until so many bytes are free, or none is left that may go. */
	async evict(bytes: number): Promise<number> {
		const candidates: { id: string; evicted?: 1; queued?: number; wanted?: 1 }[] = [];
		let freed = 0;

		for await (const { record } of this.older())
			candidates.push(record);
		for (const { id, evicted, queued, wanted } of candidates.reverse()) {
			if (freed >= bytes)
				break;
			if (evicted === undefined && queued === undefined && wanted === undefined)
				freed += await this.evictOne(id);
		}
		return freed;
	}

	private async evictOne(id: string): Promise<number> {
		const messages = await this.store.messages(id);
		const keys = messages.map(({ record }) => ({
			collection: 'messages' as const,
			id: record.id,
			conversation_id: id,
		}));
		let freed = 0;

		await this.store.change([conversationKey(id), ...keys], ([owner, ...loaded]) => {
			freed = 0;
			if (
				owner?.body === undefined ||
				owner.record?.queued !== undefined ||
				loaded.some(
					({ record }, n) =>
						record?.queued !== undefined ||
						record?.version !== messages[n]?.record.version,
				)
			)
				return { writes: [] };
			freed = messages.reduce(
				(sum, { body }) => sum + MESSAGE_BYTES + (body.doc.content?.length ?? 0),
				0,
			);
			return {
				writes: [
					{
						key: conversationKey(id),
						body: owner.body,
						queued: false,
						flags: { evicted: true, packed: false },
					},
				],
				drop: [id],
			};
		});
		return freed;
	}
}
