// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// The settings of the extension.
import type { Setting } from './base.js';

export const settings = {
	/** Confines the session to one account; other accounts are not found. */
	'memory_ext.account': {
		type: 'string',
		default: '',
		context: 'superuser',
		comment: 'Confines the session to one account; other accounts are not found.',
	},
	/** maintain() and bulk loads train a dictionary when there is enough content. */
	'memory_ext.auto_dictionary': {
		type: 'bool',
		default: 'on',
		context: 'user',
		comment: 'maintain() and bulk loads train a dictionary when there is enough content.',
	},
	/** A message whose created_at is older is an import: it counts as storage, not as this period's usage. */
	'memory_ext.backdated_after': {
		type: 'integer',
		unit: 's',
		default: '86400',
		min: '60',
		max: '2147483647',
		context: 'superuser',
		comment: 'A message whose created_at is older is an import: it counts as storage, not as this period\'s usage.',
	},
	/** Memory in which a statement's rows are collected and sorted before they are written. */
	'memory_ext.buffer_size': {
		type: 'integer',
		unit: 'kB',
		default: '-1',
		min: '-1',
		max: '2147483647',
		context: 'user',
		comment: 'Memory in which a statement\'s rows are collected and sorted before they are written.',
	},
	/** maintain() compacts a conversation that has been idle for this time. */
	'memory_ext.compact_after': {
		type: 'integer',
		unit: 's',
		default: '3600',
		min: '0',
		max: '2147483647',
		context: 'user',
		comment: 'maintain() compacts a conversation that has been idle for this time.',
	},
	/** How maintain() compresses the segments of idle conversations. */
	'memory_ext.compact_compression': {
		type: 'string',
		default: 'zstd:17',
		context: 'user',
		comment: 'How maintain() compresses the segments of idle conversations.',
	},
	/** Compaction merges segments up to this size before compression. */
	'memory_ext.compact_size': {
		type: 'integer',
		unit: 'kB',
		default: '1024',
		min: '64',
		max: '32768',
		context: 'user',
		comment: 'Compaction merges segments up to this size before compression.',
	},
	/** How new transcripts are compressed: zstd[:level], lz4 or none. */
	'memory_ext.compression': {
		type: 'string',
		default: 'zstd:3',
		context: 'user',
		comment: 'How new transcripts are compressed: zstd[:level], lz4 or none.',
	},
	/** Backdated messages count as usage of the day they were created. */
	'memory_ext.count_backdated': {
		type: 'bool',
		default: 'off',
		context: 'superuser',
		comment: 'Backdated messages count as usage of the day they were created.',
	},
	/** The largest size of a dictionary that is trained. */
	'memory_ext.dictionary_max_size': {
		type: 'integer',
		unit: 'kB',
		default: '1024',
		min: '110',
		max: '8192',
		context: 'user',
		comment: 'The largest size of a dictionary that is trained.',
	},
	/** A dictionary holds only text that so many accounts have in common. */
	'memory_ext.dictionary_min_accounts': {
		type: 'integer',
		default: '3',
		min: '1',
		max: '60',
		context: 'superuser',
		comment: 'A dictionary holds only text that so many accounts have in common.',
	},
	/** Percent that a new dictionary must save on held-out samples to be kept. */
	'memory_ext.dictionary_min_gain': {
		type: 'real',
		default: '5',
		min: '0',
		max: '99',
		context: 'user',
		comment: 'Percent that a new dictionary must save on held-out samples to be kept.',
	},
	/** How much content must exist before a dictionary is trained. */
	'memory_ext.dictionary_min_size': {
		type: 'integer',
		unit: 'kB',
		default: '8192',
		min: '1024',
		max: '2147483647',
		context: 'user',
		comment: 'How much content must exist before a dictionary is trained.',
	},
	/** The account that imported documents belong to. */
	'memory_ext.import_account': {
		type: 'string',
		default: '',
		context: 'user',
		comment: 'The account that imported documents belong to.',
	},
	/** Imported messages without a known time are history, not usage. */
	'memory_ext.import_as_history': {
		type: 'bool',
		default: 'off',
		context: 'user',
		comment: 'Imported messages without a known time are history, not usage.',
	},
	/** The delimiter of imported CSV. */
	'memory_ext.import_csv_delimiter': {
		type: 'string',
		default: ',',
		context: 'user',
		comment: 'The delimiter of imported CSV.',
	},
	/** The encoding of imported CSV. */
	'memory_ext.import_csv_encoding': {
		type: 'string',
		default: 'UTF8',
		context: 'user',
		comment: 'The encoding of imported CSV.',
	},
	/** The format of imported documents. */
	'memory_ext.import_format': {
		type: 'string',
		default: 'auto',
		context: 'user',
		comment: 'The format of imported documents.',
	},
	/** The largest size of an imported document. */
	'memory_ext.import_max_document': {
		type: 'integer',
		unit: 'kB',
		default: '65536',
		min: '1',
		max: '261120',
		context: 'user',
		comment: 'The largest size of an imported document.',
	},
	/** What an import does with a message that differs from the stored one. */
	'memory_ext.import_on_conflict': {
		type: 'enum',
		default: 'error',
		context: 'user',
		values: ['error', 'keep', 'replace', 'copy'],
		comment: 'What an import does with a message that differs from the stored one.',
	},
	/** What an import does with a document that cannot be stored. */
	'memory_ext.import_on_error': {
		type: 'enum',
		default: 'stop',
		context: 'user',
		values: ['stop', 'skip'],
		comment: 'What an import does with a document that cannot be stored.',
	},
	/** What an import does with the character with code 0. */
	'memory_ext.import_on_nul': {
		type: 'enum',
		default: 'error',
		context: 'user',
		values: ['error', 'replace'],
		comment: 'What an import does with the character with code 0.',
	},
	/** What an import does with half of a surrogate pair. */
	'memory_ext.import_on_surrogate': {
		type: 'enum',
		default: 'error',
		context: 'user',
		values: ['error', 'replace'],
		comment: 'What an import does with half of a surrogate pair.',
	},
	/** How long maintain() keeps ended jobs and their rejected documents. */
	'memory_ext.job_retention': {
		type: 'integer',
		unit: 's',
		default: '2592000',
		min: '0',
		max: '2147483647',
		context: 'user',
		comment: 'How long maintain() keeps ended jobs and their rejected documents.',
	},
	/** memory.forget keeps the numbers of an account's usage. */
	'memory_ext.keep_usage_of_forgotten': {
		type: 'bool',
		default: 'off',
		context: 'superuser',
		comment: 'memory.forget keeps the numbers of an account\'s usage.',
	},
	/** All jobs of the server have at most so many background workers. */
	'memory_ext.max_job_workers': {
		type: 'integer',
		default: '4',
		min: '1',
		max: '64',
		context: 'sighup',
		comment: 'All jobs of the server have at most so many background workers.',
	},
	/** A job has at most so many background workers. */
	'memory_ext.max_workers_per_job': {
		type: 'integer',
		default: '4',
		min: '1',
		max: '64',
		context: 'superuser',
		comment: 'A job has at most so many background workers.',
	},
	/** Who notifies channel memory_changes of accounts that have changed. */
	'memory_ext.notify': {
		type: 'enum',
		default: 'off',
		context: 'superuser',
		values: ['off', 'transaction'],
		comment: 'Who notifies channel memory_changes of accounts that have changed.',
	},
	/** How long maintain() keeps events that every consumer has acknowledged, and the request ids of recorded calls. */
	'memory_ext.outbox_retention': {
		type: 'integer',
		unit: 's',
		default: '604800',
		min: '0',
		max: '2147483647',
		context: 'superuser',
		comment: 'How long maintain() keeps events that every consumer has acknowledged, and the request ids of recorded calls.',
	},
	/** How often the worker notifies channel memory_changes at most. */
	'memory_ext.poke_delay': {
		type: 'integer',
		unit: 'ms',
		default: '50',
		min: '-1',
		max: '60000',
		context: 'sighup',
		comment: 'How often the worker notifies channel memory_changes at most.',
	},
	/** maintain() removes tombstones that are older than this. */
	'memory_ext.purge_after': {
		type: 'integer',
		unit: 's',
		default: '2592000',
		min: '0',
		max: '2147483647',
		context: 'user',
		comment: 'maintain() removes tombstones that are older than this.',
	},
	/** The hosts of Redis that the server may connect to. */
	'memory_ext.redis_hosts': {
		type: 'string',
		default: '',
		context: 'superuser',
		comment: 'The hosts of Redis that the server may connect to.',
	},
	/** maintain() seals a tail that has been idle for this time. */
	'memory_ext.seal_after': {
		type: 'integer',
		unit: 's',
		default: '300',
		min: '0',
		max: '2147483647',
		context: 'user',
		comment: 'maintain() seals a tail that has been idle for this time.',
	},
	/** Searches use the blocks that maintain() builds. */
	'memory_ext.search_blocks': {
		type: 'bool',
		default: 'on',
		context: 'user',
		comment: 'Searches use the blocks that maintain() builds.',
	},
	/** The newest so many messages that match are ranked by relevance. */
	'memory_ext.search_candidates': {
		type: 'integer',
		default: '2000',
		min: '1',
		max: '100000',
		context: 'user',
		comment: 'The newest so many messages that match are ranked by relevance.',
	},
	/** A conversation's tail is sealed when it has this many messages. */
	'memory_ext.segment_messages': {
		type: 'integer',
		default: '64',
		min: '1',
		max: '65536',
		context: 'user',
		comment: 'A conversation\'s tail is sealed when it has this many messages.',
	},
	/** A conversation's tail is sealed when its contents reach this size. */
	'memory_ext.segment_size': {
		type: 'integer',
		unit: 'kB',
		default: '64',
		min: '1',
		max: '32768',
		context: 'user',
		comment: 'A conversation\'s tail is sealed when its contents reach this size.',
	},
	/** maintain() writes each account's usage of each final day to the outbox. */
	'memory_ext.usage_events': {
		type: 'bool',
		default: 'off',
		context: 'superuser',
		comment: 'maintain() writes each account\'s usage of each final day to the outbox.',
	},
	/** New segments are compressed with the current dictionary of the database. */
	'memory_ext.use_dictionary': {
		type: 'bool',
		default: 'on',
		context: 'user',
		comment: 'New segments are compressed with the current dictionary of the database.',
	},
	/** Whether a background worker maintains each database. */
	'memory_ext.worker': {
		type: 'bool',
		default: 'on',
		context: 'sighup',
		comment: 'Whether a background worker maintains each database.',
	},
	/** The databases that are maintained, as a comma-separated list. */
	'memory_ext.worker_databases': {
		type: 'string',
		default: '',
		context: 'sighup',
		comment: 'The databases that are maintained, as a comma-separated list.',
	},
	/** How long a worker waits between two batches while others are at work. */
	'memory_ext.worker_delay': {
		type: 'integer',
		unit: 'ms',
		default: '10',
		min: '0',
		max: '10000',
		context: 'sighup',
		comment: 'How long a worker waits between two batches while others are at work.',
	},
	/** How many databases are maintained at the same time. */
	'memory_ext.worker_max_workers': {
		type: 'integer',
		default: '2',
		min: '1',
		max: '64',
		context: 'sighup',
		comment: 'How many databases are maintained at the same time.',
	},
	/** How long a database is left alone between two visits of the worker. */
	'memory_ext.worker_naptime': {
		type: 'integer',
		unit: 's',
		default: '60',
		min: '1',
		max: '86400',
		context: 'sighup',
		comment: 'How long a database is left alone between two visits of the worker.',
	},
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;
