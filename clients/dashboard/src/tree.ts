// The branches of a conversation: a message may have several answers.
import type { Message } from './api.js';

export interface Tree {
	bySeq: Map<number, Message>;
	/** The answers to a message, oldest first; those to 0 are roots. */
	children: Map<number, number[]>;
}

export function treeOf(messages: readonly Message[]): Tree {
	const bySeq = new Map(messages.map((message) => [message.seq, message]));
	const children = new Map<number, number[]>();

	for (const { seq, parent_seq } of messages) {
		const parent = parent_seq !== null && bySeq.has(parent_seq) ? parent_seq : 0;
		children.set(parent, [...(children.get(parent) ?? []), seq]);
	}
	return { bySeq, children };
}

/** The messages from the root to a leaf, oldest first. */
export function pathTo(tree: Tree, leaf: number | null): Message[] {
	const path: Message[] = [];

	for (
		let message = tree.bySeq.get(leaf ?? 0);
		message !== undefined;
		message = tree.bySeq.get(message.parent_seq ?? 0)
	)
		path.push(message);
	return path.reverse();
}

/** The newest leaf below a message. */
export function leafBelow(tree: Tree, seq: number): number {
	let leaf = seq;

	for (
		let next = tree.children.get(leaf)?.at(-1);
		next !== undefined;
		next = tree.children.get(leaf)?.at(-1)
	)
		leaf = next;
	return leaf;
}

export function siblingsOf(tree: Tree, { parent_seq, seq }: Message): number[] {
	return (
		tree.children.get(parent_seq !== null && tree.bySeq.has(parent_seq) ? parent_seq : 0) ?? [
			seq,
		]
	);
}
