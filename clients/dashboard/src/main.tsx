// The page: who is signed in, which view the address names, and how the connection is.
import { Live, type LiveState } from '@memory-ext/sync/live';
import { render } from 'preact';
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Api } from './api.js';
import { Browse } from './browse.js';
import { AppContext, Toasts, type Toast } from './context.js';
import { Quotas } from './quotas.js';
import { Search } from './search.js';
import './style.css';
import { texts } from './texts.js';
import { DropTarget, Transfer } from './transfer.js';
import { Usage } from './usage.js';

const TOKEN = 'memory-ext token';

/** A token in the address is taken out of it: addresses are shared and kept. */
function initialToken(): string {
	const given = /^#token=(.+)$/.exec(location.hash)?.[1];

	if (given !== undefined) {
		sessionStorage.setItem(TOKEN, given);
		history.replaceState(null, '', '#/');
	}
	return sessionStorage.getItem(TOKEN) ?? '';
}

function useRoute(): string[] {
	const read = () => location.hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
	const [route, setRoute] = useState(read);

	useEffect(() => {
		const listen = () => setRoute(read());
		addEventListener('hashchange', listen);
		return () => removeEventListener('hashchange', listen);
	}, []);
	return route;
}

/** Whether changes are heard of, and a number that grows with each. */
function useLive(token: string): { state: LiveState | 'offline'; revision: number } {
	const [state, setState] = useState<LiveState | 'offline'>('connecting');
	const [revision, setRevision] = useState(0);

	useEffect(() => {
		const live = new Live({
			url: new URL('.', location.href).href.replace(/\/$/, ''),
			token: () => token,
			onPoke: () => setRevision((before) => before + 1),
			onState: (next) => setState(navigator.onLine ? next : 'offline'),
		});
		const network = () => {
			setState(navigator.onLine ? 'connecting' : 'offline');
			if (navigator.onLine) {
				live.reconnect();
				setRevision((before) => before + 1);
			}
		};
		addEventListener('online', network);
		addEventListener('offline', network);
		return () => {
			removeEventListener('online', network);
			removeEventListener('offline', network);
			live.close();
		};
	}, [token]);
	return { state, revision };
}

const PAGES = [
	['', texts.conversations],
	['search', texts.search],
	['usage', texts.usage],
	['quotas', texts.quotas],
	['transfer', texts.transfer],
] as const;

function App({ token, onSignOut }: { token: string; onSignOut: (refused: boolean) => void }) {
	const route = useRoute();
	const { state, revision } = useLive(token);
	const [toasts, setToasts] = useState<Toast[]>([]);
	const counter = useRef(0);
	const api = useMemo(() => new Api(token, () => onSignOut(true)), [token]);
	const say = useCallback(
		(text: string) =>
			setToasts((before) => [...before.slice(-3), { id: ++counter.current, text }]),
		[],
	);
	const page = route[0] ?? '';
	const isPage = (name: string) => name === page || (name === '' && page === 'c');

	useEffect(() => {
		const keys = (event: KeyboardEvent) => {
			if (event.key !== '/' || isTyping(event))
				return;
			event.preventDefault();
			location.hash = '#/search';
		};
		addEventListener('keydown', keys);
		return () => removeEventListener('keydown', keys);
	}, []);
	useEffect(() => {
		// On a phone the pages do not all fit beside each other.
		document
			.querySelector('nav [aria-current]')
			?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
		document.title = `${PAGES.find(([name]) => isPage(name))?.[1] ?? texts.conversations} – ${texts.name}`;
	}, [page]);

	const offline = state === 'offline' || state === 'closed';
	return (
		<AppContext.Provider value={{ api, say, revision, offline }}>
			<a class="skip" href="#content" onClick={skip}>
				{texts.skip}
			</a>
			<header>
				<strong class="brand">{texts.name}</strong>
				<nav aria-label={texts.navigation}>
					{PAGES.map(([name, label]) => (
						<a
							key={name}
							href={`#/${name}`}
							aria-current={isPage(name) ? 'page' : undefined}
						>
							{label}
						</a>
					))}
				</nav>
				<span class={`live ${state}`} role="status">
					{state === 'open'
						? texts.live
						: offline
							? texts.offline.split('.')[0]
							: texts.connecting}
				</span>
				<button type="button" class="quiet" onClick={() => onSignOut(false)}>
					{texts.signOut}
				</button>
			</header>
			{offline && (
				<p class="banner" role="alert">
					{texts.offline}
				</p>
			)}
			<main id="content" tabIndex={-1}>
				{page === 'search' ? (
					<Search />
				) : page === 'usage' ? (
					<Usage />
				) : page === 'quotas' ? (
					<Quotas />
				) : page === 'transfer' ? (
					<Transfer />
				) : (
					<Browse
						chosen={page === 'c' ? (route[1] ?? null) : null}
						seq={Number(route[2] ?? 0)}
					/>
				)}
			</main>
			<DropTarget />
			<Toasts
				toasts={toasts}
				onClose={(id) => setToasts((before) => before.filter((toast) => toast.id !== id))}
			/>
		</AppContext.Provider>
	);
}

/** The address says which view is shown, so the link to the content must not change it. */
function skip(event: Event): void {
	event.preventDefault();
	document.getElementById('content')?.focus();
}

function isTyping(event: KeyboardEvent): boolean {
	return event.target instanceof HTMLElement && event.target.matches('input, textarea, select');
}

function SignIn({ refused, onToken }: { refused: boolean; onToken: (token: string) => void }) {
	const [token, setToken] = useState('');

	return (
		<main class="sign-in">
			<form
				onSubmit={(event) => {
					event.preventDefault();
					onToken(token.trim());
				}}
			>
				<h1>{texts.name}</h1>
				{refused && (
					<p role="alert" class="error">
						{texts.tokenRefused}
					</p>
				)}
				<label for="token">{texts.tokenLabel}</label>
				<input
					id="token"
					type="password"
					autocomplete="off"
					required
					aria-describedby="token-hint"
					value={token}
					onInput={({ currentTarget }) => setToken(currentTarget.value)}
				/>
				<p id="token-hint" class="hint">
					{texts.tokenHint}
				</p>
				<button type="submit">{texts.signIn}</button>
			</form>
		</main>
	);
}

function Root() {
	const [token, setToken] = useState(initialToken);
	const [refused, setRefused] = useState(false);

	const enter = (next: string, wasRefused: boolean) => {
		if (next === '')
			sessionStorage.removeItem(TOKEN);
		else
			sessionStorage.setItem(TOKEN, next);
		setToken(next);
		setRefused(wasRefused);
	};
	return token === '' ? (
		<SignIn refused={refused} onToken={(next) => enter(next, false)} />
	) : (
		<App token={token} onSignOut={(wasRefused) => enter('', wasRefused)} />
	);
}

render(<Root />, document.getElementById('app') as HTMLElement);
