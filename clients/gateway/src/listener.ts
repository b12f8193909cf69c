// One connection that listens for all clients.  When it was away, nobody knows what happened
// meanwhile, so everybody is told to look.
import type { FastifyBaseLogger } from 'fastify';
import pg from 'pg';
import type { Config } from './config.js';
import { connectionOptions } from './database.js';

export const CHANNEL = 'memory_changes';

/** An account that has changed, or null: any may have. */
export type Change = { account: string; revision: number | null } | null;

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 5000;

export class Listener {
	private client: pg.Client | undefined;
	private delay = FIRST_DELAY_MS;
	private timer: NodeJS.Timeout | undefined;
	private closed = false;

	constructor(
		private readonly config: Config,
		private readonly log: FastifyBaseLogger,
		private readonly onChange: (change: Change) => void,
		private readonly onState: (listening: boolean) => void,
	) {}

	/** Connects; status false: the database cannot be reached yet, it goes on trying. */
	async start(): Promise<boolean> {
		const client = new pg.Client({
			...connectionOptions(this.config),
			application_name: 'memory_ext_gateway listener',
			connectionTimeoutMillis: this.config.poolWaitMs,
		});

		this.client = client;
		client.on('error', (error) => this.lost(client, error));
		client.on('end', () => this.lost(client));
		client.on('notification', ({ payload }) => this.notified(payload ?? ''));
		try {
			await client.connect();
			await client.query(`LISTEN ${CHANNEL}`);
		} catch (error) {
			this.lost(client, error as Error);
			return false;
		}
		if (this.closed || this.client !== client)
			return false;
		this.delay = FIRST_DELAY_MS;
		this.onState(true);
		this.onChange(null);
		return true;
	}

	/** Whether the server still answers: a connection can be dead without anybody knowing. */
	async probe(): Promise<void> {
		const { client } = this;

		if (client === undefined)
			return;
		const timer = setTimeout(() => this.lost(client, new Error('the listening connection is silent')), this.config.poolWaitMs);
		await client.query('SELECT').catch((error: Error) => this.lost(client, error));
		clearTimeout(timer);
	}

	private lost(client: pg.Client, error?: Error): void {
		if (this.client !== client)
			return;
		this.client = undefined;
		this.onState(false);
		client.end().catch(() => {});
		if (this.closed)
			return;
		this.log.warn(error ?? {}, 'the listening connection is lost');
		// Not all gateways at once.
		this.timer = setTimeout(() => void this.start(), this.delay * (0.5 + Math.random() / 2));
		this.delay = Math.min(this.delay * 2, LAST_DELAY_MS);
	}

	private notified(payload: string): void {
		for (const change of changesOf(payload))
			this.onChange(change);
	}

	async close(): Promise<void> {
		const { client } = this;

		this.closed = true;
		clearTimeout(this.timer);
		this.client = undefined;
		await client?.end().catch(() => {});
	}
}

/** What a notification says; one that cannot be understood may have said anything. */
export function changesOf(payload: string): Change[] {
	let list: unknown;

	try {
		list = JSON.parse(payload);
	} catch {
		return [null];
	}
	if (!Array.isArray(list) || list.length === 0)
		return [null];
	return list.map((item: { account_id?: unknown; revision?: unknown } | null) => {
		if (typeof item?.account_id !== 'string')
			return null;
		return { account: item.account_id, revision: Number.isSafeInteger(item.revision) ? (item.revision as number) : null };
	});
}
