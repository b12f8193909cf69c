// The current branch of a conversation, from what is on the device.
import type { MessageDocument } from './documents.js';

/**
 * The messages from the root to the head, oldest first.  A deleted message is passed over, and so
 * is a parent that is not here: then what came before it, by number, is the one that was answered.
 */
export function branchOf(
	messages: readonly MessageDocument[],
	head: string | null | undefined,
): MessageDocument[] {
	const byId = new Map(messages.map((message) => [message.id, message]));
	const ordered = inOrder(messages);
	const branch: MessageDocument[] = [];
	const seen = new Set<string>();
	let next = (head == null ? undefined : byId.get(head)) ?? ordered.at(-1);

	while (next !== undefined && !seen.has(next.id)) {
		const message: MessageDocument = next;
		seen.add(message.id);
		if (!message._deleted)
			branch.push(message);
		if (message.parent === null)
			break;
		next =
			(message.parent === undefined ? undefined : byId.get(message.parent)) ??
			before(ordered, message);
	}
	return branch.reverse();
}

/** In order of number; those that have none yet are the newest, as they were written. */
export function inOrder(messages: readonly MessageDocument[]): MessageDocument[] {
	return [...messages].sort((a, b) => place(a) - place(b) || compare(a.created_at, b.created_at));
}

const place = (message: MessageDocument): number => message.seq ?? Number.MAX_SAFE_INTEGER;
const compare = (a = '', b = ''): number => (a < b ? -1 : Number(a > b));

function before(ordered: MessageDocument[], message: MessageDocument): MessageDocument | undefined {
	return ordered.filter((other) => place(other) < place(message)).at(-1);
}
