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

/** The phases of maintenance in this database, by a worker or by hand: state, progress, last and next run, last error. */
export interface MaintenanceRow {
	phase: string | null;
	/** Running, done, failed, waiting to try again (a worker does, at next_run), interrupted (cancelled, or its process died), never run. */
	state: string;
	by_worker: boolean | null;
	last_start: Timestamp | null;
	last_end: Timestamp | null;
	/** Items of the last run so far: conversations, segments, rows or events, as the phase has it. */
	done: number | null;
	/** At most so many items there were to look at; null: that is not known beforehand. */
	total: number | null;
	per_second: number | null;
	time_left: string | null;
	/** When a worker begins the phase again; null: no worker does. */
	next_run: Timestamp | null;
	failures: number | null;
	failed_at: Timestamp | null;
	error_sqlstate: string | null;
	error: string | null;
}

/** View memory.maintenance. */
export const maintenanceRelation: Relation<MaintenanceRow> = {
	name: 'maintenance',
	kind: 'view',
	columns: {
		phase: { type: 'text', nullable: true },
		state: { type: 'text', nullable: false, comment: 'running, done, failed, waiting to try again (a worker does, at next_run), interrupted (cancelled, or its process died), never run' },
		by_worker: { type: 'boolean', nullable: true },
		last_start: { type: 'timestamp with time zone', nullable: true },
		last_end: { type: 'timestamp with time zone', nullable: true },
		done: { type: 'bigint', nullable: true, comment: 'items of the last run so far: conversations, segments, rows or events, as the phase has it' },
		total: { type: 'bigint', nullable: true, comment: 'at most so many items there were to look at; null: that is not known beforehand' },
		per_second: { type: 'numeric', nullable: true },
		time_left: { type: 'interval', nullable: true },
		next_run: { type: 'timestamp with time zone', nullable: true, comment: 'when a worker begins the phase again; null: no worker does' },
		failures: { type: 'integer', nullable: true },
		failed_at: { type: 'timestamp with time zone', nullable: true },
		error_sqlstate: { type: 'text', nullable: true },
		error: { type: 'text', nullable: true },
	},
	comment: 'the phases of maintenance in this database, by a worker or by hand: state, progress, last and next run, last error',
};

/** Conversations that maintain() could not seal or compact: it goes on with the others, and tries again each time. */
export interface MaintenanceProblemsRow {
	account_id: string;
	conversation_id: Uuid;
	step: string | null;
	sqlstate: string | null;
	message: string | null;
	attempts: number | null;
	noted_at: Timestamp | null;
}

/** View memory.maintenance_problems. */
export const maintenanceProblemsRelation: Relation<MaintenanceProblemsRow> = {
	name: 'maintenance_problems',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		conversation_id: { type: 'uuid', nullable: false },
		step: { type: 'text', nullable: true },
		sqlstate: { type: 'text', nullable: true },
		message: { type: 'text', nullable: true },
		attempts: { type: 'bigint', nullable: true },
		noted_at: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'conversations that maintain() could not seal or compact: it goes on with the others, and tries again each time',
};

/** Numbers of this database for Prometheus; cheap in a store of any size: _conversations, _messages and _content_bytes are estimates from a sample beyond 16 MB of memory_store.conversations, those of tails beyond 4 MB of memory_store.tail, backlogs beyond 10,000 items; the backlog of "roll up calls" is always one. */
export interface MetricsRow {
	/** The metric; those in _total only grow, the others go up and down. */
	name: string;
	/** Relation, phase, state or consumer, where the metric has one value for each; \{\}: it has not. */
	labels: JsonValue;
	/** In the unit that the name ends in. */
	value: number;
}

/** View memory.metrics. */
export const metricsRelation: Relation<MetricsRow> = {
	name: 'metrics',
	kind: 'view',
	columns: {
		name: { type: 'text', nullable: false, comment: 'the metric; those in _total only grow, the others go up and down' },
		labels: { type: 'jsonb', nullable: false, comment: 'relation, phase, state or consumer, where the metric has one value for each; {}: it has not' },
		value: { type: 'double precision', nullable: false, comment: 'in the unit that the name ends in' },
	},
	comment: 'numbers of this database for Prometheus; cheap in a store of any size: _conversations, _messages and _content_bytes are estimates from a sample beyond 16 MB of memory_store.conversations, those of tails beyond 4 MB of memory_store.tail, backlogs beyond 10,000 items; the backlog of "roll up calls" is always one',
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

/** Grants a role the privileges of a monitor, reader, writer, operator or gateway. */
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
	comment: 'grants a role the privileges of a monitor, reader, writer, operator or gateway',
};

/** The arguments of memory.maintain. */
export interface MaintainArgs {
	batch_size?: number | null | undefined;
	phase?: string | null | undefined;
}

/** Retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions; with a phase, that one only. */
export const maintain: Call<MaintainArgs, void> = {
	name: 'maintain',
	kind: 'procedure',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'batch_size', type: 'integer', optional: true },
		{ name: 'phase', type: 'text', optional: true },
	],
	columns: {
	},
	comment: 'retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions; with a phase, that one only',
};

/** The arguments of memory.maintain_step. */
export interface MaintainStepArgs {
	phase: string | null;
	place: string | null;
	batch_size: number | null;
	only_phase?: string | null | undefined;
}

/** A row of memory.maintain_step. */
export interface MaintainStepResult {
	phase: string | null;
	place: string | null;
	done: number | null;
}

/** One batch of maintain(); returns with which phase and place the next one goes on (null phase: done), and how many items it did. */
export const maintainStep: Call<MaintainStepArgs, MaintainStepResult> = {
	name: 'maintain_step',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'phase', type: 'text', optional: false },
		{ name: 'place', type: 'text', optional: false },
		{ name: 'batch_size', type: 'integer', optional: false },
		{ name: 'only_phase', type: 'text', optional: true },
	],
	columns: {
		phase: { type: 'text', nullable: true },
		place: { type: 'text', nullable: true },
		done: { type: 'bigint', nullable: true },
	},
	comment: 'one batch of maintain(); returns with which phase and place the next one goes on (null phase: done), and how many items it did',
};

/** The arguments of memory.maintenance_is_running. */
export interface MaintenanceIsRunningArgs {
	pid: number | null;
	started_at: Timestamp | null;
}

/** Whether the process is in a statement that it began before that time. */
export const maintenanceIsRunning: Call<MaintenanceIsRunningArgs, boolean> = {
	name: 'maintenance_is_running',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'pid', type: 'integer', optional: false },
		{ name: 'started_at', type: 'timestamp with time zone', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'whether the process is in a statement that it began before that time',
};

/** The arguments of memory.next_maintenance. */
export interface NextMaintenanceArgs {
}

/** When the worker visits this database next; null: it does not. */
export const nextMaintenance: Call<NextMaintenanceArgs, Timestamp | null> = {
	name: 'next_maintenance',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'when the worker visits this database next; null: it does not',
};

/** The arguments of memory.protect. */
export interface ProtectArgs {
}

/** Makes a plain DROP EXTENSION refuse, by a view memory.protection that depends on the data. */
export const protect: Call<ProtectArgs, void> = {
	name: 'protect',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
	],
	columns: {
	},
	comment: 'makes a plain DROP EXTENSION refuse, by a view memory.protection that depends on the data',
};

/** The arguments of memory.recount. */
export interface RecountArgs {
	subscription_id: string | null;
}

/** Counts anew what stands in a subscription's accounts and what is reserved; returns whether the counters were wrong. */
export const recount: Call<RecountArgs, boolean> = {
	name: 'recount',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'subscription_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'counts anew what stands in a subscription\'s accounts and what is reserved; returns whether the counters were wrong',
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

/** Trains a zstd dictionary from text that accounts have in common and makes it the current one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept. */
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
	comment: 'trains a zstd dictionary from text that accounts have in common and makes it the current one if held-out samples shrink by min_gain percent; dictionary_id is null if it was not kept',
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
