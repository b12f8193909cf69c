// The body of a request that streams.
import type { Readable } from 'node:stream';
import { ProblemError } from './problem.js';

/** What the client still sends is not read any more. */
const CLOSE = { connection: 'close' };

/**
 * The pieces of a body, up to a number of bytes.  When nothing comes for a while, that is an error.
 * Either way the request itself stays as it is, so that it can be answered.
 */
export async function* readBody(
	body: Readable,
	limits: { bytes: number; idleSeconds: number },
): AsyncGenerator<Buffer> {
	const pieces = body.iterator({ destroyOnReturn: false });
	let bytes = 0;

	for (;;) {
		const piece = await withLimit(pieces.next(), limits.idleSeconds);
		if (piece.done === true)
			return;
		bytes += (piece.value as Buffer).length;
		if (bytes > limits.bytes)
			throw new ProblemError(413, 'Too large', `the body may have ${limits.bytes} bytes`, CLOSE);
		yield piece.value as Buffer;
	}
}

async function withLimit<T>(promise: Promise<T>, seconds: number): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const expired = new Promise<never>((_resolve, reject) => {
		timer = setTimeout(() => reject(
			new ProblemError(408, 'Timeout', `nothing came for ${seconds} seconds`, CLOSE)), seconds * 1000);
	});

	try {
		return await Promise.race([promise, expired]);
	} finally {
		clearTimeout(timer);
		// What comes after the limit is nobody's concern.
		promise.catch(() => {});
	}
}
