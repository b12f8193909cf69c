// The gateway's WebSocket: tells when the account has changed, and comes back by itself.
import { Backoff, type BackoffOptions, Signal } from './backoff.js';

export type LiveState = 'connecting' | 'open' | 'closed' | 'unauthorized';

export interface LiveOptions {
	/** The gateway, `http://…` or `https://…`. */
	url: string;
	/** A bearer token; `renew` is true when the last one had expired. */
	token: (renew: boolean) => string | Promise<string>;
	/** The account has changed, or may have: null says that nobody knows up to where. */
	onPoke: (revision: number | null) => void;
	onState?: (state: LiveState) => void;
	WebSocket?: typeof globalThis.WebSocket | undefined;
	backoff?: Partial<BackoffOptions>;
}

const PROTOCOL = 'memory-ext.v1';
const EXPIRED = 4401;
/** A socket that tells nothing for so many heartbeats is dead. */
const PATIENCE = 3;

/** A connection that is kept open until close(). */
export class Live {
	private readonly backoff: Backoff;
	private readonly changed = new Signal();
	private socket: WebSocket | undefined;
	private ended: (code: number) => void = () => {};
	private timer: ReturnType<typeof setInterval> | undefined;
	private heard = false;
	private closed = false;
	private renew = false;

	constructor(private readonly options: LiveOptions) {
		this.backoff = new Backoff({
			firstMs: 500,
			mostMs: 60_000,
			random: Math.random,
			...options.backoff,
		});
		void this.run();
	}

	/** Tries now, where it would still wait: the network is back. */
	hurry(): void {
		this.backoff.reset();
		if (this.socket === undefined)
			this.changed.set();
	}

	/** Begins anew, whatever the socket believes: the network was away, which a socket notices late. */
	reconnect(): void {
		this.hurry();
		if (this.socket !== undefined)
			this.dead();
		this.changed.set();
	}

	/** Closes the connection for good. */
	close(): void {
		this.closed = true;
		this.socket?.close();
		this.changed.set();
	}

	private async run(): Promise<void> {
		while (!this.closed) {
			this.options.onState?.('connecting');
			await this.connect();
			if (this.closed)
				break;
			this.options.onState?.(this.renew ? 'unauthorized' : 'closed');
			await this.changed.wait(this.backoff.next());
		}
		this.options.onState?.('closed');
	}

	/** Until the socket is closed again. */
	private async connect(): Promise<void> {
		let token: string;

		try {
			token = await this.options.token(this.renew);
		} catch {
			return;
		}
		if (this.closed)
			return;
		await new Promise<void>((resolve) => {
			const socket = new (this.options.WebSocket ?? WebSocket)(
				`${this.options.url.replace(/^http/, 'ws')}/v1/live`,
				[PROTOCOL, `bearer.${token}`],
			);

			this.socket = socket;
			this.ended = (code) => {
				socket.onmessage = socket.onclose = null;
				clearInterval(this.timer);
				this.socket = undefined;
				this.renew = code === EXPIRED;
				resolve();
			};
			socket.onmessage = ({ data }) => this.received(String(data));
			socket.onclose = ({ code }) => this.ended(code);
		});
	}

	private received(data: string): void {
		let message: { type?: string; revision?: number | null; heartbeat_seconds?: number };

		try {
			message = JSON.parse(data) as typeof message;
		} catch {
			return;
		}
		this.heard = true;
		if (message.type === 'hello') {
			this.backoff.reset();
			this.renew = false;
			this.options.onState?.('open');
			this.watch((message.heartbeat_seconds ?? 30) * 1000);
		}
		if (message.type === 'hello' || message.type === 'poke')
			this.options.onPoke(message.revision ?? null);
	}

	/** A browser shows no ping of the protocol, so it asks itself; without an answer the socket is dead. */
	private watch(heartbeatMs: number): void {
		let silent = 0;

		clearInterval(this.timer);
		this.timer = setInterval(() => {
			silent = this.heard ? 0 : silent + 1;
			this.heard = false;
			if (silent >= PATIENCE)
				this.dead();
			else this.socket?.send('{"type":"ping"}');
		}, heartbeatMs);
		(this.timer as { unref?: () => void }).unref?.();
	}

	/** The closing handshake of a dead connection takes long; nobody waits for it. */
	private dead(): void {
		this.socket?.close();
		this.ended(1006);
	}
}
