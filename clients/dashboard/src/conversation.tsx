// One conversation: its branches, and what is done with it and its messages.  Changes are shown at
// once, and undone with a word about it when the server refuses them.
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Refused, type Conversation, type Message } from './api.js';
import type { Optimistic } from './browse.js';
import { Confirm, messageOf, useApp } from './context.js';
import { format, texts } from './texts.js';
import { leafBelow, pathTo, siblingsOf, treeOf } from './tree.js';

interface Loaded {
	conversation: Conversation;
	messages: Message[];
}

const PAGE = 1000;

function useConversation(id: string) {
	const { api, say, revision } = useApp();
	const [loaded, setLoaded] = useState<Loaded | 'loading' | 'gone'>('loading');

	const load = useCallback(async () => {
		try {
			const conversation = await api.get<Conversation>(`/conversations/${id}`);
			const messages: Message[] = [];
			for (let more = true; more;) {
				const page = (
					await api.get<{ messages: Message[] }>(`/conversations/${id}/branches`, {
						after_seq: messages.at(-1)?.seq ?? 0,
						limit: PAGE,
					})
				).messages;
				messages.push(...page);
				more = page.length === PAGE;
			}
			setLoaded({ conversation, messages });
		} catch (error) {
			if (error instanceof Refused && error.status === 404)
				setLoaded('gone');
			else
				say(texts.failed(messageOf(error)));
		}
	}, [api, id]);

	useEffect(() => void load(), [load, revision]);
	return { loaded, setLoaded, load };
}

export function ConversationView({
	id,
	seq,
	optimistic,
}: {
	id: string;
	seq: number;
	optimistic: Optimistic;
}) {
	const { loaded, setLoaded, load } = useConversation(id);

	useEffect(() => {
		const keys = (event: KeyboardEvent) => {
			if (
				event.key === 'Escape' &&
				document.querySelector('dialog[open]') === null &&
				!(event.target as HTMLElement).matches('textarea, input')
			)
				location.hash = '#/';
		};
		addEventListener('keydown', keys);
		return () => removeEventListener('keydown', keys);
	}, []);
	if (loaded === 'loading')
		return (
			<p class="hint" role="status">
				{texts.loading}
			</p>
		);
	if (loaded === 'gone')
		return (
			<p class="hint">
				{texts.gone} <a href="#/">{texts.back}</a>
			</p>
		);
	return (
		<Opened
			loaded={loaded}
			setLoaded={setLoaded}
			seq={seq}
			optimistic={optimistic}
			reload={load}
		/>
	);
}

interface OpenedProps {
	loaded: Loaded;
	setLoaded: (loaded: Loaded) => void;
	seq: number;
	optimistic: Optimistic;
	reload: () => Promise<void>;
}

function Opened({ loaded, setLoaded, seq, optimistic, reload }: OpenedProps) {
	const { api, say } = useApp();
	const { conversation, messages } = loaded;
	const path = `/conversations/${conversation.conversation_id}`;
	const tree = useMemo(() => treeOf(messages), [messages]);
	const [leaf, setLeaf] = useState<number | null>(null);
	const shownLeaf =
		leaf !== null && tree.bySeq.has(leaf)
			? leaf
			: tree.bySeq.has(seq) &&
				  !pathTo(tree, conversation.head_seq).some((one) => one.seq === seq)
				? leafBelow(tree, seq)
				: conversation.head_seq;
	const shown = useMemo(() => pathTo(tree, shownLeaf), [tree, shownLeaf]);

	/** Shows a change, has it made, and undoes it when that is refused. */
	const attempt = async (
		what: string,
		next: Loaded,
		row: Partial<Conversation> | null | undefined,
		work: () => Promise<unknown>,
	) => {
		const undoRow =
			row === undefined ? () => {} : optimistic(conversation.conversation_id, row);
		setLoaded(next);
		try {
			await work();
			return true;
		} catch (error) {
			setLoaded(loaded);
			undoRow();
			say(texts.undone(what, messageOf(error)));
			return false;
		}
	};
	const change = (what: string, fields: Partial<Conversation>) =>
		attempt(what, { ...loaded, conversation: { ...conversation, ...fields } }, fields, () =>
			api.patch(path, fields),
		);
	const edit = (message: Message, content: string) =>
		attempt(
			texts.editedWas,
			{
				...loaded,
				messages: messages.map((one) =>
					one.seq === message.seq ? { ...one, content } : one,
				),
			},
			undefined,
			() => api.patch(`${path}/messages/${message.seq}`, { content }),
		);
	const remove = async (message: Message) => {
		// What answers it answers what came before.
		const rest = messages
			.filter((one) => one.seq !== message.seq)
			.map((one) =>
				one.parent_seq === message.seq ? { ...one, parent_seq: message.parent_seq } : one,
			);
		const head =
			conversation.head_seq === message.seq ? message.parent_seq : conversation.head_seq;
		if (
			await attempt(
				texts.deletedWas,
				{ messages: rest, conversation: { ...conversation, head_seq: head } },
				{ message_count: conversation.message_count - 1 },
				() => api.remove(`${path}/messages/${message.seq}`),
			)
		)
			await reload();
	};
	const removeAll = async () => {
		if (await attempt(texts.deletedWas, loaded, null, () => api.remove(path)))
			location.hash = '#/';
	};

	return (
		<article>
			<Head conversation={conversation} onChange={change} onRemove={removeAll} />
			{messages.length === 0 && <p class="hint">{texts.noMessages}</p>}
			{shown.map((message) => (
				<MessageView
					key={message.seq}
					message={message}
					siblings={siblingsOf(tree, message)}
					isSought={message.seq === seq}
					onBranch={(to) => setLeaf(leafBelow(tree, to))}
					onEdit={edit}
					onRemove={remove}
				/>
			))}
			{shownLeaf !== null && shownLeaf !== conversation.head_seq && shown.length > 0 && (
				<p class="actions">
					<button
						type="button"
						onClick={() => void change(texts.branchWas, { head_seq: shownLeaf })}
					>
						{texts.makeCurrent}
					</button>
				</p>
			)}
		</article>
	);
}

interface HeadProps {
	conversation: Conversation;
	onChange: (what: string, fields: Partial<Conversation>) => Promise<boolean>;
	onRemove: () => Promise<void>;
}

function Head({ conversation, onChange, onRemove }: HeadProps) {
	const { offline } = useApp();
	const [title, setTitle] = useState<string | null>(null);
	const [asking, setAsking] = useState(false);
	const name = conversation.title ?? texts.untitled;

	const save = (event: Event) => {
		event.preventDefault();
		if (title !== null && title !== conversation.title)
			void onChange(texts.renamed, { title });
		setTitle(null);
	};
	return (
		<div class="head">
			<a class="back" href="#/">
				← {texts.back}
			</a>
			{title === null ? (
				<h1>{name}</h1>
			) : (
				<form
					class="rename"
					onSubmit={save}
					onKeyDown={({ key }) => key === 'Escape' && setTitle(null)}
				>
					<label for="title">{texts.title}</label>
					<input
						id="title"
						value={title}
						ref={focusOnce}
						onInput={({ currentTarget }) => setTitle(currentTarget.value)}
					/>
					<button type="submit">{texts.save}</button>
					<button type="button" onClick={() => setTitle(null)}>
						{texts.cancel}
					</button>
				</form>
			)}
			<p class="hint">
				{texts.messages(conversation.message_count)} ·{' '}
				{texts.tokens(conversation.token_count)} ·{' '}
				{format.bytes(conversation.content_bytes)}
				{' · '}
				{format.time(conversation.updated_at)}
			</p>
			<div class="actions">
				<button
					type="button"
					disabled={offline}
					onClick={() => setTitle(conversation.title ?? '')}
				>
					{texts.rename}
				</button>
				<button
					type="button"
					disabled={offline}
					onClick={() =>
						void onChange(texts.archivedWas, { archived: !conversation.archived })
					}
				>
					{conversation.archived ? texts.unarchive : texts.archive}
				</button>
				<button
					type="button"
					class="danger"
					disabled={offline}
					onClick={() => setAsking(true)}
				>
					{texts.remove}
				</button>
			</div>
			{asking && (
				<Confirm
					question={texts.deleteConversation(name)}
					action={texts.remove}
					onAnswer={(yes) => {
						setAsking(false);
						if (yes)
							void onRemove();
					}}
				/>
			)}
		</div>
	);
}

interface MessageProps {
	message: Message;
	siblings: number[];
	/** Whether somebody came for this one. */
	isSought: boolean;
	onBranch: (seq: number) => void;
	onEdit: (message: Message, content: string) => Promise<boolean>;
	onRemove: (message: Message) => Promise<void>;
}

function MessageView({ message, siblings, isSought, onBranch, onEdit, onRemove }: MessageProps) {
	const { offline } = useApp();
	const [draft, setDraft] = useState<string | null>(null);
	const [asking, setAsking] = useState(false);
	const element = useRef<HTMLElement>(null);
	const role = texts.roles[message.role] ?? message.role;

	useEffect(() => {
		if (isSought)
			element.current?.scrollIntoView({ block: 'center' });
	}, [isSought]);
	const save = async () => {
		const content = draft ?? '';
		setDraft(null);
		// What was typed is not lost when it is refused.
		if (content !== message.content && !(await onEdit(message, content)))
			setDraft(content);
	};
	return (
		<section
			ref={element}
			class={`message ${message.role}${isSought ? ' sought' : ''}`}
			aria-label={`${role} ${message.seq}`}
		>
			<div class="meta">
				<strong>{role}</strong>
				<span class="hint">
					{[message.model, format.time(message.created_at)].filter(Boolean).join(' · ')}
				</span>
				<Branches message={message} siblings={siblings} onBranch={onBranch} />
			</div>
			{draft === null ? (
				<div class="content">{message.content}</div>
			) : (
				<div class="editing">
					<label for={`edit-${message.seq}`}>{texts.content}</label>
					<textarea
						id={`edit-${message.seq}`}
						rows={6}
						value={draft}
						ref={focusOnce}
						onInput={({ currentTarget }) => setDraft(currentTarget.value)}
						onKeyDown={(event) => {
							if (event.key === 'Escape')
								setDraft(null);
							else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey))
								void save();
						}}
					/>
					<div class="actions">
						<button type="button" onClick={() => void save()}>
							{texts.save}
						</button>
						<button type="button" onClick={() => setDraft(null)}>
							{texts.cancel}
						</button>
					</div>
				</div>
			)}
			{draft === null && (
				<div class="actions small">
					<button
						type="button"
						class="quiet"
						disabled={offline}
						onClick={() => setDraft(message.content)}
					>
						{texts.edit}
					</button>
					<button
						type="button"
						class="quiet"
						disabled={offline}
						onClick={() => setAsking(true)}
					>
						{texts.remove}
					</button>
				</div>
			)}
			{asking && (
				<Confirm
					question={texts.deleteMessage}
					action={texts.remove}
					onAnswer={(yes) => {
						setAsking(false);
						if (yes)
							void onRemove(message);
					}}
				/>
			)}
		</section>
	);
}

function Branches({
	message,
	siblings,
	onBranch,
}: Pick<MessageProps, 'message' | 'siblings' | 'onBranch'>) {
	const at = siblings.indexOf(message.seq);
	const [before, after] = [siblings[at - 1], siblings[at + 1]];

	if (siblings.length < 2)
		return null;
	return (
		<span class="branches">
			<button
				type="button"
				class="quiet"
				aria-label={texts.previousBranch}
				disabled={before === undefined}
				onClick={() => before !== undefined && onBranch(before)}
			>
				‹
			</button>
			<span>{texts.branch(at + 1, siblings.length)}</span>
			<button
				type="button"
				class="quiet"
				aria-label={texts.nextBranch}
				disabled={after === undefined}
				onClick={() => after !== undefined && onBranch(after)}
			>
				›
			</button>
		</span>
	);
}

/** Focuses what has just come. */
const focused = new WeakSet<HTMLElement>();
function focusOnce(element: HTMLElement | null): void {
	if (element !== null && !focused.has(element)) {
		focused.add(element);
		element.focus();
	}
}
