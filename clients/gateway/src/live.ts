// GET /v1/live: WebSockets that are told when their account has changed.  A message says that it
// may be worth to pull, and up to which revision; it never says what has changed.  So a newer one
// replaces an older one that is not sent yet, and a socket's queue is never longer than one.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { type Identity, bearerOf } from './auth.js';
import { type Change, Listener } from './listener.js';
import type { Metrics } from './metrics.js';
import { ProblemError, problemOf } from './problem.js';

/** The subprotocol; a browser sends its token as another, `bearer.TOKEN`, as it can set no header. */
export const PROTOCOL = 'memory-ext.v1';
const TOKEN_PROTOCOL = 'bearer.';

/** Codes with which a socket is closed. */
export const CLOSED = { goingAway: 1001, policy: 1008, expired: 4401 } as const;

/** Messages that a client may send between two heartbeats. */
const MAX_MESSAGES = 60;
const MAX_MESSAGE_BYTES = 4096;

interface Session {
	readonly socket: WebSocket;
	readonly account: string;
	readonly expiresAt: number;
	/** Whether it has answered since the last heartbeat. */
	alive: boolean;
	messages: number;
	sending: boolean;
	/** What is sent when the message under way has left; undefined: nothing. */
	waiting: { revision: number | null } | undefined;
}

export class Live {
	private readonly server = new WebSocketServer({
		noServer: true,
		clientTracking: false,
		maxPayload: MAX_MESSAGE_BYTES,
		perMessageDeflate: false,
		handleProtocols: (protocols) => (protocols.has(PROTOCOL) ? PROTOCOL : false),
	});
	private readonly accounts = new Map<string, Set<Session>>();
	private readonly listener: Listener;
	private count = 0;
	private closing = false;
	private heartbeat: NodeJS.Timeout | undefined;

	constructor(
		private readonly app: FastifyInstance,
		private readonly metrics: Metrics,
	) {
		this.listener = new Listener(
			app.config,
			app.log,
			(change) => this.changed(change),
			(listening) => metrics.listening.set(listening ? 1 : 0),
		);
		app.server.on('upgrade', (request, socket, head) => void this.upgrade(request, socket, head));
		app.addHook('onReady', async () => {
			await this.listener.start();
			this.heartbeat = setInterval(() => this.beat(), app.config.heartbeatSeconds * 1000);
		});
		app.addHook('preClose', async () => this.close());
	}

	// -----------------------------------------------------------------------------------------
	// Who comes
	// -----------------------------------------------------------------------------------------

	private async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
		socket.on('error', () => socket.destroy());
		try {
			const identity = await this.admit(request);
			this.server.handleUpgrade(request, socket, head, (websocket) => this.open(websocket, identity));
		} catch (error) {
			refuse(socket, error);
		}
	}

	private async admit(request: IncomingMessage): Promise<Identity> {
		const { config } = this.app;

		if (new URL(request.url ?? '/', 'http://gateway').pathname !== '/v1/live')
			throw new ProblemError(404, 'Not found', 'there is no such WebSocket');
		if (this.closing || this.count >= config.maxSockets)
			throw new ProblemError(503, 'Too many WebSockets', 'no further WebSocket is taken', { 'retry-after': '5' });
		this.checkOrigin(request);
		const identity = await this.app.authenticate(tokenOf(request));
		if ((this.accounts.get(identity.account)?.size ?? 0) >= config.maxSocketsPerAccount)
			throw new ProblemError(429, 'Too many WebSockets', `an account may have ${config.maxSocketsPerAccount}`, { 'retry-after': '60' });
		return identity;
	}

	/** A page of another origin may connect where it may call, too. */
	private checkOrigin(request: IncomingMessage): void {
		const { origin, host } = request.headers;

		if (origin === undefined || this.app.config.corsOrigins.includes(origin))
			return;
		if (URL.canParse(origin) && new URL(origin).host === host)
			return;
		throw new ProblemError(403, 'Not allowed', 'the origin of the page is not allowed');
	}

	private open(socket: WebSocket, { account, expiresAt }: Identity): void {
		const session: Session = { socket, account, expiresAt, alive: true, messages: 0, sending: false, waiting: undefined };
		const sessions = this.accounts.get(account) ?? new Set();

		this.accounts.set(account, sessions.add(session));
		this.metrics.sockets.set(++this.count);
		socket.on('pong', () => {
			session.alive = true;
		});
		socket.on('message', (data) => this.received(session, data));
		socket.on('error', () => socket.terminate());
		socket.on('close', () => this.gone(session));
		void this.hello(session);
	}

	private gone(session: Session): void {
		const sessions = this.accounts.get(session.account);

		if (!sessions?.delete(session))
			return;
		if (sessions.size === 0)
			this.accounts.delete(session.account);
		this.metrics.sockets.set(--this.count);
	}

	/**
	 * The first message: where the account is.  A client that comes back compares this with the
	 * revision it has; the session is registered already, so nothing falls between.
	 */
	private async hello(session: Session): Promise<void> {
		let revision: number | null = null;

		try {
			revision = await this.app.currentRevision(session.account);
		} catch (error) {
			// The client pulls, and learns what is wrong.
			this.app.log.warn(error);
		}
		this.send(session, {
			type: 'hello',
			revision,
			heartbeat_seconds: this.app.config.heartbeatSeconds,
		});
	}

	// -----------------------------------------------------------------------------------------
	// What is said
	// -----------------------------------------------------------------------------------------

	private changed(change: Change): void {
		if (change !== null) {
			for (const session of this.accounts.get(change.account) ?? [])
				this.poke(session, change.revision);
			return;
		}
		for (const sessions of this.accounts.values())
			for (const session of sessions)
				this.poke(session, null);
	}

	private poke(session: Session, revision: number | null): void {
		if (session.sending) {
			if (session.waiting !== undefined)
				this.metrics.coalesced.inc();
			session.waiting = { revision: later(session.waiting, revision) };
			return;
		}
		this.metrics.pokes.inc();
		this.send(session, { type: 'poke', revision });
	}

	private send(session: Session, message: object): void {
		if (session.socket.readyState !== session.socket.OPEN)
			return;
		session.sending = true;
		session.socket.send(JSON.stringify(message), () => {
			const { waiting } = session;
			session.sending = false;
			session.waiting = undefined;
			if (waiting !== undefined)
				this.poke(session, waiting.revision);
		});
	}

	/** A page sees no ping of the protocol, so it may ask itself. */
	private received(session: Session, data: RawData): void {
		session.alive = true;
		if (++session.messages > MAX_MESSAGES) {
			session.socket.close(CLOSED.policy, 'too many messages');
			return;
		}
		if (typeOf(data) !== 'ping')
			session.socket.close(CLOSED.policy, 'no message that is known');
		else if (!session.sending)
			this.send(session, { type: 'pong' });
	}

	private beat(): void {
		const now = Date.now();

		void this.listener.probe();
		for (const sessions of this.accounts.values())
			for (const session of sessions) {
				if (!session.alive)
					session.socket.terminate();
				else if (session.expiresAt <= now)
					session.socket.close(CLOSED.expired, 'the token has expired');
				else
					session.socket.ping();
				session.alive = false;
				session.messages = 0;
			}
	}

	private async close(): Promise<void> {
		this.closing = true;
		clearInterval(this.heartbeat);
		await this.listener.close();
		for (const sessions of this.accounts.values())
			for (const { socket } of sessions)
				socket.close(CLOSED.goingAway, 'the gateway closes');
		// Who does not answer in a second is cut off.
		const limit = Date.now() + 1000;
		while (this.count > 0 && Date.now() < limit)
			await new Promise((resolve) => setTimeout(resolve, 20));
		for (const sessions of this.accounts.values())
			for (const { socket } of sessions)
				socket.terminate();
	}
}

/** What both say: the higher revision; null says that anything may have happened, and wins. */
function later(waiting: { revision: number | null } | undefined, revision: number | null): number | null {
	if (waiting === undefined || revision === null)
		return revision;
	return waiting.revision === null ? null : Math.max(waiting.revision, revision);
}

/** The type of a message; undefined: it has none. */
function typeOf(data: RawData): unknown {
	try {
		return (JSON.parse(data.toString()) as { type?: unknown } | null)?.type;
	} catch {
		return undefined;
	}
}

function tokenOf(request: IncomingMessage): string | undefined {
	const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
	const token = protocols.find((name) => name.startsWith(TOKEN_PROTOCOL))?.slice(TOKEN_PROTOCOL.length);

	return token ?? bearerOf(request.headers.authorization);
}

function refuse(socket: Duplex, error: unknown): void {
	const { problem, headers } = problemOf(error);
	const body = JSON.stringify(problem);
	const lines = Object.entries({
		connection: 'close',
		'content-type': 'application/problem+json',
		'content-length': String(Buffer.byteLength(body)),
		...headers,
	}).map(([name, value]) => `${name}: ${value}\r\n`);

	socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines.join('')}\r\n${body}`);
}
