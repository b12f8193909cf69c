// Whose request it is: the account that a JSON Web Token names.
import { createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
	type JWTPayload, type JWTVerifyOptions, createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify,
} from 'jose';
import type { Config } from './config.js';
import { ProblemError } from './problem.js';

export interface Identity {
	account: string;
	/** When the token expires, in milliseconds since 1970. */
	expiresAt: number;
}

export type Authenticate = (token: string | undefined) => Promise<Identity>;

/** The bearer token of a header, if there is one. */
export function bearerOf(header: string | undefined): string | undefined {
	return /^Bearer +([\w.~+/=-]+) *$/i.exec(header ?? '')?.[1];
}

/** What jose reports when the keys cannot be fetched. */
const UNREACHABLE = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC']);

/** A function that verifies tokens as the configuration says, or throws a ProblemError. */
export function createAuthenticate(config: Config): Authenticate {
	const verify = createVerify(config, {
		clockTolerance: 5,
		requiredClaims: ['exp', config.accountClaim],
		...(config.jwtIssuer === '' ? {} : { issuer: config.jwtIssuer }),
		...(config.jwtAudience === '' ? {} : { audience: config.jwtAudience }),
	});

	return async (token) => {
		if (token === undefined)
			throw unauthorized('a bearer token is needed');
		let payload: JWTPayload;
		try {
			payload = await verify(token);
		} catch (error) {
			if (!(error instanceof errors.JOSEError) || UNREACHABLE.has(error.code))
				throw new ProblemError(503, 'Keys not reachable', 'the keys of tokens cannot be fetched');
			throw unauthorized(error.message, true);
		}
		return { account: accountOf(payload, config.accountClaim), expiresAt: (payload.exp ?? 0) * 1000 };
	};
}

/** Each kind of key has algorithms of its own, so that none is taken for one of the other kind. */
function createVerify(config: Config, options: JWTVerifyOptions): (token: string) => Promise<JWTPayload> {
	if (config.jwtSecret !== '') {
		const key = createSecretKey(Buffer.from(config.jwtSecret));
		return async (token) => (await jwtVerify(token, key, { ...options, algorithms: ['HS256'] })).payload;
	}
	const keys = /^https?:/.test(config.jwksUrl)
		? createRemoteJWKSet(new URL(config.jwksUrl))
		: createLocalJWKSet(JSON.parse(readFileSync(config.jwksUrl, 'utf8')));
	return async (token) =>
		(await jwtVerify(token, keys, { ...options, algorithms: ['RS256', 'ES256'] })).payload;
}

function accountOf(payload: JWTPayload, claim: string): string {
	const account = payload[claim];

	if (typeof account !== 'string' || account.includes('\0') ||
		account === '' || Buffer.byteLength(account) > 255)
		throw unauthorized(`the claim "${claim}" is no account: a text of 1 to 255 bytes`, true);
	return account;
}

function unauthorized(detail: string, given = false): ProblemError {
	return new ProblemError(401, 'Not authenticated', detail, {
		'www-authenticate': given ? 'Bearer error="invalid_token"' : 'Bearer',
	});
}
