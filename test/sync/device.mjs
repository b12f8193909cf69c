// A device: a copy of one account in RxDB, replicated through memory.pull and memory.push over a
// network that loses requests and answers.  What a client has to do beside calling the two
// functions is all here: see doc/sync.md.
import { createRxDatabase } from 'rxdb/plugins/core';
import { getRxStorageMemory } from 'rxdb/plugins/storage-memory';
import { replicateRxCollection } from 'rxdb/plugins/replication';
import { Subject } from 'rxjs';

export const COLLECTIONS = ['conversations', 'messages'];

const text = { type: ['string', 'null'] };
const schemas = {
	conversations: {
		version: 0, primaryKey: 'id', type: 'object', required: ['id'],
		properties: {
			id: { type: 'string', maxLength: 36 }, title: text, archived: { type: 'boolean' },
			metadata: { type: ['object', 'null'] }, head: text, message_count: { type: 'integer' },
			revision: { type: 'integer' }, created_at: text, updated_at: text,
		},
	},
	messages: {
		version: 0, primaryKey: 'id', type: 'object', required: ['id', 'conversation_id'],
		properties: {
			id: { type: 'string', maxLength: 255 }, conversation_id: { type: 'string' },
			seq: { type: 'integer' }, parent: text, role: text, content: text, model: text,
			tokens: { type: 'integer' }, metadata: { type: ['object', 'null'] },
			revision: { type: 'integer' }, created_at: text,
		},
	},
};

// The same text for the same value; null is as good as absent.
export const canonical = value => JSON.stringify(value, (_, v) =>
	v && typeof v === 'object' && !Array.isArray(v)
		? Object.fromEntries(Object.entries(v).filter(([, x]) => x !== null && x !== undefined).sort()) : v);

export const sleep = ms => new Promise(done => setTimeout(done, ms));

const EDITABLE = ['title', 'archived', 'metadata', 'head', 'role', 'content', 'model'];

// What a device does about a conflict: as the server, it merges field by field.  Where both sides
// have changed a field the stored one wins, unless nothing was known to be stored: then the device
// has made the document, and has changed it since it was pushed.
const conflictHandler = {
	isEqual: (a, b) => canonical(a) === canonical(b),
	async resolve({ assumedMasterState: base, realMasterState: stored, newDocumentState: mine }) {
		if (stored._deleted)
			return stored;
		if (mine._deleted)
			return { ...stored, _deleted: true };
		const merged = { ...stored };

		for (const field of EDITABLE)
			if (mine[field] !== undefined && (base === undefined || canonical(mine[field]) !== canonical(base[field])
				&& canonical(stored[field]) === canonical(base[field])))
				merged[field] = mine[field];
		return merged;
	},
};

let databases = 0;

export class Device {
	// world: {account, sql(text, values), random(), faults, batch, fault, acknowledged(document)}
	constructor(world, number) {
		this.world = world;
		this.number = number;
		this.online = true;
		this.skew = Math.floor((world.random() - 0.5) * 2 * 10 * 60 * 1000);	// of its clock
		this.gone = new Set();		// conversations that are known to be deleted
		this.restarts = 0;
		this.expired = false;
		this.refusals = {};
	}

	async start(kept = []) {
		this.db = await createRxDatabase({
			name: `device${databases++}`, storage: getRxStorageMemory(), multiInstance: false,
		});
		this.collections = await this.db.addCollections({
			conversations: { schema: schemas.conversations, conflictHandler },
			messages: { schema: schemas.messages, conflictHandler },
		});
		for (const [collection, document] of kept)
			await this.collections[collection].insert(document);
		this.streams = [];
		this.replications = COLLECTIONS.map(collection => {
			const stream = new Subject();

			this.streams.push(stream);
			return replicateRxCollection({
				collection: this.collections[collection], replicationIdentifier: 'memory',
				live: true, retryTime: 20, waitForLeadership: false,
				pull: {
					batchSize: this.world.batch, stream$: stream.asObservable(),
					handler: (checkpoint, size) => this.pull(collection, checkpoint, size),
				},
				push: { batchSize: this.world.batch, handler: rows => this.push(collection, rows) },
			});
		});
		this.poke();
	}

	// A hint that something may have changed.
	poke() {
		if (this.online)
			for (const stream of this.streams)
				stream.next('RESYNC');
	}

	// The network: a request is lost, or takes its time, or its answer is lost.
	async request(call) {
		const { random, faults } = this.world;

		if (!this.online || random() < faults.request)
			throw new Error('request lost');
		await sleep(random() * faults.delay);
		const answer = await call();
		await sleep(random() * faults.delay);
		if (!this.online || random() < faults.answer)
			throw new Error('answer lost');
		return answer;
	}

	async pull(collection, checkpoint, size) {
		const answer = await this.request(() => this.world.pull(collection, checkpoint, size))
			.catch(error => {
				if (error.code === 'MX010')
					this.expired = true;		// begin anew: see Device.renew
				throw error;
			});

		if (collection === 'conversations') {
			for (const document of answer.documents)
				if (document._deleted)
					await this.forget(document.id);
		} else
			for (const document of answer.documents)
				if (this.gone.has(document.conversation_id))
					document._deleted = true;
		return answer;
	}

	// A deleted conversation takes its messages with it.
	async forget(id) {
		this.gone.add(id);
		for (const message of await this.collections.messages.find({ selector: { conversation_id: id } }).exec())
			await message.incrementalRemove().catch(() => {});
	}

	async push(collection, rows) {
		const answer = await this.request(() => this.world.push(collection, rows));
		const conflicts = new Map(answer.conflicts.map(document => [document.id, document]));
		const refused = new Map(answer.refusals.map(refusal => [refusal.row, refusal]));

		for (const refusal of answer.refusals)
			this.refusals[refusal.sqlstate] = (this.refusals[refusal.sqlstate] ?? 0) + 1;
		for (const [number, row] of rows.entries())
			if (!refused.has(number) && !conflicts.has(row.newDocumentState.id))
				this.world.acknowledged(collection, row.newDocumentState);
		for (const [number, refusal] of refused)
			if (refusal.sqlstate === '23503') {
				// The parent was deleted so long ago that nobody knows where it was.
				const repaired = [{ ...rows[number], newDocumentState: { ...rows[number].newDocumentState } }];
				delete repaired[0].newDocumentState.parent;
				const again = await this.request(() => this.world.push(collection, repaired));

				if (again.refusals.length > 0)
					throw new Error(again.refusals[0].message);
				answer.stored.push(...again.stored);
				again.conflicts.forEach(document => conflicts.set(document.id, document));
			} else
				throw new Error(`${refusal.sqlstate} ${refusal.message}`);	// later again: a quota
		// RxDB replaces what it is told of by what is stored: the numbers that the server has given, too
		const pushed = new Map(rows.map(row => [row.newDocumentState.id, row.newDocumentState]));
		for (const document of answer.stored)
			conflicts.set(document.id, { ...pushed.get(document.id), ...document });
		return [...conflicts.values()];
	}

	// Drops the copy and begins anew; what was never pushed is kept.
	async renew() {
		const kept = [];

		this.expired = false;
		this.restarts++;
		await Promise.all(this.replications.map(replication => replication.cancel()));
		for (const collection of COLLECTIONS)
			for (const document of await this.collections[collection].find().exec())
				if (document.revision === undefined && !this.gone.has(document.conversation_id ?? document.id))
					kept.push([collection, document.toMutableJSON()]);
		await this.db.close();
		this.gone.clear();
		await this.start(kept);
	}

	async stop() {
		await Promise.all(this.replications.map(replication => replication.cancel()));
		await this.db.close();
	}

	now() {
		return new Date(Date.now() + this.skew).toISOString();
	}

	// collection/id → document
	async contents() {
		const all = new Map();

		for (const collection of COLLECTIONS)
			for (const document of await this.collections[collection].find().exec())
				all.set(`${collection}/${document.id}`, document.toMutableJSON());
		return all;
	}
}
