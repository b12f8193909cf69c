// Several tabs share one copy.  One of them leads: it holds a lock for as long as it lives, and
// replicates for all; when it is closed or killed, the browser gives the lock to the next.  What
// one tab changes it tells the others by a BroadcastChannel.
import type { Change } from './store.js';

export type TabMessage<State> =
	| { type: 'changed'; change: Change }
	/** There is something to push, or a conversation that somebody waits for. */
	| { type: 'work' }
	/** The same, and what was refused is to be tried again. */
	| { type: 'sync' }
	/** How the leader is; asked for by those who have just come. */
	| { type: 'state'; state: State }
	| { type: 'ask' }
	/** The copy now is another one; null: it is gone. */
	| { type: 'erased'; generation: string | null };

export class Tabs<State> {
	private readonly channel: BroadcastChannel | undefined;
	private readonly leaving = new AbortController();
	private giveUp: (() => void) | undefined;
	private held: Promise<unknown> = Promise.resolve();

	/** The lock is that of one life of the copy: a tab that still shows an older one is in nobody's way. */
	constructor(
		name: string,
		private readonly lock: string,
		onMessage: (message: TabMessage<State>) => void,
	) {
		if (typeof BroadcastChannel === 'undefined')
			return;
		this.channel = new BroadcastChannel(name);
		this.channel.onmessage = ({ data }) => onMessage(data as TabMessage<State>);
		// In Node an open channel must not keep the program alive.
		(this.channel as { unref?: () => void }).unref?.();
	}

	tell(message: TabMessage<State>): void {
		this.channel?.postMessage(message);
	}

	/** Calls lead when this tab leads; where there are no locks it is alone. */
	elect(lead: () => void): void {
		if (typeof navigator === 'undefined' || navigator.locks === undefined) {
			lead();
			return;
		}
		this.held = navigator.locks
			.request(this.lock, { signal: this.leaving.signal }, () => {
				if (this.leaving.signal.aborted)
					return undefined;
				lead();
				return new Promise<void>((resolve) => {
					this.giveUp = resolve;
				});
			})
			.catch(() => {});
	}

	/** Runs work if nobody leads: for a service worker, which sleeps as soon as it can. */
	async ifAlone(work: () => Promise<void>): Promise<boolean> {
		if (typeof navigator === 'undefined' || navigator.locks === undefined) {
			await work();
			return true;
		}
		return navigator.locks.request(this.lock, { ifAvailable: true }, async (lock) => {
			if (lock !== null)
				await work();
			return lock !== null;
		});
	}

	/** Leaves the others; the next one leads. */
	async close(): Promise<void> {
		this.leaving.abort();
		this.giveUp?.();
		await this.held;
		this.channel?.close();
	}
}
