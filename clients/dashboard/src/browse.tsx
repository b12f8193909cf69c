// The list of conversations beside the one that is chosen.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { Change, Conversation } from './api.js';
import { messageOf, useApp } from './context.js';
import { ConversationView } from './conversation.js';
import { format, texts } from './texts.js';

const ROW = 60;
/** Rows above and below those that are seen. */
const MARGIN = 8;
const PAGE = 200;

/** What is shown of a change before the server has agreed, and what undoes it. */
export type Optimistic = (id: string, change: Partial<Conversation> | null) => () => void;

interface List {
	rows: Conversation[];
	next: string | null;
	loaded: boolean;
}

const EMPTY: List = { rows: [], next: null, loaded: false };

function useList(archived: boolean) {
	const { api, say, revision } = useApp();
	const [list, setList] = useState(EMPTY);
	const known = useRef<number | null>(null);
	const loading = useRef(false);

	const load = useCallback(
		async (after: string | null) => {
			if (loading.current)
				return;
			loading.current = true;
			try {
				const page = await api.get<{ conversations: Conversation[]; next: string | null }>(
					'/list',
					{
						archived: archived ? 'true' : '',
						limit: after === null ? 50 : PAGE,
						after,
					},
				);
				if (after === null)
					known.current = page.conversations[0]?.revision ?? known.current ?? 0;
				setList((before) => ({
					rows:
						after === null
							? page.conversations
							: joined(before.rows, page.conversations),
					next: page.next,
					loaded: true,
				}));
			} catch (error) {
				say(texts.failed(messageOf(error)));
			} finally {
				loading.current = false;
			}
		},
		[api, archived],
	);

	useEffect(() => {
		setList(EMPTY);
		known.current = null;
		void load(null);
	}, [load]);
	useEffect(() => {
		if (revision > 0 && known.current !== null)
			void catchUp(api, known, archived, setList);
	}, [revision]);
	return { list, setList, load };
}

/** Rows behind others; one that has moved up since is there already. */
function joined(rows: Conversation[], more: Conversation[]): Conversation[] {
	const known = new Set(rows.map((row) => row.conversation_id));

	return [...rows, ...more.filter((row) => !known.has(row.conversation_id))];
}

const CHANGES = 500;

/** Takes over what has changed since the newest row. */
async function catchUp(
	api: ReturnType<typeof useApp>['api'],
	known: { current: number | null },
	archived: boolean,
	setList: (update: (before: List) => List) => void,
): Promise<void> {
	try {
		for (let more = true; more;) {
			const { changes } = await api.get<{ changes: Change[] }>('/changes', {
				after_revision: known.current ?? 0,
				limit: CHANGES,
			});
			known.current = changes.at(-1)?.revision ?? known.current;
			if (changes.length > 0)
				setList((before) => ({ ...before, rows: applied(before.rows, changes, archived) }));
			more = changes.length >= CHANGES;
		}
	} catch {
		// The next change, or the connection that comes back, brings it.
	}
}

function applied(rows: Conversation[], changes: Change[], archived: boolean): Conversation[] {
	const changed = new Map(changes.map((change) => [change.conversation_id, change]));
	const old = new Map(rows.map((row) => [row.conversation_id, row]));
	const fresh = [...changed.values()]
		.filter((change) => !change.deleted && change.archived === archived)
		.reverse();

	return [
		...fresh.map((change) => ({ ...EMPTY_ROW, ...old.get(change.conversation_id), ...change })),
		...rows.filter((row) => !changed.has(row.conversation_id)),
	];
}

const EMPTY_ROW = { metadata: null, token_count: 0, content_bytes: 0 };

export function Browse({ chosen, seq }: { chosen: string | null; seq: number }) {
	const [archived, setArchived] = useState(false);
	const { list, setList, load } = useList(archived);

	const optimistic: Optimistic = (id, change) => {
		let undone: Conversation[] | undefined;
		setList((before) => {
			undone = before.rows;
			const rows =
				change === null || (change.archived !== undefined && change.archived !== archived)
					? before.rows.filter((row) => row.conversation_id !== id)
					: before.rows.map((row) =>
							row.conversation_id === id ? { ...row, ...change } : row,
						);
			return { ...before, rows };
		});
		return () => setList((before) => ({ ...before, rows: undone ?? before.rows }));
	};

	return (
		<div class={chosen === null ? 'browse' : 'browse chosen'}>
			<section class="list" aria-label={texts.conversations}>
				<div class="bar">
					{chosen === null ? (
						<h1>{texts.conversations}</h1>
					) : (
						<strong>{texts.conversations}</strong>
					)}
					<label for="archived">{texts.showing}</label>
					<select
						id="archived"
						value={String(archived)}
						onChange={({ currentTarget }) =>
							setArchived(currentTarget.value === 'true')
						}
					>
						<option value="false">{texts.current}</option>
						<option value="true">{texts.archived}</option>
					</select>
				</div>
				{!list.loaded ? (
					<p class="hint" role="status">
						{texts.loading}
					</p>
				) : list.rows.length === 0 ? (
					<p class="hint">{archived ? texts.noArchived : texts.noConversations}</p>
				) : (
					<Rows
						list={list}
						chosen={chosen}
						onEnd={() => list.next !== null && void load(list.next)}
					/>
				)}
			</section>
			<section class="detail" aria-label={texts.conversation}>
				{chosen === null ? (
					<p class="hint empty">
						{texts.choose}
						<br />
						{texts.keys}
					</p>
				) : (
					<ConversationView key={chosen} id={chosen} seq={seq} optimistic={optimistic} />
				)}
			</section>
		</div>
	);
}

/** Only the rows that are seen are in the document, however many there are. */
function Rows({ list, chosen, onEnd }: { list: List; chosen: string | null; onEnd: () => void }) {
	const box = useRef<HTMLDivElement>(null);
	const [view, setView] = useState({ top: 0, height: 800 });
	const { rows } = list;
	const first = Math.max(0, Math.floor(view.top / ROW) - MARGIN);
	const last = Math.min(rows.length, Math.ceil((view.top + view.height) / ROW) + MARGIN);

	useEffect(() => {
		const element = box.current;
		if (element === null)
			return undefined;
		const read = () => setView({ top: element.scrollTop, height: element.clientHeight });
		const observer = new ResizeObserver(read);
		observer.observe(element);
		element.addEventListener('scroll', read, { passive: true });
		return () => {
			observer.disconnect();
			element.removeEventListener('scroll', read);
		};
	}, []);
	useEffect(() => {
		if (last >= rows.length - MARGIN * 4)
			onEnd();
	}, [last, rows.length]);

	const move = (event: KeyboardEvent) => {
		const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[
			event.key
		];
		const current = document.activeElement?.getAttribute('data-row');
		if (step === undefined)
			return;
		event.preventDefault();
		focusRow(
			box.current,
			current == null
				? first
				: Math.min(rows.length - 1, Math.max(0, Number(current) + step)),
		);
	};
	return (
		<div
			class="rows"
			ref={box}
			onKeyDown={move}
			role="list"
			tabIndex={rows.length === 0 ? -1 : 0}
			aria-label={texts.conversations}
		>
			<div style={{ height: `${rows.length * ROW}px` }} role="presentation">
				{rows.slice(first, last).map((row, n) => (
					<div
						key={row.conversation_id}
						role="listitem"
						class="row"
						style={{ top: `${(first + n) * ROW}px` }}
						aria-setsize={list.next === null ? rows.length : -1}
						aria-posinset={first + n + 1}
					>
						<a
							href={`#/c/${row.conversation_id}`}
							data-row={first + n}
							aria-current={row.conversation_id === chosen ? 'true' : undefined}
						>
							<span class="title">{row.title ?? texts.untitled}</span>
							<span class="hint">
								{texts.messages(row.message_count)} · {format.date(row.updated_at)}
							</span>
						</a>
					</div>
				))}
			</div>
		</div>
	);
}

/** Scrolls a row into view and focuses it, which may not be in the document yet. */
function focusRow(box: HTMLElement | null, row: number): void {
	if (box === null)
		return;
	const [top, bottom] = [row * ROW, (row + 1) * ROW];

	if (top < box.scrollTop)
		box.scrollTop = top;
	else if (bottom > box.scrollTop + box.clientHeight)
		box.scrollTop = bottom - box.clientHeight;
	const focus = () => box.querySelector<HTMLElement>(`[data-row="${row}"]`)?.focus();
	focus();
	requestAnimationFrame(() => requestAnimationFrame(focus));
}
