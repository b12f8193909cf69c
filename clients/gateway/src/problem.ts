// Errors as RFC 9457 has them: application/problem+json, with what PostgreSQL says.
import pg from 'pg';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';

export interface Problem {
	/** Names the kind of the problem. */
	type: string;
	title: string;
	status: number;
	/** What happened: PostgreSQL's message. */
	detail: string;
	sqlstate?: string;
	/** PostgreSQL's DETAIL; that of MX001 is an object. */
	sql_detail?: unknown;
	hint?: string;
	/** What is wrong in the request. */
	errors?: { path: string; message: string }[];
}

export class ProblemError extends Error {
	readonly problem: Problem;
	readonly headers: Record<string, string>;

	constructor(status: number, title: string, detail: string, headers: Record<string, string> = {}) {
		super(detail);
		this.problem = { type: `urn:memory-ext:problem:${slug(title)}`, title, status, detail };
		this.headers = headers;
	}
}

function slug(title: string): string {
	return title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

// The longest beginning of an SQLSTATE that is here decides.
const STATES: Record<string, [status: number, title: string]> = {
	'08': [503, 'Database not reachable'],
	'0A': [501, 'Not supported'],
	'22': [400, 'Bad value'],
	'23': [409, 'Conflict'],
	'25006': [503, 'Database is read only'],
	'28': [503, 'Database not reachable'],
	'3D': [503, 'Database not reachable'],
	'40': [503, 'Concurrent writers'],
	'42501': [403, 'Not allowed'],
	'42883': [501, 'Not supported'],
	'53': [503, 'Database is busy'],
	'54': [413, 'Too large'],
	'55000': [409, 'Conflict'],
	'57014': [504, 'Timeout'],
	'57P': [503, 'Database not reachable'],
	P0002: [404, 'Not found'],
	MX001: [429, 'Quota exceeded'],
	MX010: [410, 'Checkpoint expired'],
	MX: [409, 'Conflict'],
};

function stateOf(sqlstate: string): [number, string] {
	for (let length = sqlstate.length; length > 0; length--) {
		const found = STATES[sqlstate.slice(0, length)];
		if (found !== undefined)
			return found;
	}
	return [500, 'Internal error'];
}

/** The problem that an error is, with the headers that go with it. */
export function problemOf(error: unknown): { problem: Problem; headers: Record<string, string> } {
	if (error instanceof ProblemError)
		return { problem: error.problem, headers: error.headers };
	if (error instanceof pg.DatabaseError && error.code !== undefined)
		return databaseProblem(error, error.code);
	if (isUnreachable(error))
		return database(503, 'Database not reachable', 'the database cannot be reached', { 'retry-after': '1' });

	const fastify = error as Partial<FastifyError>;
	if (fastify.validation !== undefined)
		return {
			problem: {
				...new ProblemError(400, 'Bad request', fastify.message ?? '').problem,
				errors: fastify.validation.map((fault) => ({
					path: `${fastify.validationContext ?? ''}${fault.instancePath}`,
					message: fault.message ?? '',
				})),
			},
			headers: {},
		};
	const status = fastify.statusCode;
	if (status !== undefined && status >= 400 && status < 500)
		return database(status, status === 429 ? 'Too many requests' : 'Bad request', fastify.message ?? '', {});
	// What it is stands in the log, and is nobody else's concern.
	return database(500, 'Internal error', 'an internal error, see the log of the gateway', {});
}

function database(status: number, title: string, detail: string, headers: Record<string, string>) {
	return { problem: new ProblemError(status, title, detail).problem, headers };
}

/** An error of the connection, or of the pool when none becomes free. */
function isUnreachable(error: unknown): boolean {
	const { code, message } = error as { code?: string; message?: string };

	return /^(ECONN|ENOENT|ENOTFOUND|EPIPE|ETIMEDOUT|EAI_)/.test(code ?? '') ||
		/^(timeout exceeded when trying to connect|Connection terminated)/.test(message ?? '');
}

function databaseProblem(error: pg.DatabaseError, sqlstate: string) {
	const [status, title] = stateOf(sqlstate);
	const headers: Record<string, string> = {};
	const problem: Problem = {
		type: `urn:memory-ext:sqlstate:${sqlstate}`,
		title,
		status,
		detail: status === 500 ? 'an internal error, see the log of the gateway' : error.message,
		sqlstate,
	};

	if (status !== 500) {
		if (error.detail !== undefined)
			problem.sql_detail = sqlstate === 'MX001' ? parsed(error.detail) : error.detail;
		if (error.hint !== undefined)
			problem.hint = error.hint;
	}
	if (status === 503)
		headers['retry-after'] = '1';
	if (sqlstate === 'MX001')
		quota(problem, headers);
	return { problem, headers };
}

/** A limit of a period is over with it; one on what stands is not, and waiting does not help. */
function quota(problem: Problem, headers: Record<string, string>): void {
	const end = (problem.sql_detail as { period_end?: string | null } | undefined)?.period_end;

	if (end === null || end === undefined)
		problem.status = 403;
	else
		headers['retry-after'] = String(Math.max(1, Math.ceil((Date.parse(end) - Date.now()) / 1000)));
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return text;
	}
}

export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
	const { problem, headers } = problemOf(error);

	if (problem.status >= 500)
		request.log.error(error);
	return reply
		.code(problem.status)
		.headers(headers)
		.type('application/problem+json')
		.send(JSON.stringify(problem));
}
