// Transactions for an account.  Whatever a request does happens in one transaction, whose settings
// are all SET LOCAL: they end with it, so a connection of the pool never carries anything of one
// request to the next.  A connection whose transaction did not end cleanly is closed.
import pg from 'pg';
import { type Call, callSql } from '@memory-ext/types';
import type { Config } from './config.js';

export interface TransactionOptions {
	/** Reads only: the database refuses everything else. */
	readOnly?: boolean;
	/** Another limit than the configuration's, in milliseconds; 0: none. */
	timeoutMs?: number;
	/**
	 * The work streams to or from a client: it cannot be run again, and after an error the
	 * connection is closed, rather than read to the end of what nobody wants any more.
	 */
	stream?: boolean;
}

/** Serialization failures and deadlocks: the transaction did nothing, and may be run again. */
const REPEATABLE = new Set(['40001', '40P01']);
const ATTEMPTS = 3;
/** Distinct texts that are prepared by name in each connection. */
const MAX_PREPARED = 500;

export class Database {
	readonly pool: pg.Pool;
	private readonly timeoutMs: number;
	private readonly prepared = new Map<string, string>();

	constructor(config: Config, log: (error: Error) => void) {
		this.timeoutMs = config.statementTimeoutMs;
		this.pool = new pg.Pool({
			...connectionOptions(config),
			max: config.poolSize,
			connectionTimeoutMillis: config.poolWaitMs,
			idleTimeoutMillis: 30_000,
		});
		// A connection that breaks is replaced, idle or not; the error only wants to be known, since
		// a query that is under way is told of it too.
		this.pool.on('error', log);
		this.pool.on('connect', (client) => client.on('error', log));
	}

	/** Runs work in a transaction that is confined to the account. */
	async transaction<T>(
		account: string,
		options: TransactionOptions,
		work: (client: pg.PoolClient) => Promise<T>,
	): Promise<T> {
		for (let attempt = 1; ; attempt++) {
			try {
				return await this.attempt(account, options, work);
			} catch (error) {
				if (attempt === ATTEMPTS || options.stream || !REPEATABLE.has(sqlstateOf(error) ?? ''))
					throw error;
			}
		}
	}

	private async attempt<T>(
		account: string,
		options: TransactionOptions,
		work: (client: pg.PoolClient) => Promise<T>,
	): Promise<T> {
		const client = await this.pool.connect();
		let clean = false;

		try {
			await client.query(
				`BEGIN ISOLATION LEVEL READ COMMITTED ${options.readOnly ? 'READ ONLY' : 'READ WRITE'};` +
					` SET LOCAL memory_ext.account = ${pg.escapeLiteral(account)};` +
					` SET LOCAL statement_timeout = ${options.timeoutMs ?? this.timeoutMs};` +
					" SET LOCAL idle_in_transaction_session_timeout = '5min';" +
					" SET LOCAL TimeZone = 'UTC'",
			);
			try {
				const result = await work(client);
				await client.query('COMMIT');
				clean = true;
				return result;
			} catch (error) {
				// The one error that counts is the first.
				clean = !options.stream && (await client.query('ROLLBACK').then(() => true, () => false));
				throw error;
			}
		} finally {
			client.release(!clean);
		}
	}

	/** The rows of a query, one statement in a transaction of its own; prepared under a name. */
	async query<Row extends pg.QueryResultRow>(
		account: string,
		text: string,
		values: unknown[],
		options: TransactionOptions = {},
	): Promise<Row[]> {
		const query = { text, values, ...this.nameOf(text) };

		return this.transaction(account, options, async (client) => (await client.query<Row>(query)).rows);
	}

	private nameOf(text: string): { name?: string } {
		let name = this.prepared.get(text);

		if (name === undefined && this.prepared.size < MAX_PREPARED) {
			name = `gateway_${this.prepared.size}`;
			this.prepared.set(text, name);
		}
		return name === undefined ? {} : { name };
	}

	/** The rows of a call as a JSON array, written by PostgreSQL. */
	async callRows<Args extends object>(
		account: string,
		call: Call<Args, unknown>,
		args: Args,
		options: TransactionOptions = { readOnly: true },
	): Promise<string> {
		const { text, values } = callSql(call, args);
		return this.rows(account, `SELECT * FROM ${text}`, values, options);
	}

	/** The rows of a query as a JSON array, written by PostgreSQL. */
	async rows(
		account: string,
		text: string,
		values: unknown[],
		options: TransactionOptions = { readOnly: true },
	): Promise<string> {
		const rows = await this.query<{ json: string }>(
			account,
			`SELECT coalesce(json_agg(r), '[]')::text AS json FROM (${text}) r`,
			values,
			options,
		);
		return rows[0]?.json ?? '[]';
	}

	/** What a call gives, a value or a row, as JSON written by PostgreSQL. */
	async callValue<Args extends object>(
		account: string,
		call: Call<Args, unknown>,
		args: Args,
		options: TransactionOptions = {},
	): Promise<string> {
		const { text, values } = callSql(call, args);
		const json = call.returns === 'row' ? 'row_to_json(r)' : 'to_json(r)';
		const rows = await this.query<{ json: string | null }>(
			account,
			`SELECT ${json}::text AS json FROM ${text} r`,
			values,
			options,
		);
		return rows[0]?.json ?? 'null';
	}

	/** Whether the database answers. */
	async isReachable(): Promise<boolean> {
		return this.pool.query('SELECT').then(() => true, () => false);
	}

	async close(): Promise<void> {
		await this.pool.end();
	}
}

/** How to connect: what the configuration names, or else libpq's variables. */
export function connectionOptions(config: Config): pg.ClientConfig {
	return {
		...(config.databaseUrl === '' ? {} : { connectionString: config.databaseUrl }),
		application_name: 'memory_ext_gateway',
		keepAlive: true,
	};
}

export function sqlstateOf(error: unknown): string | undefined {
	return error instanceof pg.DatabaseError ? error.code : undefined;
}

/** Names of columns, which must be columns of Row. */
export function columnsOf<Row>(...names: (keyof Row & string)[]): string {
	return names.map((name) => `"${name}"`).join(', ');
}
