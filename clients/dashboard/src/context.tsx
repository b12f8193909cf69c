// What all views share, and the small parts that they are made of.
import { type ComponentChildren, createContext } from 'preact';
import { useContext, useEffect, useRef } from 'preact/hooks';
import type { Api } from './api.js';
import { texts } from './texts.js';

export interface App {
	api: Api;
	/** Tells the person what went wrong. */
	say: (text: string) => void;
	/** Grows whenever the account may have changed. */
	revision: number;
	offline: boolean;
}

export const AppContext = createContext<App>(undefined as unknown as App);
export const useApp = (): App => useContext(AppContext);

export interface Toast {
	id: number;
	text: string;
}

export function Toasts({ toasts, onClose }: { toasts: Toast[]; onClose: (id: number) => void }) {
	return (
		<div class="toasts" role="alert">
			{toasts.map(({ id, text }) => (
				<p key={id}>
					<span>{text}</span>
					<button
						type="button"
						class="quiet"
						aria-label={texts.close}
						onClick={() => onClose(id)}
					>
						×
					</button>
				</p>
			))}
		</div>
	);
}

/** Asks before what cannot be undone. */
export function Confirm({
	question,
	action,
	onAnswer,
}: {
	question: string;
	action: string;
	onAnswer: (yes: boolean) => void;
}) {
	const dialog = useRef<HTMLDialogElement>(null);

	useEffect(() => dialog.current?.showModal(), []);
	return (
		<dialog
			ref={dialog}
			aria-label={question}
			onCancel={(event) => {
				event.preventDefault();
				onAnswer(false);
			}}
		>
			<p>{question}</p>
			<div class="actions">
				<button type="button" onClick={() => onAnswer(false)}>
					{texts.cancel}
				</button>
				<button type="button" class="danger" onClick={() => onAnswer(true)}>
					{action}
				</button>
			</div>
		</dialog>
	);
}

/** A text with parts of it marked; places are in characters, which are not always UTF-16 units. */
export function Highlighted({ text, highlights }: { text: string; highlights: readonly number[] }) {
	const characters = [...text];
	const parts: ComponentChildren[] = [];
	let at = 0;

	for (let n = 0; n + 1 < highlights.length; n += 2) {
		const [from = 0, to = 0] = [highlights[n], highlights[n + 1]];
		parts.push(
			characters.slice(at, from).join(''),
			<mark key={n}>{characters.slice(from, to).join('')}</mark>,
		);
		at = to;
	}
	parts.push(characters.slice(at).join(''));
	return <>{parts}</>;
}

export const messageOf = (error: unknown): string =>
	error instanceof Error ? error.message : String(error);
