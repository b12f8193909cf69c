// Waiting longer after each failure, by a random part of a limit that doubles, so that a thousand
// devices that lost the same server do not come back at once.  Delays are measured by timers, not
// by the clock, which somebody may set.

export interface BackoffOptions {
	/** The limit of the first delay, in milliseconds. */
	firstMs: number;
	/** The largest limit, in milliseconds. */
	mostMs: number;
	random: () => number;
}

export class Backoff {
	private failures = 0;

	constructor(private readonly options: BackoffOptions) {}

	/** The delay after one more failure, in milliseconds. */
	next(): number {
		const limit = Math.min(
			this.options.mostMs,
			this.options.firstMs * 2 ** Math.min(this.failures++, 30),
		);

		return Math.ceil(limit * (0.1 + 0.9 * this.options.random()));
	}

	reset(): void {
		this.failures = 0;
	}
}

/** Something that may be waited for, any number of times; a signal that nobody awaits is kept. */
export class Signal {
	private pending = false;
	private wake: (() => void) | undefined;

	set(): void {
		this.pending = true;
		this.wake?.();
	}

	/** Until it is set, or so many milliseconds have passed; without a number as long as it takes. */
	async wait(ms?: number): Promise<void> {
		if (!this.pending)
			await new Promise<void>((resolve) => {
				const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
				this.wake = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		this.wake = undefined;
		this.pending = false;
	}
}
