// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Import and export, formats, jobs, Redis, transcripts.
import type { Call, JsonValue, Relation, Timestamp, TranscriptText, Uuid } from './base.js';
import type { Message } from './message.js';

/** COPY the lines of a file with JSON documents here: conversations of any known format. */
export interface ImportDocumentsRow {
	/** A line of the file; documents may have many lines. */
	line: string | null;
}

/** Table memory.import_documents. */
export const importDocumentsRelation: Relation<ImportDocumentsRow> = {
	name: 'import_documents',
	kind: 'foreign table',
	columns: {
		line: { type: 'text', nullable: true, comment: 'a line of the file; documents may have many lines' },
	},
	comment: 'COPY the lines of a file with JSON documents here: conversations of any known format',
};

/** COPY the lines of a file here for memory.import_staged, which deletes them. */
export interface ImportStageRow {
	line_id: number;
	staged_by: string;
	account_id: string;
	line: string;
}

/** Table memory.import_stage. */
export const importStageRelation: Relation<ImportStageRow> = {
	name: 'import_stage',
	kind: 'table',
	columns: {
		line_id: { type: 'bigint', nullable: false },
		staged_by: { type: 'regrole', nullable: false },
		account_id: { type: 'text', nullable: false },
		line: { type: 'text', nullable: false },
	},
	comment: 'COPY the lines of a file here for memory.import_staged, which deletes them',
};

/** Documents that imports rejected, or stored although they had a defect: where, why, and, for who imported them, their beginning. */
export interface JobErrorsRow {
	job_id: number;
	document: number | null;
	line: number | null;
	byte_offset: number | null;
	reason: string | null;
	path: string | null;
	message: string | null;
	excerpt: string | null;
	account_id: string | null;
	conversation_id: Uuid | null;
	rejected_at: Timestamp | null;
	rejected: boolean;
}

/** View memory.job_errors. */
export const jobErrorsRelation: Relation<JobErrorsRow> = {
	name: 'job_errors',
	kind: 'view',
	columns: {
		job_id: { type: 'bigint', nullable: false },
		document: { type: 'bigint', nullable: true },
		line: { type: 'bigint', nullable: true },
		byte_offset: { type: 'bigint', nullable: true },
		reason: { type: 'text', nullable: true },
		path: { type: 'text', nullable: true },
		message: { type: 'text', nullable: true },
		excerpt: { type: 'text', nullable: true },
		account_id: { type: 'text', nullable: true },
		conversation_id: { type: 'uuid', nullable: true },
		rejected_at: { type: 'timestamp with time zone', nullable: true },
		rejected: { type: 'boolean', nullable: false },
	},
	comment: 'documents that imports rejected, or stored although they had a defect: where, why, and, for who imported them, their beginning',
};

/** Imports and exports: their progress, and how they ended. */
export interface JobsRow {
	job_id: number;
	kind: string;
	source: string | null;
	format: string | null;
	account_id: string | null;
	target: string | null;
	state: string;
	percent: number | null;
	documents: number;
	imported: number;
	extended: number;
	unchanged: number;
	rejected: number;
	messages: number;
	bytes: number | null;
	total_bytes: number | null;
	rows_per_second: number | null;
	bytes_per_second: number | null;
	time_left: string | null;
	workers: number | null;
	started_by: string | null;
	started_at: Timestamp;
	finished_at: Timestamp | null;
	options: JsonValue;
	sqlstate: string | null;
	error: string | null;
}

/** View memory.jobs. */
export const jobsRelation: Relation<JobsRow> = {
	name: 'jobs',
	kind: 'view',
	columns: {
		job_id: { type: 'bigint', nullable: false },
		kind: { type: 'text', nullable: false },
		source: { type: 'text', nullable: true },
		format: { type: 'text', nullable: true },
		account_id: { type: 'text', nullable: true },
		target: { type: 'text', nullable: true },
		state: { type: 'text', nullable: false },
		percent: { type: 'numeric', nullable: true },
		documents: { type: 'bigint', nullable: false },
		imported: { type: 'bigint', nullable: false },
		extended: { type: 'bigint', nullable: false },
		unchanged: { type: 'bigint', nullable: false },
		rejected: { type: 'bigint', nullable: false },
		messages: { type: 'bigint', nullable: false },
		bytes: { type: 'bigint', nullable: true },
		total_bytes: { type: 'bigint', nullable: true },
		rows_per_second: { type: 'bigint', nullable: true },
		bytes_per_second: { type: 'bigint', nullable: true },
		time_left: { type: 'interval', nullable: true },
		workers: { type: 'integer', nullable: true },
		started_by: { type: 'text', nullable: true },
		started_at: { type: 'timestamp with time zone', nullable: false },
		finished_at: { type: 'timestamp with time zone', nullable: true },
		options: { type: 'jsonb', nullable: true },
		sqlstate: { type: 'text', nullable: true },
		error: { type: 'text', nullable: true },
	},
	comment: 'imports and exports: their progress, and how they ended',
};

/** Addresses of Redis servers with their passwords, by the name that memory.redis_import and redis_export take. */
export interface RedisServersRow {
	name: string;
	/** Redis://user:password\@host:port/database or unix://user:password\@/path?db=N. */
	url: string;
}

/** Table memory.redis_servers. */
export const redisServersRelation: Relation<RedisServersRow> = {
	name: 'redis_servers',
	kind: 'table',
	columns: {
		name: { type: 'text', nullable: false },
		url: { type: 'text', nullable: false, comment: 'redis://user:password@host:port/database or unix://user:password@/path?db=N' },
	},
	comment: 'addresses of Redis servers with their passwords, by the name that memory.redis_import and redis_export take',
};

/** The arguments of memory.cancel_job. */
export interface CancelJobArgs {
	job_id: number | null;
}

/** Asks a job to stop after the current batches of its workers; false: it has already ended. */
export const cancelJob: Call<CancelJobArgs, boolean> = {
	name: 'cancel_job',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'job_id', type: 'bigint', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'asks a job to stop after the current batches of its workers; false: it has already ended',
};

/** The arguments of memory.clear_stage. */
export interface ClearStageArgs {
}

/** Deletes the lines that the role has copied into memory.import_stage; returns how many. */
export const clearStage: Call<ClearStageArgs, number> = {
	name: 'clear_stage',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'deletes the lines that the role has copied into memory.import_stage; returns how many',
};

/** The arguments of memory.compress. */
export interface CompressArgs {
	data: string | null;
	method?: string | null | undefined;
}

/** The data compressed as zstd:level, lz4 or none, in a frame with a checksum. */
export const compress: Call<CompressArgs, string> = {
	name: 'compress',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'data', type: 'bytea', optional: false },
		{ name: 'method', type: 'text', optional: true },
	],
	columns: {
		value: { type: 'bytea', nullable: false },
	},
	comment: 'the data compressed as zstd:level, lz4 or none, in a frame with a checksum',
};

/** The arguments of memory.compression. */
export interface CompressionArgs {
	arg1: TranscriptText | null;
}

/** How the payload is compressed: zstd:level, lz4 or none. */
export const compression: Call<CompressionArgs, string> = {
	name: 'compression',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'text', nullable: false },
	},
	comment: 'how the payload is compressed: zstd:level, lz4 or none',
};

/** The arguments of memory.concat. */
export interface ConcatArgs {
	arg1: TranscriptText | null;
	arg2: TranscriptText | null;
}

/** Implementation of || operator. */
export const concat: Call<ConcatArgs, TranscriptText> = {
	name: 'concat',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
		{ name: 'arg2', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'implementation of || operator',
};

/** The arguments of memory.content_bytes. */
export interface ContentBytesArgs {
	arg1: TranscriptText | null;
}

/** Bytes of all messages' content. */
export const contentBytes: Call<ContentBytesArgs, number> = {
	name: 'content_bytes',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'bytes of all messages\' content',
};

/** The arguments of memory.convert. */
export interface ConvertArgs {
	document: JsonValue;
	from_format: string | null;
	to_format: string | null;
}

/** Converts a document from one chat format to another. */
export const convert: Call<ConvertArgs, JsonValue> = {
	name: 'convert',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'document', type: 'jsonb', optional: false },
		{ name: 'from_format', type: 'text', optional: false },
		{ name: 'to_format', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'converts a document from one chat format to another',
};

/** The arguments of memory.decompress. */
export interface DecompressArgs {
	data: string | null;
}

/** The data that memory.compress was given. */
export const decompress: Call<DecompressArgs, string> = {
	name: 'decompress',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'data', type: 'bytea', optional: false },
	],
	columns: {
		value: { type: 'bytea', nullable: false },
	},
	comment: 'the data that memory.compress was given',
};

/** The arguments of memory.dictionary_id. */
export interface DictionaryIdArgs {
	arg1: TranscriptText | null;
}

/** The dictionary that the payload needs, null for none; read from the header. */
export const dictionaryId: Call<DictionaryIdArgs, number | null> = {
	name: 'dictionary_id',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'the dictionary that the payload needs, null for none; read from the header',
};

/** The arguments of memory.document_format. */
export interface DocumentFormatArgs {
	document: JsonValue;
}

/** The chat format of a document, as it is detected; null: unknown. */
export const documentFormat: Call<DocumentFormatArgs, string | null> = {
	name: 'document_format',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'document', type: 'jsonb', optional: false },
	],
	columns: {
		value: { type: 'text', nullable: true },
	},
	comment: 'the chat format of a document, as it is detected; null: unknown',
};

/** The arguments of memory.export. */
export interface ExportArgs {
	format?: string | null | undefined;
	account_id?: string | null | undefined;
	conversation_id?: Uuid | null | undefined;
	since?: Timestamp | null | undefined;
}

/** Conversations as documents of a format; streams if it is used in the SELECT list. */
export const export_: Call<ExportArgs, string> = {
	name: 'export',
	kind: 'function',
	returns: 'set of values',
	named: true,
	args: [
		{ name: 'format', type: 'text', optional: true },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'conversation_id', type: 'uuid', optional: true },
		{ name: 'since', type: 'timestamp with time zone', optional: true },
	],
	columns: {
		value: { type: 'text', nullable: false },
	},
	comment: 'conversations as documents of a format; streams if it is used in the SELECT list',
};

/** The arguments of memory.export_file. */
export interface ExportFileArgs {
	path: string | null;
	format?: string | null | undefined;
	account_id?: string | null | undefined;
	since?: Timestamp | null | undefined;
	workers?: number | null | undefined;
	batch_size?: number | null | undefined;
	wait?: boolean | null | undefined;
	job_id?: number | null | undefined;
}

/** A row of memory.export_file. */
export interface ExportFileResult {
	job_id: number;
}

/** Writes conversations to a file on the server with background workers, in batches and in order; returns job_id. */
export const exportFile: Call<ExportFileArgs, ExportFileResult> = {
	name: 'export_file',
	kind: 'procedure',
	returns: 'row',
	named: true,
	args: [
		{ name: 'path', type: 'text', optional: false },
		{ name: 'format', type: 'text', optional: true },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'since', type: 'timestamp with time zone', optional: true },
		{ name: 'workers', type: 'integer', optional: true },
		{ name: 'batch_size', type: 'integer', optional: true },
		{ name: 'wait', type: 'boolean', optional: true },
		{ name: 'job_id', type: 'bigint', optional: true },
	],
	columns: {
		job_id: { type: 'bigint', nullable: false },
	},
	comment: 'writes conversations to a file on the server with background workers, in batches and in order; returns job_id',
};

/** The arguments of memory.first_at. */
export interface FirstAtArgs {
	arg1: TranscriptText | null;
}

/** The earliest created_at; NULL if there is none. */
export const firstAt: Call<FirstAtArgs, Timestamp | null> = {
	name: 'first_at',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'the earliest created_at; NULL if there is none',
};

/** The arguments of memory.import_document. */
export interface ImportDocumentArgs {
	account_id: string | null;
	document: string | null;
	format?: string | null | undefined;
}

/** A row of memory.import_document. */
export interface ImportDocumentResult {
	conversation_id: Uuid | null;
	state: string;
	messages: number;
	reason: string | null;
	path: string | null;
	message: string | null;
}

/** Imports one document and returns the result: imported, extended, unchanged or rejected. */
export const importDocument: Call<ImportDocumentArgs, ImportDocumentResult> = {
	name: 'import_document',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'document', type: 'text', optional: false },
		{ name: 'format', type: 'text', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: true },
		state: { type: 'text', nullable: false },
		messages: { type: 'bigint', nullable: false },
		reason: { type: 'text', nullable: true },
		path: { type: 'text', nullable: true },
		message: { type: 'text', nullable: true },
	},
	comment: 'imports one document and returns the result: imported, extended, unchanged or rejected',
};

/** The arguments of memory.import_file. */
export interface ImportFileArgs {
	path: string | null;
	format?: string | null | undefined;
	account_id?: string | null | undefined;
	workers?: number | null | undefined;
	batch_size?: number | null | undefined;
	on_error?: string | null | undefined;
	on_conflict?: string | null | undefined;
	wait?: boolean | null | undefined;
	job_id?: number | null | undefined;
}

/** A row of memory.import_file. */
export interface ImportFileResult {
	job_id: number;
}

/** Imports a file on the server with background workers, in batches; returns job_id. */
export const importFile: Call<ImportFileArgs, ImportFileResult> = {
	name: 'import_file',
	kind: 'procedure',
	returns: 'row',
	named: true,
	args: [
		{ name: 'path', type: 'text', optional: false },
		{ name: 'format', type: 'text', optional: true },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'workers', type: 'integer', optional: true },
		{ name: 'batch_size', type: 'integer', optional: true },
		{ name: 'on_error', type: 'text', optional: true },
		{ name: 'on_conflict', type: 'text', optional: true },
		{ name: 'wait', type: 'boolean', optional: true },
		{ name: 'job_id', type: 'bigint', optional: true },
	],
	columns: {
		job_id: { type: 'bigint', nullable: false },
	},
	comment: 'imports a file on the server with background workers, in batches; returns job_id',
};

/** The arguments of memory.import_staged. */
export interface ImportStagedArgs {
	format?: string | null | undefined;
	account_id?: string | null | undefined;
	workers?: number | null | undefined;
	batch_size?: number | null | undefined;
	on_error?: string | null | undefined;
	on_conflict?: string | null | undefined;
	wait?: boolean | null | undefined;
	job_id?: number | null | undefined;
}

/** A row of memory.import_staged. */
export interface ImportStagedResult {
	job_id: number;
}

/** Imports the lines that the role has copied into memory.import_stage with background workers. */
export const importStaged: Call<ImportStagedArgs, ImportStagedResult> = {
	name: 'import_staged',
	kind: 'procedure',
	returns: 'row',
	named: true,
	args: [
		{ name: 'format', type: 'text', optional: true },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'workers', type: 'integer', optional: true },
		{ name: 'batch_size', type: 'integer', optional: true },
		{ name: 'on_error', type: 'text', optional: true },
		{ name: 'on_conflict', type: 'text', optional: true },
		{ name: 'wait', type: 'boolean', optional: true },
		{ name: 'job_id', type: 'bigint', optional: true },
	],
	columns: {
		job_id: { type: 'bigint', nullable: false },
	},
	comment: 'imports the lines that the role has copied into memory.import_stage with background workers',
};

/** The arguments of memory.last_at. */
export interface LastAtArgs {
	arg1: TranscriptText | null;
}

/** The latest created_at; NULL if there is none. */
export const lastAt: Call<LastAtArgs, Timestamp | null> = {
	name: 'last_at',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'the latest created_at; NULL if there is none',
};

/** The arguments of memory.message_count. */
export interface MessageCountArgs {
	arg1: TranscriptText | null;
}

/** Number of messages. */
export const messageCount: Call<MessageCountArgs, number> = {
	name: 'message_count',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'integer', nullable: false },
	},
	comment: 'number of messages',
};

/** The arguments of memory.raw_bytes. */
export interface RawBytesArgs {
	arg1: TranscriptText | null;
}

/** Bytes of the payload before compression. */
export const rawBytes: Call<RawBytesArgs, number> = {
	name: 'raw_bytes',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'bytes of the payload before compression',
};

/** The arguments of memory.recompress. */
export interface RecompressArgs {
	arg1: TranscriptText | null;
	arg2: string | null;
}

/** The same messages, compressed as zstd:level, lz4 or none. */
export const recompress: Call<RecompressArgs, TranscriptText> = {
	name: 'recompress',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
		{ name: 'arg2', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'the same messages, compressed as zstd:level, lz4 or none',
};

/** The arguments of memory.redis_commands. */
export interface RedisCommandsArgs {
	layout: string | null;
	account_id?: string | null | undefined;
	conversation_id?: Uuid | null | undefined;
	since?: Timestamp | null | undefined;
	prefix?: string | null | undefined;
}

/** The commands that create conversations in Redis, for redis-cli --pipe; one row per conversation. */
export const redisCommands: Call<RedisCommandsArgs, string> = {
	name: 'redis_commands',
	kind: 'function',
	returns: 'set of values',
	named: true,
	args: [
		{ name: 'layout', type: 'text', optional: false },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'conversation_id', type: 'uuid', optional: true },
		{ name: 'since', type: 'timestamp with time zone', optional: true },
		{ name: 'prefix', type: 'text', optional: true },
	],
	columns: {
		value: { type: 'text', nullable: false },
	},
	comment: 'the commands that create conversations in Redis, for redis-cli --pipe; one row per conversation',
};

/** The arguments of memory.redis_export. */
export interface RedisExportArgs {
	url: string | null;
	layout: string | null;
	account_id?: string | null | undefined;
	conversation_id?: Uuid | null | undefined;
	since?: Timestamp | null | undefined;
	prefix?: string | null | undefined;
	if_exists?: string | null | undefined;
	timeout_ms?: number | null | undefined;
}

/** A row of memory.redis_export. */
export interface RedisExportResult {
	exported: number | null;
	skipped: number | null;
	expired: number | null;
	messages: number;
}

/** Writes conversations to a live Redis; existing keys are skipped or replaced. */
export const redisExport: Call<RedisExportArgs, RedisExportResult> = {
	name: 'redis_export',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'url', type: 'text', optional: false },
		{ name: 'layout', type: 'text', optional: false },
		{ name: 'account_id', type: 'text', optional: true },
		{ name: 'conversation_id', type: 'uuid', optional: true },
		{ name: 'since', type: 'timestamp with time zone', optional: true },
		{ name: 'prefix', type: 'text', optional: true },
		{ name: 'if_exists', type: 'text', optional: true },
		{ name: 'timeout_ms', type: 'integer', optional: true },
	],
	columns: {
		exported: { type: 'bigint', nullable: true },
		skipped: { type: 'bigint', nullable: true },
		expired: { type: 'bigint', nullable: true },
		messages: { type: 'bigint', nullable: false },
	},
	comment: 'writes conversations to a live Redis; existing keys are skipped or replaced',
};

/** The arguments of memory.redis_import. */
export interface RedisImportArgs {
	url: string | null;
	layout: string | null;
	account_id: string | null;
	match?: string | null | undefined;
	prefix?: string | null | undefined;
	on_error?: string | null | undefined;
	on_conflict?: string | null | undefined;
	timeout_ms?: number | null | undefined;
}

/** A row of memory.redis_import. */
export interface RedisImportResult {
	job_id: number;
	imported: number;
	extended: number;
	unchanged: number;
	rejected: number;
	messages: number;
}

/** Imports the conversations of a live Redis: layout langchain, langchain-redis or agents. */
export const redisImport: Call<RedisImportArgs, RedisImportResult> = {
	name: 'redis_import',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'url', type: 'text', optional: false },
		{ name: 'layout', type: 'text', optional: false },
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'match', type: 'text', optional: true },
		{ name: 'prefix', type: 'text', optional: true },
		{ name: 'on_error', type: 'text', optional: true },
		{ name: 'on_conflict', type: 'text', optional: true },
		{ name: 'timeout_ms', type: 'integer', optional: true },
	],
	columns: {
		job_id: { type: 'bigint', nullable: false },
		imported: { type: 'bigint', nullable: false },
		extended: { type: 'bigint', nullable: false },
		unchanged: { type: 'bigint', nullable: false },
		rejected: { type: 'bigint', nullable: false },
		messages: { type: 'bigint', nullable: false },
	},
	comment: 'imports the conversations of a live Redis: layout langchain, langchain-redis or agents',
};

/** The arguments of memory.redis_import_commands. */
export interface RedisImportCommandsArgs {
	commands: string | null;
	layout: string | null;
	account_id: string | null;
	match?: string | null | undefined;
	prefix?: string | null | undefined;
	on_error?: string | null | undefined;
	on_conflict?: string | null | undefined;
}

/** A row of memory.redis_import_commands. */
export interface RedisImportCommandsResult {
	job_id: number;
	imported: number;
	extended: number;
	unchanged: number;
	rejected: number;
	messages: number;
}

/** Imports the conversations that Redis commands create: an append-only file, or input for redis-cli --pipe. */
export const redisImportCommands: Call<RedisImportCommandsArgs, RedisImportCommandsResult> = {
	name: 'redis_import_commands',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'commands', type: 'bytea', optional: false },
		{ name: 'layout', type: 'text', optional: false },
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'match', type: 'text', optional: true },
		{ name: 'prefix', type: 'text', optional: true },
		{ name: 'on_error', type: 'text', optional: true },
		{ name: 'on_conflict', type: 'text', optional: true },
	],
	columns: {
		job_id: { type: 'bigint', nullable: false },
		imported: { type: 'bigint', nullable: false },
		extended: { type: 'bigint', nullable: false },
		unchanged: { type: 'bigint', nullable: false },
		rejected: { type: 'bigint', nullable: false },
		messages: { type: 'bigint', nullable: false },
	},
	comment: 'imports the conversations that Redis commands create: an append-only file, or input for redis-cli --pipe',
};

/** The arguments of memory.resume_job. */
export interface ResumeJobArgs {
	job_id: number | null;
	workers?: number | null | undefined;
	on_error?: string | null | undefined;
	on_conflict?: string | null | undefined;
	wait?: boolean | null | undefined;
}

/** Continues a job that failed, was cancelled or lost its workers, from its checkpoint. */
export const resumeJob: Call<ResumeJobArgs, void> = {
	name: 'resume_job',
	kind: 'procedure',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'job_id', type: 'bigint', optional: false },
		{ name: 'workers', type: 'integer', optional: true },
		{ name: 'on_error', type: 'text', optional: true },
		{ name: 'on_conflict', type: 'text', optional: true },
		{ name: 'wait', type: 'boolean', optional: true },
	],
	columns: {
	},
	comment: 'continues a job that failed, was cancelled or lost its workers, from its checkpoint',
};

/** The arguments of memory.slice. */
export interface SliceArgs {
	arg1: TranscriptText | null;
	arg2: number | null;
	arg3: number | null;
}

/** The messages with seq from from_seq to to_seq, both included. */
export const slice: Call<SliceArgs, TranscriptText> = {
	name: 'slice',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
		{ name: 'arg2', type: 'bigint', optional: false },
		{ name: 'arg3', type: 'bigint', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'the messages with seq from from_seq to to_seq, both included',
};

/** The arguments of memory.stored_bytes. */
export interface StoredBytesArgs {
	arg1: TranscriptText | null;
}

/** Bytes that the stored value takes. */
export const storedBytes: Call<StoredBytesArgs, number> = {
	name: 'stored_bytes',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'bytes that the stored value takes',
};

/** The arguments of memory.to_jsonb. */
export interface ToJsonbArgs {
	arg1: TranscriptText | null;
}

/** The messages as a JSON array. */
export const toJsonb: Call<ToJsonbArgs, JsonValue> = {
	name: 'to_jsonb',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'the messages as a JSON array',
};

/** The arguments of memory.token_count. */
export interface TokenCountArgs {
	arg1: TranscriptText | null;
}

/** Sum of the messages' known tokens. */
export const tokenCount: Call<TokenCountArgs, number> = {
	name: 'token_count',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'sum of the messages\' known tokens',
};

/** The arguments of memory.transcript. */
export interface TranscriptArgs {
	role: string | null;
	content: string | null;
}

/** A transcript of one message. */
export const transcript: Call<TranscriptArgs, TranscriptText> = {
	name: 'transcript',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'role', type: 'text', optional: false },
		{ name: 'content', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'a transcript of one message',
};

/** The arguments of memory.transcript. */
export interface TranscriptOfJsonbArgs {
	arg1: JsonValue;
}

/** A transcript of a JSON array of messages. */
export const transcriptOfJsonb: Call<TranscriptOfJsonbArgs, TranscriptText> = {
	name: 'transcript',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'jsonb', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'a transcript of a JSON array of messages',
};

/** The arguments of memory.transcript. */
export interface TranscriptOfMessagesArgs {
	arg1: Message[] | null;
}

/** A transcript of these messages. */
export const transcriptOfMessages: Call<TranscriptOfMessagesArgs, TranscriptText> = {
	name: 'transcript',
	kind: 'function',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.message[]', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'a transcript of these messages',
};

/** The arguments of memory.transcript_agg. */
export interface TranscriptAggArgs {
	role: string | null;
	content: string | null;
}

/** A transcript of the rows, numbered in their order. */
export const transcriptAgg: Call<TranscriptAggArgs, TranscriptText> = {
	name: 'transcript_agg',
	kind: 'aggregate',
	returns: 'value',
	named: true,
	args: [
		{ name: 'role', type: 'text', optional: false },
		{ name: 'content', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'a transcript of the rows, numbered in their order',
};

/** The arguments of memory.transcript_agg. */
export interface TranscriptAggOfMessageArgs {
	arg1: Message | null;
}

/** A transcript of the rows, which must be in order of seq. */
export const transcriptAggOfMessage: Call<TranscriptAggOfMessageArgs, TranscriptText> = {
	name: 'transcript_agg',
	kind: 'aggregate',
	returns: 'value',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.message', optional: false },
	],
	columns: {
		value: { type: 'memory.transcript', nullable: false },
	},
	comment: 'a transcript of the rows, which must be in order of seq',
};

/** The arguments of memory.unpack. */
export interface UnpackArgs {
	arg1: TranscriptText | null;
}

/** The messages, as rows in order of seq. */
export const unpack: Call<UnpackArgs, Message> = {
	name: 'unpack',
	kind: 'function',
	returns: 'set of rows',
	named: false,
	args: [
		{ name: 'arg1', type: 'memory.transcript', optional: false },
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
	comment: 'the messages, as rows in order of seq',
};

/** The formats of documents that can be imported. */
export const importFormats = ['auto', 'native', 'chatgpt', 'claude', 'openwebui', 'librechat', 'sharegpt', 'langchain', 'agents', 'anthropic', 'vercel', 'openai'] as const;
export type ImportFormat = (typeof importFormats)[number];

/** The formats of documents that can be exported. */
export const exportFormats = ['native', 'chatgpt', 'claude', 'openwebui', 'librechat', 'sharegpt', 'langchain', 'agents', 'anthropic', 'vercel', 'openai'] as const;
export type ExportFormat = (typeof exportFormats)[number];
