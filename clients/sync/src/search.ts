// Search in what is on the device: all messages of the account are read, the newest conversations
// first, until enough are found.  The server's search finds more: it knows what is not here.
import { inOrder } from './branch.js';
import { type Place, type Store, placeOf } from './store.js';

export interface Found {
	conversation_id: string;
	title: string | null;
	/** The message; null: only the title has the words. */
	id: string | null;
	role: string | null;
	snippet: string;
	/** Pairs of where a match begins and ends in the snippet, in UTF-16 units. */
	highlights: number[];
}

export interface SearchOptions {
	/** Messages at most. */
	limit?: number;
	includeArchived?: boolean;
	/** Characters of a snippet, about. */
	snippetLength?: number;
	signal?: AbortSignal;
}

const STEP = 50;

/** The messages and titles that hold all words of the query, whatever their case. */
export async function searchStore(
	store: Store,
	query: string,
	options: SearchOptions,
): Promise<Found[]> {
	const words = [
		...new Set(
			fold(query)
				.split(/\s+/)
				.filter((word) => word !== ''),
		),
	];
	const limit = options.limit ?? 20;
	const found: Found[] = [];

	for (let below: Place | undefined; words.length > 0;) {
		const page = await store.conversations(below, STEP);
		for (const {
			record,
			body: { doc },
		} of page) {
			if (doc._deleted || (doc.archived && !options.includeArchived))
				continue;
			for (const match of await searchConversation(
				store,
				record.id,
				doc.title ?? null,
				words,
				options.snippetLength ?? 160,
			)) {
				options.signal?.throwIfAborted();
				found.push(match);
				if (found.length === limit)
					return found;
			}
		}
		const last = page.at(-1);
		if (page.length < STEP || last === undefined)
			break;
		below = placeOf(last.record);
	}
	return found;
}

async function searchConversation(
	store: Store,
	id: string,
	title: string | null,
	words: string[],
	length: number,
): Promise<Found[]> {
	const messages = inOrder((await store.messages(id)).map(({ body }) => body.doc))
		.filter((doc) => !doc._deleted)
		.reverse();
	const found: Found[] = [];

	for (const { id: message, role = null, content = '' } of messages)
		if (holds(content, words))
			found.push({
				conversation_id: id,
				title,
				id: message,
				role,
				...snippetOf(content, words, length),
			});
	if (found.length === 0 && title !== null && holds(title, words))
		found.push({
			conversation_id: id,
			title,
			id: null,
			role: null,
			...snippetOf(title, words, length),
		});
	return found;
}

function fold(text: string): string {
	return text.normalize('NFC').toLowerCase();
}

const holds = (text: string, words: string[]): boolean => {
	const folded = fold(text);
	return words.every((word) => folded.includes(word));
};

/** The part of a text around the first match, with all matches in it. */
function snippetOf(
	text: string,
	words: string[],
	length: number,
): { snippet: string; highlights: number[] } {
	// Letters that change their length when they are folded would shift what follows.
	const folded = fold(text).length === text.length ? fold(text) : text.toLowerCase();
	const first = Math.min(
		...words.map((word) => folded.indexOf(word)).filter((at) => at >= 0),
		text.length,
	);
	const start = boundary(text, Math.max(0, first - Math.floor(length / 4)), -1);
	const end = boundary(text, Math.min(text.length, start + length), 1);
	const ranges: [number, number][] = [];

	for (const word of words)
		for (
			let at = folded.indexOf(word, start);
			at >= 0 && at + word.length <= end;
			at = folded.indexOf(word, at + word.length)
		)
			ranges.push([at - start, at - start + word.length]);
	return { snippet: text.slice(start, end), highlights: joined(ranges).flat() };
}

/** Ranges in order, those that touch as one. */
function joined(ranges: [number, number][]): [number, number][] {
	const result: [number, number][] = [];

	for (const [from, to] of ranges.sort((a, b) => a[0] - b[0])) {
		const last = result.at(-1);
		if (last !== undefined && from <= last[1])
			last[1] = Math.max(last[1], to);
		else
			result.push([from, to]);
	}
	return result;
}

/** A place that is not within a surrogate pair and, where there is one near, beside a space. */
function boundary(text: string, at: number, step: 1 | -1): number {
	let place = at;

	for (let n = 0; n < 12 && place > 0 && place < text.length; n++, place += step)
		if (/\s/.test(text[place - 1] ?? ''))
			return place;
	place = place > 0 && place < text.length ? at : place;
	return /[\uDC00-\uDFFF]/.test(text[place] ?? '') ? place - 1 : place;
}
