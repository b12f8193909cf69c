// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Messages: append, read, edit; the composite type memory.message.
import type { Call, JsonValue, Relation, Timestamp, Uuid } from './base.js';

/** One message of a transcript; parent_seq: 0 is a root; NULL on input: the message before. */
export interface Message {
	seq: number;
	parent_seq: number | null;
	role: string;
	content: string;
	model: string | null;
	tokens: number | null;
	created_at: Timestamp;
	message_id: string | null;
	metadata: JsonValue;
	revision: number;
}

/** Type memory.message. */
export const messageType: Relation<Message> = {
	name: 'message',
	kind: 'type',
	columns: {
		seq: { type: 'bigint', nullable: false },
		parent_seq: { type: 'bigint', nullable: true },
		role: { type: 'text', nullable: false },
		content: { type: 'text', nullable: false },
		model: { type: 'text', nullable: true },
		tokens: { type: 'integer', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		message_id: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		revision: { type: 'bigint', nullable: false },
	},
	comment: 'one message of a transcript; parent_seq: 0 is a root; NULL on input: the message before',
};

/** Every message; INSERT, COPY, UPDATE and DELETE go through the store. */
export interface MessagesRow {
	/** The conversation; one that does not exist is created. */
	conversation_id: Uuid;
	/** Who owns the conversation; can be left out for a conversation that exists. */
	account_id: string;
	/** The message's number in its conversation, from 1; left out: the next one. */
	seq: number;
	/** The message that this one answers, 0: none; left out: the one before it. */
	parent_seq: number | null;
	/** Who speaks: user, assistant, system, tool, or any other. */
	role: string;
	/** The text. */
	content: string;
	/** The model that wrote it. */
	model: string | null;
	/** How many tokens it has; left out: estimated. */
	tokens: number | null;
	/** When it was written; left out: now. */
	created_at: Timestamp;
	/** The application's own id of the message. */
	message_id: string | null;
	/** Anything else, as a JSON object: tool calls, attachments. */
	metadata: JsonValue;
}

/** Table memory.messages. */
export const messagesRelation: Relation<MessagesRow> = {
	name: 'messages',
	kind: 'foreign table',
	columns: {
		conversation_id: { type: 'uuid', nullable: false, comment: 'the conversation; one that does not exist is created' },
		account_id: { type: 'text', nullable: false, comment: 'who owns the conversation; can be left out for a conversation that exists' },
		seq: { type: 'bigint', nullable: false, comment: 'the message\'s number in its conversation, from 1; left out: the next one' },
		parent_seq: { type: 'bigint', nullable: true, comment: 'the message that this one answers, 0: none; left out: the one before it' },
		role: { type: 'text', nullable: false, comment: 'who speaks: user, assistant, system, tool, or any other' },
		content: { type: 'text', nullable: false, comment: 'the text' },
		model: { type: 'text', nullable: true, comment: 'the model that wrote it' },
		tokens: { type: 'integer', nullable: true, comment: 'how many tokens it has; left out: estimated' },
		created_at: { type: 'timestamp with time zone', nullable: false, comment: 'when it was written; left out: now' },
		message_id: { type: 'text', nullable: true, comment: 'the application\'s own id of the message' },
		metadata: { type: 'jsonb', nullable: true, comment: 'anything else, as a JSON object: tool calls, attachments' },
	},
	comment: 'every message; INSERT, COPY, UPDATE and DELETE go through the store',
};

/** The arguments of memory.append. */
export interface AppendArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	role: string | null;
	content: string | null;
	model?: string | null | undefined;
	tokens?: number | null | undefined;
	metadata?: JsonValue | undefined;
	message_id?: string | null | undefined;
	parent_seq?: number | null | undefined;
	created_at?: Timestamp | null | undefined;
}

/** Appends a message and returns its seq; unknown accounts and conversations are created. */
export const append: Call<AppendArgs, number> = {
	name: 'append',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'role', type: 'text', optional: false },
		{ name: 'content', type: 'text', optional: false },
		{ name: 'model', type: 'text', optional: true },
		{ name: 'tokens', type: 'integer', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
		{ name: 'message_id', type: 'text', optional: true },
		{ name: 'parent_seq', type: 'bigint', optional: true },
		{ name: 'created_at', type: 'timestamp with time zone', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'appends a message and returns its seq; unknown accounts and conversations are created',
};

/** The arguments of memory.append. */
export interface AppendOfMessagesArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	messages: JsonValue;
}

/** Appends a JSON array of messages as one statement and returns their seqs. */
export const appendOfMessages: Call<AppendOfMessagesArgs, number[]> = {
	name: 'append',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'messages', type: 'jsonb', optional: false },
	],
	columns: {
		value: { type: 'bigint[]', nullable: false },
	},
	comment: 'appends a JSON array of messages as one statement and returns their seqs',
};

/** The arguments of memory.context. */
export interface ContextArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	max_tokens: number | null;
	max_messages?: number | null | undefined;
	include_system?: boolean | null | undefined;
}

/** The context window for a model: system messages, then the newest of the current branch that fit max_tokens; never begins with the result of a tool call. */
export const context: Call<ContextArgs, Message> = {
	name: 'context',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'max_tokens', type: 'integer', optional: false },
		{ name: 'max_messages', type: 'integer', optional: true },
		{ name: 'include_system', type: 'boolean', optional: true },
	],
	columns: {
		seq: { type: 'bigint', nullable: false },
		parent_seq: { type: 'bigint', nullable: true },
		role: { type: 'text', nullable: false },
		content: { type: 'text', nullable: false },
		model: { type: 'text', nullable: true },
		tokens: { type: 'integer', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		message_id: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		revision: { type: 'bigint', nullable: false },
	},
	comment: 'the context window for a model: system messages, then the newest of the current branch that fit max_tokens; never begins with the result of a tool call',
};

/** The arguments of memory.delete_message. */
export interface DeleteMessageArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	seq: number | null;
}

/** Deletes a message and returns the account's new revision; its answers become answers to its parent. */
export const deleteMessage: Call<DeleteMessageArgs, number> = {
	name: 'delete_message',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'seq', type: 'bigint', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'deletes a message and returns the account\'s new revision; its answers become answers to its parent',
};

/** The arguments of memory.edit_message. */
export interface EditMessageArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	seq: number | null;
	content?: string | null | undefined;
	role?: string | null | undefined;
	model?: string | null | undefined;
	tokens?: number | null | undefined;
	metadata?: JsonValue | undefined;
}

/** Changes the fields of a message that are not null and returns the account's new revision. */
export const editMessage: Call<EditMessageArgs, number | null> = {
	name: 'edit_message',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'seq', type: 'bigint', optional: false },
		{ name: 'content', type: 'text', optional: true },
		{ name: 'role', type: 'text', optional: true },
		{ name: 'model', type: 'text', optional: true },
		{ name: 'tokens', type: 'integer', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'changes the fields of a message that are not null and returns the account\'s new revision',
};

/** The arguments of memory.estimate_tokens. */
export interface EstimateTokensArgs {
	content: string | null;
}

/** An estimate of the tokens that a language model counts in a text. */
export const estimateTokens: Call<EstimateTokensArgs, number> = {
	name: 'estimate_tokens',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'content', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'integer', nullable: false },
	},
	comment: 'an estimate of the tokens that a language model counts in a text',
};

/** The arguments of memory.history. */
export interface HistoryArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	before_seq?: number | null | undefined;
	max_messages?: number | null | undefined;
}

/** The newest messages of the current branch, oldest first; before_seq pages backwards. */
export const history: Call<HistoryArgs, Message> = {
	name: 'history',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'before_seq', type: 'bigint', optional: true },
		{ name: 'max_messages', type: 'integer', optional: true },
	],
	columns: {
		seq: { type: 'bigint', nullable: false },
		parent_seq: { type: 'bigint', nullable: true },
		role: { type: 'text', nullable: false },
		content: { type: 'text', nullable: false },
		model: { type: 'text', nullable: true },
		tokens: { type: 'integer', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		message_id: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		revision: { type: 'bigint', nullable: false },
	},
	comment: 'the newest messages of the current branch, oldest first; before_seq pages backwards',
};

/** The arguments of memory.message. */
export interface MessageArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	seq: number | null;
}

/** One message of any branch. */
export const message: Call<MessageArgs, Message> = {
	name: 'message',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'seq', type: 'bigint', optional: false },
	],
	columns: {
		seq: { type: 'bigint', nullable: false },
		parent_seq: { type: 'bigint', nullable: true },
		role: { type: 'text', nullable: false },
		content: { type: 'text', nullable: false },
		model: { type: 'text', nullable: true },
		tokens: { type: 'integer', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		message_id: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		revision: { type: 'bigint', nullable: false },
	},
	comment: 'one message of any branch',
};

/** The arguments of memory.uuid_v7. */
export interface UuidV7Args {
}

/** A new version 7 UUID, as a conversation_id. */
export const uuidV7: Call<UuidV7Args, Uuid> = {
	name: 'uuid_v7',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'uuid', nullable: false },
	},
	comment: 'a new version 7 UUID, as a conversation_id',
};
