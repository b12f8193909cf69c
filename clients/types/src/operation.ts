// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// What operators need: maintenance, retention, erasure, access.
import type { Call, JsonValue, Relation, Timestamp, TranscriptText, Uuid } from './base.js';

/** The dictionaries of this database: size, percent saved on held-out samples, segments that need them. */
export interface DictionariesRow {
	dictionary_id: number | null;
	is_current: boolean | null;
	stale_at: Timestamp | null;
	created_at: Timestamp;
	dictionary_bytes: number | null;
	samples: number | null;
	sample_bytes: number | null;
	gain: number | null;
	segments: number | null;
}

/** View memory.dictionaries. */
export const dictionariesRelation: Relation<DictionariesRow> = {
	name: 'dictionaries',
	kind: 'view',
	columns: {
		dictionary_id: { type: 'bigint', nullable: true },
		is_current: { type: 'boolean', nullable: true },
		stale_at: { type: 'timestamp with time zone', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		dictionary_bytes: { type: 'integer', nullable: true },
		samples: { type: 'bigint', nullable: true },
		sample_bytes: { type: 'bigint', nullable: true },
		gain: { type: 'numeric', nullable: true },
		segments: { type: 'bigint', nullable: true },
	},
	comment: 'the dictionaries of this database: size, percent saved on held-out samples, segments that need them',
};

/** The arguments of memory.account_visible. */
export interface AccountVisibleArgs {
	account_id: string | null;
}

/** Whether this session may see the account: false when memory_ext.account confines it to another. */
export const accountVisible: Call<AccountVisibleArgs, boolean> = {
	name: 'account_visible',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'whether this session may see the account: false when memory_ext.account confines it to another',
};

/** The arguments of memory.compact_batch. */
export interface CompactBatchArgs {
	after_conversation_id: Uuid | null;
	after_account_id: string | null;
	max_conversations?: number | null | undefined;
	only_stale?: boolean | null | undefined;
}

/** A row of memory.compact_batch. */
export interface CompactBatchResult {
	conversation_id: Uuid | null;
	account_id: string | null;
	segments: number | null;
}

/** Compacts the next resting conversations behind a key; returns the key to go on behind (null: done) and how many segments were replaced. */
export const compactBatch: Call<CompactBatchArgs, CompactBatchResult> = {
	name: 'compact_batch',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'after_conversation_id', type: 'uuid', optional: false },
		{ name: 'after_account_id', type: 'text', optional: false },
		{ name: 'max_conversations', type: 'integer', optional: true },
		{ name: 'only_stale', type: 'boolean', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: true },
		account_id: { type: 'text', nullable: true },
		segments: { type: 'bigint', nullable: true },
	},
	comment: 'compacts the next resting conversations behind a key; returns the key to go on behind (null: done) and how many segments were replaced',
};

/** The arguments of memory.compact_begin. */
export interface CompactBeginArgs {
}

/** How segments are to be compressed by now, for memory.compact_end. */
export const compactBegin: Call<CompactBeginArgs, string> = {
	name: 'compact_begin',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'text', nullable: false },
	},
	comment: 'how segments are to be compressed by now, for memory.compact_end',
};

/** The arguments of memory.compact_end. */
export interface CompactEndArgs {
	compression: string | null;
}

/** Notes that all conversations were walked through with memory.compact_batch since compact_begin, so that the next walk is over what is new only. */
export const compactEnd: Call<CompactEndArgs, void> = {
	name: 'compact_end',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'compression', type: 'text', optional: false },
	],
	columns: {
	},
	comment: 'notes that all conversations were walked through with memory.compact_batch since compact_begin, so that the next walk is over what is new only',
};

/** The arguments of memory.drop_dictionaries. */
export interface DropDictionariesArgs {
}

/** Drops the dictionaries that are neither current nor needed; returns how many. */
export const dropDictionaries: Call<DropDictionariesArgs, number> = {
	name: 'drop_dictionaries',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'drops the dictionaries that are neither current nor needed; returns how many',
};

/** The arguments of memory.expire_batch. */
export interface ExpireBatchArgs {
	max_conversations?: number | null | undefined;
}

/** Deletes some (NULL: all) of the conversations whose retention has passed; returns how many. */
export const expireBatch: Call<ExpireBatchArgs, number | null> = {
	name: 'expire_batch',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'max_conversations', type: 'integer', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'deletes some (NULL: all) of the conversations whose retention has passed; returns how many',
};

/** The arguments of memory.forget. */
export interface ForgetArgs {
	account_id: string | null;
}

/** Erases an account with everything it has and returns a receipt; maintain() does what is pending. */
export const forget: Call<ForgetArgs, JsonValue> = {
	name: 'forget',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'erases an account with everything it has and returns a receipt; maintain() does what is pending',
};

/** The arguments of memory.grant_access. */
export interface GrantAccessArgs {
	role: string | null;
	level: string | null;
}

/** Grants a role the privileges of a monitor, reader, writer or operator. */
export const grantAccess: Call<GrantAccessArgs, void> = {
	name: 'grant_access',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'role', type: 'name', optional: false },
		{ name: 'level', type: 'text', optional: false },
	],
	columns: {
	},
	comment: 'grants a role the privileges of a monitor, reader, writer or operator',
};

/** The arguments of memory.maintain. */
export interface MaintainArgs {
	batch_size?: number | null | undefined;
}

/** Retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions. */
export const maintain: Call<MaintainArgs, void> = {
	name: 'maintain',
	kind: 'procedure',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'batch_size', type: 'integer', optional: true },
	],
	columns: {
	},
	comment: 'retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions',
};

/** The arguments of memory.protect. */
export interface ProtectArgs {
}

/** Makes a plain DROP EXTENSION fail, with the view memory.protection, which depends on the data. */
export const protect: Call<ProtectArgs, void> = {
	name: 'protect',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
	],
	columns: {
	},
	comment: 'makes a plain DROP EXTENSION fail, with the view memory.protection, which depends on the data',
};

/** The arguments of memory.purge. */
export interface PurgeArgs {
}

/** Removes the tombstones older than memory_ext.purge_after; returns how many. */
export const purge: Call<PurgeArgs, number> = {
	name: 'purge',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'removes the tombstones older than memory_ext.purge_after; returns how many',
};

/** The arguments of memory.revoke_access. */
export interface RevokeAccessArgs {
	role: string | null;
}

/** Revokes everything that grant_access can grant. */
export const revokeAccess: Call<RevokeAccessArgs, void> = {
	name: 'revoke_access',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'role', type: 'name', optional: false },
	],
	columns: {
	},
	comment: 'revokes everything that grant_access can grant',
};

/** The arguments of memory.seal. */
export interface SealArgs {
	account_id?: string | null | undefined;
	conversation_id?: Uuid | null | undefined;
}

/** Seals the tails of a conversation, an account, or all; returns how many conversations had one. */
export const seal: Call<SealArgs, number> = {
	name: 'seal',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'conversation_id', type: 'uuid', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'seals the tails of a conversation, an account, or all; returns how many conversations had one',
};

/** The arguments of memory.seal_batch. */
export interface SealBatchArgs {
	after_conversation_id: Uuid | null;
	after_account_id: string | null;
	max_conversations?: number | null | undefined;
}

/** A row of memory.seal_batch. */
export interface SealBatchResult {
	conversation_id: Uuid | null;
	account_id: string | null;
	sealed: number | null;
}

/** Seals the next idle tails behind a key; returns the key to go on behind (null: done) and how many were sealed. */
export const sealBatch: Call<SealBatchArgs, SealBatchResult> = {
	name: 'seal_batch',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'after_conversation_id', type: 'uuid', optional: false },
		{ name: 'after_account_id', type: 'text', optional: false },
		{ name: 'max_conversations', type: 'integer', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: true },
		account_id: { type: 'text', nullable: true },
		sealed: { type: 'bigint', nullable: true },
	},
	comment: 'seals the next idle tails behind a key; returns the key to go on behind (null: done) and how many were sealed',
};

/** The arguments of memory.seal_idle. */
export interface SealIdleArgs {
	max_conversations?: number | null | undefined;
}

/** Seals some (NULL: all) of the tails that have rested for memory_ext.seal_after; returns how many. */
export const sealIdle: Call<SealIdleArgs, number | null> = {
	name: 'seal_idle',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'max_conversations', type: 'integer', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'seals some (NULL: all) of the tails that have rested for memory_ext.seal_after; returns how many',
};

/** The arguments of memory.set_retention. */
export interface SetRetentionArgs {
	account_id: string | null;
	keep: string | null;
}

/** How long maintain() keeps conversations after their last change; null account_id: the default; null keep: no limit. */
export const setRetention: Call<SetRetentionArgs, void> = {
	name: 'set_retention',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'keep', type: 'interval', optional: false },
	],
	columns: {
	},
	comment: 'how long maintain() keeps conversations after their last change; null account_id: the default; null keep: no limit',
};

/** The arguments of memory.settle_batch. */
export interface SettleBatchArgs {
	part: string | null;
	from_block: number | null;
	to_block: number | null;
}

/** A row of memory.settle_batch. */
export interface SettleBatchResult {
	next_block: number | null;
	moved: number | null;
}

/** Moves rows of segments, their toast, or conversations from the end of the file into free space before it, so that VACUUM can shorten the file; returns where to go on (null: done) and how many were moved. */
export const settleBatch: Call<SettleBatchArgs, SettleBatchResult> = {
	name: 'settle_batch',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'part', type: 'text', optional: false },
		{ name: 'from_block', type: 'bigint', optional: false },
		{ name: 'to_block', type: 'bigint', optional: false },
	],
	columns: {
		next_block: { type: 'bigint', nullable: true },
		moved: { type: 'bigint', nullable: true },
	},
	comment: 'moves rows of segments, their toast, or conversations from the end of the file into free space before it, so that VACUUM can shorten the file; returns where to go on (null: done) and how many were moved',
};

/** The arguments of memory.settle_begin. */
export interface SettleBeginArgs {
	part: string | null;
	changed?: number | null | undefined;
	end_block?: number | null | undefined;
}

/** A row of memory.settle_begin. */
export interface SettleBeginResult {
	from_block: number | null;
	to_block: number | null;
}

/** The blocks at the end of segments, their toast, or conversations whose rows fit into free space before them; null: it is not worth it. */
export const settleBegin: Call<SettleBeginArgs, SettleBeginResult> = {
	name: 'settle_begin',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'part', type: 'text', optional: false },
		{ name: 'changed', type: 'bigint', optional: true },
		{ name: 'end_block', type: 'bigint', optional: true },
	],
	columns: {
		from_block: { type: 'bigint', nullable: true },
		to_block: { type: 'bigint', nullable: true },
	},
	comment: 'the blocks at the end of segments, their toast, or conversations whose rows fit into free space before them; null: it is not worth it',
};

/** The arguments of memory.settle_end. */
export interface SettleEndArgs {
	part: string | null;
}

/** Makes the indexes of segments, their toast, or conversations anew, after rows were moved, unless they are large; false: somebody uses them. */
export const settleEnd: Call<SettleEndArgs, boolean> = {
	name: 'settle_end',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'part', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'makes the indexes of segments, their toast, or conversations anew, after rows were moved, unless they are large; false: somebody uses them',
};

/** The arguments of memory.train_dictionary. */
export interface TrainDictionaryArgs {
	max_sample_bytes?: number | null | undefined;
	min_gain?: number | null | undefined;
}

/** A row of memory.train_dictionary. */
export interface TrainDictionaryResult {
	dictionary_id: number | null;
	dictionary_bytes: number | null;
	samples: number | null;
	accounts: number | null;
	gain: number | null;
}

/** Trains a zstd dictionary from the sealed segments and makes it the current one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept. */
export const trainDictionary: Call<TrainDictionaryArgs, TrainDictionaryResult> = {
	name: 'train_dictionary',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'max_sample_bytes', type: 'bigint', optional: true },
		{ name: 'min_gain', type: 'real', optional: true },
	],
	columns: {
		dictionary_id: { type: 'bigint', nullable: true },
		dictionary_bytes: { type: 'bigint', nullable: true },
		samples: { type: 'bigint', nullable: true },
		accounts: { type: 'bigint', nullable: true },
		gain: { type: 'real', nullable: true },
	},
	comment: 'trains a zstd dictionary from the sealed segments and makes it the current one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept',
};

/** The arguments of memory.train_if_due. */
export interface TrainIfDueArgs {
}

/** Trains a dictionary if memory_ext.auto_dictionary is on and enough has gathered; returns its id. */
export const trainIfDue: Call<TrainIfDueArgs, number> = {
	name: 'train_if_due',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'trains a dictionary if memory_ext.auto_dictionary is on and enough has gathered; returns its id',
};

/** The arguments of memory.unprotect. */
export interface UnprotectArgs {
}

/** Removes what memory.protect() has created. */
export const unprotect: Call<UnprotectArgs, void> = {
	name: 'unprotect',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
	],
	columns: {
	},
	comment: 'removes what memory.protect() has created',
};

/** The arguments of memory.verify. */
export interface VerifyArgs {
	account?: string | null | undefined;
}

/** A row of memory.verify. */
export interface VerifyResult {
	account_id: string;
	conversation_id: Uuid;
	problem: string | null;
}

/** Checks everything that is stored, of one account or of all (null): transcripts, counters, ranges of seq, heads, parents, revisions, dictionaries; no row: all is well. */
export const verify: Call<VerifyArgs, VerifyResult> = {
	name: 'verify',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account', type: 'text', optional: true },
	],
	columns: {
		account_id: { type: 'text', nullable: false },
		conversation_id: { type: 'uuid', nullable: false },
		problem: { type: 'text', nullable: true },
	},
	comment: 'checks everything that is stored, of one account or of all (null): transcripts, counters, ranges of seq, heads, parents, revisions, dictionaries; no row: all is well',
};

/** The arguments of memory.verify. */
export interface VerifyOfTranscriptArgs {
	arg1: TranscriptText | null;
}

/** True, or an error XX001 that says what is corrupt. */
export const verifyOfTranscript: Call<VerifyOfTranscriptArgs, boolean> = {
	name: 'verify',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'true, or an error XX001 that says what is corrupt',
};
