// The key of a page's last row, as a text that clients hand back and do not look into.
import { ProblemError } from './problem.js';

export function encodeCursor(key: readonly (string | null)[]): string {
	return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** The key with so many parts; anything that encodeCursor did not make is refused. */
export function decodeCursor(cursor: string, parts: number): (string | null)[] {
	try {
		const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
		if (Array.isArray(key) && key.length === parts &&
			key.every((part) => part === null || typeof part === 'string'))
			return key as (string | null)[];
	} catch {
		// refused below
	}
	throw new ProblemError(400, 'Bad value', 'the cursor is none that this server made');
}
