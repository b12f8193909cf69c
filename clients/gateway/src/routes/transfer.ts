// Import and export: streams that go through COPY, as fast as the slower side of the two.
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
	type JobErrorsRow, type JobsRow, type MessagesRow, exportFormats, importFormats,
	jobErrorsRelation,
} from '@memory-ext/types';
import type { FastifyInstance, FastifyReply } from 'fastify';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Type, { type Static } from 'typebox';
import { readBody } from '../body.js';
import { columnsOf } from '../database.js';
import { ProblemError } from '../problem.js';
import { Timestamp, Uuid, answers, arrayOf, integer, object, pick } from '../schemas.js';

const ImportQuery = Type.Object({
	format: Type.Optional(Type.Enum([...importFormats, 'csv'])),
	on_conflict: Type.Optional(Type.Enum(['error', 'keep', 'replace', 'copy'])),
});

const ExportQuery = Type.Object({
	format: Type.Optional(Type.Enum([...exportFormats, 'csv'])),
	conversation_id: Type.Optional(Uuid),
	since: Type.Optional(Timestamp),
});

/** JSON contains no control characters, so COPY changes nothing of it with these. */
const AS_IS = "WITH (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02')";
/** Rejected documents that an answer names. */
const MAX_ERRORS = 1000;

const CSV = columnsOf<MessagesRow>(
	'conversation_id', 'seq', 'parent_seq', 'role', 'content', 'model', 'tokens', 'created_at',
	'message_id', 'metadata',
);
const JOB = [
	'documents', 'imported', 'extended', 'unchanged', 'rejected', 'messages', 'bytes',
] as const satisfies (keyof JobsRow)[];
const JOB_ERROR = [
	'document', 'line', 'reason', 'path', 'message', 'excerpt', 'conversation_id', 'rejected',
] as const satisfies (keyof JobErrorsRow)[];

export async function transferRoutes(app: FastifyInstance): Promise<void> {
	const { config } = app;

	// A body is what it is, whatever the client calls it.
	app.removeAllContentTypeParsers();
	app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));

	app.post<{ Querystring: Static<typeof ImportQuery>; Body: Readable }>('/import', {
		schema: {
			summary: 'Import documents of chat applications, or messages as CSV',
			description:
				'The body is a file with JSON documents: one a line, one behind the other, or in an array. ' +
				'CSV is what the export as CSV gives. All of it is one transaction; documents that cannot ' +
				'be imported are left out and named in the answer.',
			querystring: ImportQuery,
			response: answers(
				object({
					...Object.fromEntries(JOB.map((name) => [name, integer])),
					errors: arrayOf(pick(jobErrorsRelation, ...JOB_ERROR)),
				}),
				`what became of the documents, with the first ${MAX_ERRORS} that were rejected or mended`,
			),
		},
	}, async (request, reply) => {
		const { format = 'auto', on_conflict = 'error' } = request.query;
		if (request.body === undefined)
			throw new ProblemError(400, 'Bad request', 'there is no body to import');
		const limits = { bytes: config.maxImportBytes, idleSeconds: config.idleSeconds };
		const input: Input = { body: request.body, limits, bytes: 0 };
		const json = await app.database.transaction(
			request.account,
			{ timeoutMs: config.transferSeconds * 1000, stream: true },
			async (client) => {
				if (format === 'csv')
					return importCsv(client, input);
				await client.query(
					`SET LOCAL memory_ext.import_account = ${pg.escapeLiteral(request.account)};` +
						` SET LOCAL memory_ext.import_format = ${pg.escapeLiteral(format)};` +
						` SET LOCAL memory_ext.import_on_conflict = ${pg.escapeLiteral(on_conflict)};` +
						' SET LOCAL memory_ext.import_on_error = skip',
				);
				return importDocuments(client, input);
			},
		);
		return reply.type('application/json').send(json);
	});

	app.get<{ Querystring: Static<typeof ExportQuery> }>('/export', {
		schema: {
			summary: "Export the account's conversations as documents, one a line, or its messages as CSV",
			querystring: ExportQuery,
			response: answers({ type: 'string' }, 'the documents', 'application/x-ndjson'),
		},
	}, async (request, reply) => {
		const { format = 'native' } = request.query;
		const sql = format === 'csv' ? csvExport(request.account, request.query) : documentExport(request.account, request.query);
		const type = format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson';

		await app.database.transaction(
			request.account,
			{ readOnly: true, timeoutMs: config.transferSeconds * 1000, stream: true },
			async (client) => exportStream(client, sql, type, reply, config.idleSeconds),
		).catch((error: unknown) => {
			// There is nothing left to say to this client.
			if (!reply.sent)
				throw error;
			request.log.warn(error);
		});
		return reply;
	});
}

// ---------------------------------------------------------------------------------------------
// Import
// ---------------------------------------------------------------------------------------------

/** What comes in, counted. */
interface Input {
	body: Readable;
	limits: { bytes: number; idleSeconds: number };
	bytes: number;
}

async function* counted(input: Input): AsyncGenerator<Buffer> {
	for await (const piece of readBody(input.body, input.limits)) {
		input.bytes += piece.length;
		yield piece;
	}
}

async function copyIn(client: pg.PoolClient, sql: string, input: Input): Promise<number | null> {
	const copy = client.query(copyFrom(sql));

	await pipeline(counted(input), copy);
	return copy.rowCount;
}

async function importDocuments(client: pg.PoolClient, input: Input): Promise<string> {
	let job: string | undefined;
	const listen = (notice: { message?: string | undefined }) => {
		job = /\(job (\d+)\)$/.exec(notice.message ?? '')?.[1] ?? job;
	};

	client.on('notice', listen);
	try {
		await copyIn(client, `COPY memory.import_documents FROM STDIN ${AS_IS}`, input);
	} finally {
		client.off('notice', listen);
	}
	const { rows } = await client.query<{ json: string }>(
		`SELECT row_to_json(r)::text AS json FROM (
			SELECT ${JOB.filter((name) => name !== 'bytes').map((name) => `coalesce(${name}, 0) AS ${name}`).join(', ')},
				$2::bigint AS bytes,
				coalesce((SELECT json_agg(e) FROM (SELECT ${columnsOf<JobErrorsRow>(...JOB_ERROR)}
					FROM memory.job_errors WHERE job_id = $1 ORDER BY document LIMIT ${MAX_ERRORS}) e), '[]') AS errors
			FROM (SELECT) one LEFT JOIN memory.jobs ON job_id = $1) r`,
		[job ?? null, input.bytes],
	);
	return rows[0]?.json ?? 'null';
}

async function importCsv(client: pg.PoolClient, input: Input): Promise<string> {
	const messages = await copyIn(
		client, `COPY memory.messages (${CSV}) FROM STDIN WITH (FORMAT csv, HEADER match)`, input);

	return JSON.stringify({
		documents: 0, imported: 0, extended: 0, unchanged: 0, rejected: 0, messages, bytes: input.bytes, errors: [],
	});
}

// ---------------------------------------------------------------------------------------------
// Export
// ---------------------------------------------------------------------------------------------

const literal = (value: string | undefined) => (value === undefined ? 'NULL' : pg.escapeLiteral(value));

function documentExport(account: string, query: Static<typeof ExportQuery>): string {
	// In the select list it gives a document at a time.
	return `COPY (SELECT memory.export(format => ${literal(query.format ?? 'native')},
		account_id => ${literal(account)}, conversation_id => ${literal(query.conversation_id)}::uuid,
		since => ${literal(query.since)}::timestamptz)) TO STDOUT ${AS_IS}`;
}

function csvExport(account: string, query: Static<typeof ExportQuery>): string {
	return `COPY (SELECT ${CSV} FROM memory.messages WHERE account_id = ${literal(account)}
		${query.conversation_id === undefined ? '' : `AND conversation_id = ${literal(query.conversation_id)}`}
		${query.since === undefined ? '' : `AND created_at >= ${literal(query.since)}::timestamptz`}
		) TO STDOUT WITH (FORMAT csv, HEADER)`;
}

/**
 * COPY into the answer.  An error before the first byte is a problem like any other; later the
 * connection breaks, so that nobody takes the part for the whole.
 */
async function exportStream(client: pg.PoolClient, sql: string, type: string, reply: FastifyReply, idleSeconds: number) {
	const copy = client.query(copyTo(sql));

	// 'readable' also comes at the end; an error rejects.
	await once(copy, 'readable');
	reply.hijack();
	// What other plugins have set, such as CORS, is part of the answer too.
	for (const [name, value] of Object.entries(reply.getHeaders()))
		if (value !== undefined)
			reply.raw.setHeader(name, value);
	reply.raw.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' });
	reply.raw.setTimeout(idleSeconds * 1000, () => reply.raw.destroy());
	// It destroys the answer when the copy fails.
	await pipeline(copy, reply.raw);
}
