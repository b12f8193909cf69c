// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Conversations: the list, and what is done with one of them.
import type { Call, JsonValue, Relation, Timestamp, Uuid } from './base.js';

/** Every conversation; the last three columns are derived, INSERT and COPY ignore them. */
export interface ConversationsRow {
	/** The conversation; left out: a new version 7 UUID. */
	conversation_id: Uuid;
	/** Who owns it. */
	account_id: string;
	/** Its title. */
	title: string | null;
	/** Anything else, as a JSON object. */
	metadata: JsonValue;
	/** Whether memory.recent_conversations leaves it out. */
	archived: boolean;
	/** The last message of the current branch, which the next one answers; NULL: it has no message. */
	head_seq: number | null;
	/** When it was created. */
	created_at: Timestamp;
	/** When it was last changed. */
	updated_at: Timestamp;
	/** How many messages it has, on all branches. */
	message_count: number;
	/** How many tokens these have. */
	token_count: number;
	/** How many bytes are stored: of contents, metadata and title. */
	content_bytes: number;
}

/** Table memory.conversations. */
export const conversationsRelation: Relation<ConversationsRow> = {
	name: 'conversations',
	kind: 'foreign table',
	columns: {
		conversation_id: { type: 'uuid', nullable: false, comment: 'the conversation; left out: a new version 7 UUID' },
		account_id: { type: 'text', nullable: false, comment: 'who owns it' },
		title: { type: 'text', nullable: true, comment: 'its title' },
		metadata: { type: 'jsonb', nullable: true, comment: 'anything else, as a JSON object' },
		archived: { type: 'boolean', nullable: false, comment: 'whether memory.recent_conversations leaves it out' },
		head_seq: { type: 'bigint', nullable: true, comment: 'the last message of the current branch, which the next one answers; NULL: it has no message' },
		created_at: { type: 'timestamp with time zone', nullable: false, comment: 'when it was created' },
		updated_at: { type: 'timestamp with time zone', nullable: false, comment: 'when it was last changed' },
		message_count: { type: 'bigint', nullable: false, comment: 'how many messages it has, on all branches' },
		token_count: { type: 'bigint', nullable: false, comment: 'how many tokens these have' },
		content_bytes: { type: 'bigint', nullable: false, comment: 'how many bytes are stored: of contents, metadata and title' },
	},
	comment: 'every conversation; the last three columns are derived, INSERT and COPY ignore them',
};

/** The arguments of memory.create_conversation. */
export interface CreateConversationArgs {
	account_id: string | null;
	conversation_id?: Uuid | null | undefined;
	title?: string | null | undefined;
	metadata?: JsonValue | undefined;
	created_at?: Timestamp | null | undefined;
}

/** Creates an empty conversation and returns its id. */
export const createConversation: Call<CreateConversationArgs, Uuid> = {
	name: 'create_conversation',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: true },
		{ name: 'title', type: 'text', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
		{ name: 'created_at', type: 'timestamp with time zone', optional: true },
	],
	columns: {
		value: { type: 'uuid', nullable: false },
	},
	comment: 'creates an empty conversation and returns its id',
};

/** The arguments of memory.delete_conversation. */
export interface DeleteConversationArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
}

/** Deletes a conversation with all its messages and returns the account's new revision. */
export const deleteConversation: Call<DeleteConversationArgs, number> = {
	name: 'delete_conversation',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'deletes a conversation with all its messages and returns the account\'s new revision',
};

/** The arguments of memory.recent_conversations. */
export interface RecentConversationsArgs {
	account_id: string | null;
	before_revision?: number | null | undefined;
	before_updated_at?: Timestamp | null | undefined;
	before_conversation_id?: Uuid | null | undefined;
	max_conversations?: number | null | undefined;
	include_archived?: boolean | null | undefined;
}

/** A row of memory.recent_conversations. */
export interface RecentConversationsResult {
	conversation_id: Uuid;
	title: string | null;
	metadata: JsonValue;
	archived: boolean;
	head_seq: number | null;
	message_count: number;
	token_count: number;
	content_bytes: number;
	created_at: Timestamp;
	updated_at: Timestamp;
	revision: number;
}

/** An account's conversations, most recently changed first; the last row's revision, updated_at and conversation_id give the next page. */
export const recentConversations: Call<RecentConversationsArgs, RecentConversationsResult> = {
	name: 'recent_conversations',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'before_revision', type: 'bigint', optional: true },
		{ name: 'before_updated_at', type: 'timestamp with time zone', optional: true },
		{ name: 'before_conversation_id', type: 'uuid', optional: true },
		{ name: 'max_conversations', type: 'integer', optional: true },
		{ name: 'include_archived', type: 'boolean', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: false },
		title: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		archived: { type: 'boolean', nullable: false },
		head_seq: { type: 'bigint', nullable: true },
		message_count: { type: 'bigint', nullable: false },
		token_count: { type: 'bigint', nullable: false },
		content_bytes: { type: 'bigint', nullable: false },
		created_at: { type: 'timestamp with time zone', nullable: false },
		updated_at: { type: 'timestamp with time zone', nullable: false },
		revision: { type: 'bigint', nullable: false },
	},
	comment: 'an account\'s conversations, most recently changed first; the last row\'s revision, updated_at and conversation_id give the next page',
};

/** The arguments of memory.update_conversation. */
export interface UpdateConversationArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	title?: string | null | undefined;
	metadata?: JsonValue | undefined;
	archived?: boolean | null | undefined;
	head_seq?: number | null | undefined;
}

/** Sets the fields that are not null and returns the account's new revision. */
export const updateConversation: Call<UpdateConversationArgs, number | null> = {
	name: 'update_conversation',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'title', type: 'text', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
		{ name: 'archived', type: 'boolean', optional: true },
		{ name: 'head_seq', type: 'bigint', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'sets the fields that are not null and returns the account\'s new revision',
};

/** The arguments of memory.upsert_conversation. */
export interface UpsertConversationArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	title?: string | null | undefined;
	metadata?: JsonValue | undefined;
	archived?: boolean | null | undefined;
	head_seq?: number | null | undefined;
}

/** Creates a conversation, or sets the fields that are not null if it exists; returns whether it was created. */
export const upsertConversation: Call<UpsertConversationArgs, boolean | null> = {
	name: 'upsert_conversation',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'title', type: 'text', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
		{ name: 'archived', type: 'boolean', optional: true },
		{ name: 'head_seq', type: 'bigint', optional: true },
	],
	columns: {
		value: { type: 'boolean', nullable: true },
	},
	comment: 'creates a conversation, or sets the fields that are not null if it exists; returns whether it was created',
};
