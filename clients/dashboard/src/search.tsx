// Search in all messages, with filters.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Found } from './api.js';
import { Highlighted, messageOf, useApp } from './context.js';
import { format, texts } from './texts.js';

interface Filters {
	q: string;
	role: string;
	model: string;
	from: string;
	to: string;
	include_archived: boolean;
}

const NONE: Filters = { q: '', role: '', model: '', from: '', to: '', include_archived: false };
/** Remembered while the page is open, so that one comes back to what was found. */
let last = NONE;
/** Searching begins when nobody has typed for so long. */
const PAUSE_MS = 150;

interface Results {
	results: Found[];
	next: string | null;
}

/** The day after, for a filter that excludes its end. */
function dayAfter(day: string): string {
	return day === '' ? '' : new Date(Date.parse(day) + 86_400_000).toISOString();
}

export function Search() {
	const { api, say } = useApp();
	const [filters, setFilters] = useState(last);
	const [found, setFound] = useState<Results | null>(null);
	const input = useRef<HTMLInputElement>(null);

	const query = {
		...filters,
		from: filters.from === '' ? '' : `${filters.from}T00:00:00Z`,
		to: dayAfter(filters.to),
		limit: 30,
	};
	useEffect(() => input.current?.focus(), []);
	useEffect(() => {
		const abort = new AbortController();
		last = filters;
		if (filters.q.trim() === '') {
			setFound(null);
			return undefined;
		}
		const timer = setTimeout(() => {
			api.get<Results>('/search', query, abort.signal).then(setFound, (error: unknown) => {
				if (!abort.signal.aborted)
					say(texts.failed(messageOf(error)));
			});
		}, PAUSE_MS);
		return () => {
			clearTimeout(timer);
			abort.abort();
		};
	}, [filters, api]);
	const more = async () => {
		try {
			const page = await api.get<Results>('/search', { ...query, after: found?.next });
			setFound({ results: [...(found?.results ?? []), ...page.results], next: page.next });
		} catch (error) {
			say(texts.failed(messageOf(error)));
		}
	};
	const set = (changes: Partial<Filters>) => setFilters((before) => ({ ...before, ...changes }));

	return (
		<div class="page">
			<h1>{texts.search}</h1>
			<form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
				<p class="wide">
					<label for="q">{texts.searchLabel}</label>
					<input
						id="q"
						type="search"
						ref={input}
						value={filters.q}
						aria-describedby="q-hint"
						onInput={({ currentTarget }) => set({ q: currentTarget.value })}
					/>
					<span id="q-hint" class="hint">
						{texts.searchHint}
					</span>
				</p>
				<p>
					<label for="role">{texts.role}</label>
					<select
						id="role"
						value={filters.role}
						onChange={({ currentTarget }) => set({ role: currentTarget.value })}
					>
						<option value="">{texts.anyRole}</option>
						{Object.entries(texts.roles).map(([value, label]) => (
							<option key={value} value={value}>
								{label}
							</option>
						))}
					</select>
				</p>
				<p>
					<label for="model">{texts.model}</label>
					<input
						id="model"
						placeholder={texts.anyModel}
						value={filters.model}
						onChange={({ currentTarget }) => set({ model: currentTarget.value.trim() })}
					/>
				</p>
				<p>
					<label for="from">{texts.from}</label>
					<input
						id="from"
						type="date"
						value={filters.from}
						onChange={({ currentTarget }) => set({ from: currentTarget.value })}
					/>
				</p>
				<p>
					<label for="to">{texts.to}</label>
					<input
						id="to"
						type="date"
						value={filters.to}
						onChange={({ currentTarget }) => set({ to: currentTarget.value })}
					/>
				</p>
				<p class="check">
					<input
						id="old"
						type="checkbox"
						checked={filters.include_archived}
						onChange={({ currentTarget }) =>
							set({ include_archived: currentTarget.checked })
						}
					/>
					<label for="old">{texts.includeArchived}</label>
				</p>
			</form>
			<p class="hint" role="status">
				{found === null
					? ''
					: found.results.length === 0
						? texts.nothingFound
						: texts.found(found.results.length, found.next !== null)}
			</p>
			<ol class="results">
				{found?.results.map((result) => (
					<li key={`${result.conversation_id} ${result.seq}`}>
						<a href={`#/c/${result.conversation_id}/${result.seq}`}>
							{result.title ?? texts.untitled}
						</a>
						<p>
							<Highlighted text={result.snippet} highlights={result.highlights} />
						</p>
						<p class="hint">
							{[
								texts.roles[result.role] ?? result.role,
								result.model,
								format.time(result.created_at),
							]
								.filter(Boolean)
								.join(' · ')}
						</p>
					</li>
				))}
			</ol>
			{found?.next != null && (
				<button type="button" onClick={() => void more()}>
					{texts.more}
				</button>
			)}
		</div>
	);
}
