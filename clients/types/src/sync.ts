// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Synchronization with devices, and the feed of changes.
import type { Call, JsonValue, Timestamp, Uuid } from './base.js';

/** The arguments of memory.changes. */
export interface ChangesArgs {
	account_id: string | null;
	after_revision?: number | null | undefined;
	max_rows?: number | null | undefined;
}

/** A row of memory.changes. */
export interface ChangesResult {
	revision: number;
	conversation_id: Uuid;
	deleted: boolean | null;
	title: string | null;
	archived: boolean;
	head_seq: number | null;
	message_count: number;
	created_at: Timestamp;
	updated_at: Timestamp;
}

/** The conversations that were changed or deleted after a revision, in order of revision; the last row's revision goes on from there. */
export const changes: Call<ChangesArgs, ChangesResult> = {
	name: 'changes',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'after_revision', type: 'bigint', optional: true },
		{ name: 'max_rows', type: 'integer', optional: true },
	],
	columns: {
		revision: { type: 'bigint', nullable: false },
		conversation_id: { type: 'uuid', nullable: false },
		deleted: { type: 'boolean', nullable: true },
		title: { type: 'text', nullable: true },
		archived: { type: 'boolean', nullable: false },
		head_seq: { type: 'bigint', nullable: true },
		message_count: { type: 'bigint', nullable: false },
		created_at: { type: 'timestamp with time zone', nullable: false },
		updated_at: { type: 'timestamp with time zone', nullable: false },
	},
	comment: 'the conversations that were changed or deleted after a revision, in order of revision; the last row\'s revision goes on from there',
};

/** The arguments of memory.current_revision. */
export interface CurrentRevisionArgs {
	account_id: string | null;
}

/** The revision of the account's last change; 0: there is no such account. */
export const currentRevision: Call<CurrentRevisionArgs, number> = {
	name: 'current_revision',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'the revision of the account\'s last change; 0: there is no such account',
};

/** The arguments of memory.pull. */
export interface PullArgs {
	account_id: string | null;
	collection: string | null;
	checkpoint?: JsonValue | undefined;
	max_documents?: number | null | undefined;
	max_bytes?: number | null | undefined;
	since?: Timestamp | null | undefined;
	max_conversations?: number | null | undefined;
}

/** The documents of a collection (conversations, messages) that have changed since a checkpoint, and the next checkpoint. */
export const pull: Call<PullArgs, JsonValue> = {
	name: 'pull',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'collection', type: 'text', optional: false },
		{ name: 'checkpoint', type: 'jsonb', optional: true },
		{ name: 'max_documents', type: 'integer', optional: true },
		{ name: 'max_bytes', type: 'integer', optional: true },
		{ name: 'since', type: 'timestamp with time zone', optional: true },
		{ name: 'max_conversations', type: 'integer', optional: true },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'the documents of a collection (conversations, messages) that have changed since a checkpoint, and the next checkpoint',
};

/** The arguments of memory.pull_conversation. */
export interface PullConversationArgs {
	account_id: string | null;
	conversation_id: Uuid | null;
	after_seq?: number | null | undefined;
	max_documents?: number | null | undefined;
	max_bytes?: number | null | undefined;
}

/** The documents of one conversation and its messages, for a device that has not pulled them. */
export const pullConversation: Call<PullConversationArgs, JsonValue> = {
	name: 'pull_conversation',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'conversation_id', type: 'uuid', optional: false },
		{ name: 'after_seq', type: 'bigint', optional: true },
		{ name: 'max_documents', type: 'integer', optional: true },
		{ name: 'max_bytes', type: 'integer', optional: true },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'the documents of one conversation and its messages, for a device that has not pulled them',
};

/** The arguments of memory.push. */
export interface PushArgs {
	account_id: string | null;
	collection: string | null;
	rows: JsonValue;
}

/** Stores the documents that a device has changed; returns the stored ones of those in conflict, and what was refused. */
export const push: Call<PushArgs, JsonValue> = {
	name: 'push',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'collection', type: 'text', optional: false },
		{ name: 'rows', type: 'jsonb', optional: false },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'stores the documents that a device has changed; returns the stored ones of those in conflict, and what was refused',
};

/** The arguments of memory.renew_epoch. */
export interface RenewEpochArgs {
}

/** Makes all devices start over, for a server that was restored from an older backup. */
export const renewEpoch: Call<RenewEpochArgs, Uuid> = {
	name: 'renew_epoch',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'uuid', nullable: false },
	},
	comment: 'makes all devices start over, for a server that was restored from an older backup',
};
