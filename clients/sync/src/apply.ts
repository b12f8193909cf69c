// What becomes of the records on the device when the server says what is stored.
import {
	type AnyDocument,
	type Collection,
	type ConversationDocument,
	type MessageDocument,
	type Resolve,
	isChanged,
	merge,
} from './documents.js';
import { type Body, type Key, type Loaded, type Plan, type Write, keyOf } from './store.js';

/** By which the list is ordered: the server's time, in milliseconds. */
function sortOf(collection: Collection, document: AnyDocument): { sort?: number } {
	const at =
		collection === 'conversations'
			? Date.parse((document as ConversationDocument).updated_at ?? '')
			: Number.NaN;

	return Number.isNaN(at) ? {} : { sort: at };
}

/** A record that is as the server has it. */
export function clean(collection: Collection, document: AnyDocument): Write {
	return {
		key: keyOf(collection, document),
		body: { doc: document },
		queued: false,
		...sortOf(collection, document),
		// What is new in a conversation is packed with it, when it is older again.
		flags: { packed: false },
	};
}

/** Adds to the plan what a stored document makes of a record: it is taken over, merged or removed. */
export function applyStored(
	plan: Plan,
	collection: Collection,
	answered: AnyDocument,
	{ record, body }: Loaded,
	resolve: Resolve,
): void {
	const key = keyOf(collection, answered);
	const { _deleted: deleted, ...rest } = answered;
	const stored = rest as AnyDocument;

	if (deleted) {
		remove(plan, key);
		return;
	}
	if (record?.queued === undefined || body === undefined) {
		plan.writes.push({ ...clean(collection, stored), body: { ...headOf(body), doc: stored } });
		return;
	}
	const mine = merge(collection, body.base, body.doc, stored, resolve);
	plan.writes.push(
		isChanged(collection, stored, mine)
			? {
					key,
					body: { ...headOf(body), doc: mine, base: stored, ...refusalOf(body, mine) },
					queued: true,
					...sortOf(collection, stored),
				}
			: { ...clean(collection, mine), body: { ...headOf(body), doc: mine } },
	);
}

/** A change that was refused stays refused as long as it is the same. */
function refusalOf(body: Body<AnyDocument>, mine: AnyDocument): Pick<Body<AnyDocument>, 'refusal'> {
	return body.refusal === undefined || mine._deleted !== body.doc._deleted
		? {}
		: { refusal: body.refusal };
}

function headOf(body: Body<AnyDocument> | undefined): Pick<Body<AnyDocument>, 'localHead'> {
	return body?.localHead === undefined ? {} : { localHead: body.localHead };
}

/** A conversation takes its messages with it. */
export function remove(plan: Plan, key: Key): void {
	plan.writes.push({ key, body: null, queued: false });
	if (key.collection === 'conversations')
		(plan.drop ??= []).push(key.id);
}

/**
 * Adds to the plan what an accepted push makes of a record.  `pushed` is the body that was sent:
 * what was changed since then stays in the queue.
 */
export function applyAccepted(
	plan: Plan,
	key: Key,
	pushed: Body<AnyDocument>,
	answer: AnyDocument | undefined,
	{ body }: Loaded,
): void {
	if (pushed.doc._deleted) {
		remove(plan, key);
		return;
	}
	// It was removed here meanwhile, with its conversation.
	if (body === undefined)
		return;
	const { _deleted: _not, ...known } = { ...pushed.base, ...pushed.doc, ...answer };
	const stored = known as AnyDocument;
	// What both have is the device's own newest; the server's part is taken over.
	const mine = { ...stored, ...editedSince(key.collection, pushed.doc, body.doc) };

	plan.writes.push(
		isChanged(key.collection, stored, mine)
			? { key, body: { ...headOf(body), doc: mine, base: stored }, queued: true }
			: { ...clean(key.collection, mine), body: { ...headOf(body), doc: mine } },
	);
}

function editedSince(
	collection: Collection,
	pushed: AnyDocument,
	now: AnyDocument,
): Partial<AnyDocument> {
	const [p, n] = [pushed, now] as unknown as Record<string, unknown>[];
	const fields =
		collection === 'messages'
			? ['role', 'content', 'model', 'metadata']
			: ['title', 'archived', 'metadata', 'head'];
	const edited: Record<string, unknown> = {};

	for (const field of [...fields, '_deleted'])
		if (n !== undefined && n[field] !== undefined && n[field] !== p?.[field])
			edited[field] = n[field];
	return edited as Partial<AnyDocument>;
}

/** The document of a push: without what is of no concern to the server. */
export function pushable(collection: Collection, document: AnyDocument): AnyDocument {
	const { id, _deleted } = document;

	if (collection === 'conversations') {
		const { title, archived, metadata, head, created_at } = document as ConversationDocument;
		return strip<ConversationDocument>({
			id,
			title,
			archived,
			metadata,
			head,
			created_at,
			_deleted,
		});
	}
	const { conversation_id, parent, role, content, model, tokens, metadata, created_at } =
		document as MessageDocument;
	return strip<MessageDocument>({
		id,
		conversation_id,
		parent,
		role,
		content,
		model,
		tokens,
		metadata,
		created_at,
		_deleted,
	});
}

function strip<D>(document: { [Field in keyof D]?: D[Field] | undefined }): D {
	return Object.fromEntries(
		Object.entries(document).filter(([, value]) => value !== undefined),
	) as D;
}
