// The documents that travel, as the manual on synchronization describes them, and how two changes
// of one document are brought together.
import type { ConversationsRow, JsonValue, MessagesRow } from '@memory-ext/types';

export type Collection = 'conversations' | 'messages';
export const COLLECTIONS: readonly Collection[] = ['conversations', 'messages'];

/** A conversation; what only the server knows is missing until it has answered. */
export interface ConversationDocument extends Partial<
	Pick<
		ConversationsRow,
		'title' | 'archived' | 'metadata' | 'created_at' | 'updated_at' | 'message_count'
	>
> {
	id: ConversationsRow['conversation_id'];
	/** The id of the current branch's last message. */
	head?: string | null;
	revision?: number;
	_deleted?: boolean;
}

/** A message; what only the server knows is missing until it has answered. */
export interface MessageDocument extends Partial<
	Pick<MessagesRow, 'seq' | 'role' | 'content' | 'model' | 'metadata' | 'created_at'>
> {
	id: string;
	conversation_id: MessagesRow['conversation_id'];
	/** The id of the message that it answers; null: a root. */
	parent?: string | null;
	tokens?: MessagesRow['tokens'];
	revision?: number;
	_deleted?: boolean;
}

export type AnyDocument = ConversationDocument | MessageDocument;

/** The fields that a device may change. */
export const EDITABLE = {
	conversations: ['title', 'archived', 'metadata', 'head'],
	messages: ['role', 'content', 'model', 'metadata'],
} as const;

/** The same text for the same value; null is as good as absent, and the order of keys is none. */
export function canonical(value: unknown): string {
	return (
		JSON.stringify(value, (_key, part: unknown) =>
			part !== null && typeof part === 'object' && !Array.isArray(part)
				? Object.fromEntries(
						Object.entries(part)
							.filter(([, inner]) => inner !== null && inner !== undefined)
							.sort(),
					)
				: part,
		) ?? 'null'
	);
}

export const isSame = (a: unknown, b: unknown): boolean =>
	canonical(a ?? null) === canonical(b ?? null);

/** A field that the device and somebody else have changed to different values. */
export interface Conflict {
	collection: Collection;
	id: string;
	conversation_id: string;
	field: string;
	/** What the device knew to be stored; undefined: it has made the document. */
	base: JsonValue | undefined;
	stored: JsonValue | undefined;
	mine: JsonValue | undefined;
}

/** Which value a field in conflict gets. */
export type Resolve = (conflict: Conflict) => JsonValue | undefined;

/**
 * The stored value wins, unless nothing was known to be stored: then the device has made the
 * document, and has changed it since it was pushed.
 */
export const resolveByDefault: Resolve = ({ base, stored, mine }) =>
	base === undefined ? mine : stored;

/**
 * What the device shows after it has learned what is stored: field by field, a change that only
 * one side made is taken, and one that both made is for resolve to decide.
 */
export function merge<D extends AnyDocument>(
	collection: Collection,
	base: D | undefined,
	mine: D,
	stored: D,
	resolve: Resolve,
): D {
	const merged = { ...stored } as Record<string, unknown>;
	const [b, m, s] = [base, mine, stored] as (Record<string, JsonValue | undefined> | undefined)[];

	if (mine._deleted)
		return { ...stored, _deleted: true };
	for (const field of EDITABLE[collection]) {
		const value = m?.[field];
		if (
			value === undefined ||
			(b !== undefined && isSame(value, b[field])) ||
			isSame(value, s?.[field])
		)
			continue;
		merged[field] =
			b !== undefined && isSame(s?.[field], b[field])
				? value
				: resolve({
						collection,
						id: mine.id,
						conversation_id: 'conversation_id' in mine ? mine.conversation_id : mine.id,
						field,
						base: b === undefined ? undefined : (b[field] ?? null),
						stored: s?.[field],
						mine: value,
					});
	}
	return merged as unknown as D;
}

/** Whether a document has changes that are not stored. */
export function isChanged(
	collection: Collection,
	base: AnyDocument | undefined,
	mine: AnyDocument,
): boolean {
	if (base === undefined || mine._deleted)
		return true;
	const [b, m] = [base, mine] as unknown as Record<string, unknown>[];
	return EDITABLE[collection].some(
		(field) => m?.[field] !== undefined && !isSame(m[field], b?.[field]),
	);
}

/** PostgreSQL stores no NUL and no half of a surrogate pair; a push that holds one would be refused as a whole. */
export function checkStorable(value: unknown): void {
	if (typeof value === 'string') {
		if (/\0|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(value))
			throw new TypeError('a text with a NUL or half of a surrogate pair cannot be stored');
	} else if (value !== null && typeof value === 'object')
		for (const [key, inner] of Object.entries(value)) {
			checkStorable(key);
			checkStorable(inner);
		}
}
