// The configuration: one JSON file, or variables of the environment, which win over the file.
import { readFileSync } from 'node:fs';

interface Option<T> {
	default: T;
	read: (value: unknown) => T;
	what: string;
}

/** How many seconds a timer may be given: setTimeout takes 2^31 - 1 milliseconds. */
const MAX_SECONDS = 2_000_000;

const text = (fallback: string, what: string): Option<string> => ({
	default: fallback,
	what,
	read: (value) => {
		if (typeof value !== 'string')
			throw new TypeError('a text is needed');
		return value;
	},
});

const integer = (fallback: number, min: number, max: number, what: string): Option<number> => ({
	default: fallback,
	what,
	read: (value) => {
		const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
		if (typeof number !== 'number' || !Number.isInteger(number) || number < min || number > max)
			throw new TypeError(`an integer from ${min} to ${max} is needed`);
		return number;
	},
});

const flag = (fallback: boolean, what: string): Option<boolean> => ({
	default: fallback,
	what,
	read: (value) => {
		if (value === true || value === 'true')
			return true;
		if (value === false || value === 'false')
			return false;
		throw new TypeError('true or false is needed');
	},
});

const list = (what: string): Option<string[]> => ({
	default: [],
	what,
	read: (value) => {
		const items = typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value;
		if (!Array.isArray(items) || items.some((item) => typeof item !== 'string'))
			throw new TypeError('a list of texts is needed');
		return items.filter((item) => item !== '');
	},
});

/** Every option, with its default; `what` is for the manual. */
export const OPTIONS = {
	host: text('127.0.0.1', 'The address to listen on.'),
	port: integer(8080, 0, 65535, 'The port to listen on; 0: any free one.'),
	databaseUrl: text('', "The database, as `postgres://…`; empty: libpq's variables (`PGHOST`, …)."),
	poolSize: integer(10, 1, 1000, 'Connections to the database, besides the one that listens.'),
	poolWaitMs: integer(5000, 1, 600_000, 'How long a request waits for a connection.'),
	statementTimeoutMs: integer(10_000, 1, 3_600_000, 'How long a statement may take.'),
	transferSeconds: integer(900, 1, 86_400, 'How long an import or export may take.'),
	idleSeconds: integer(60, 1, MAX_SECONDS, 'How long a stream from or to a client may stand still.'),
	jwtSecret: text('', 'The secret of tokens with HS256, at least 32 bytes.'),
	jwksUrl: text('', 'Where the keys of tokens with RS256 or ES256 are: a URL, or the name of a file.'),
	jwtIssuer: text('', 'The `iss` that a token must have; empty: any.'),
	jwtAudience: text('', 'The `aud` that a token must have; empty: any.'),
	accountClaim: text('sub', 'The claim of a token that names the account.'),
	corsOrigins: list('The origins whose pages may call; none: only the own.'),
	rateLimit: integer(600, 0, 10_000_000, 'Requests of an account in a minute; 0: no limit.'),
	maxBodyBytes: integer(16_777_216, 1024, 268_435_456, 'The largest JSON body.'),
	maxImportBytes: integer(1_073_741_824, 1024, Number.MAX_SAFE_INTEGER, 'The largest import.'),
	streamFlushMs: integer(500, 10, 60_000, 'How often a streaming answer is stored.'),
	maxSockets: integer(10_000, 0, 1_000_000, 'WebSockets at a time.'),
	maxSocketsPerAccount: integer(50, 1, 1_000_000, 'WebSockets of an account at a time.'),
	heartbeatSeconds: integer(30, 1, 3600, 'How often a WebSocket is asked for a sign of life.'),
	shutdownSeconds: integer(10, 0, 3600, 'How long requests have to end after SIGTERM.'),
	trustProxy: flag(false, 'Whether `X-Forwarded-*` of the proxy in front is believed.'),
	metricsToken: text('', 'The bearer token that `/metrics` needs; empty: none.'),
	dashboard: text('', 'A folder with the dashboard, served at `/`; empty: none.'),
	logLevel: text('info', 'fatal, error, warn, info, debug, trace or silent.'),
} as const;

export type Config = {
	[Key in keyof typeof OPTIONS]: (typeof OPTIONS)[Key] extends Option<infer T> ? T : never;
};

/** The variable of an option: statementTimeoutMs is MEMORY_GATEWAY_STATEMENT_TIMEOUT_MS. */
export function variableOf(option: string): string {
	return `MEMORY_GATEWAY_${option.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/**
 * The configuration from a file's content and the environment.  An option that is not known, or
 * a value that cannot be, is an error that names it.
 */
export function readConfig(
	file: Record<string, unknown> = {},
	environment: NodeJS.ProcessEnv = {},
): Config {
	const config: Record<string, unknown> = {};

	for (const key of Object.keys(file))
		if (!Object.hasOwn(OPTIONS, key))
			throw new Error(`unknown option "${key}"`);
	for (const [key, option] of Object.entries(OPTIONS)) {
		const variable = variableOf(key);
		const [value, where] = environment[variable] !== undefined
			? [environment[variable], variable]
			: [file[key], `option "${key}"`];
		try {
			config[key] = value === undefined ? option.default : option.read(value);
		} catch (error) {
			throw new Error(`${where}: ${(error as Error).message}`);
		}
	}
	return check(config as Config);
}

function check(config: Config): Config {
	if (config.jwtSecret === '' && config.jwksUrl === '')
		throw new Error('either jwtSecret or jwksUrl is needed');
	if (config.jwtSecret !== '' && config.jwksUrl !== '')
		throw new Error('jwtSecret and jwksUrl exclude each other');
	if (config.jwtSecret !== '' && Buffer.byteLength(config.jwtSecret) < 32)
		throw new Error('jwtSecret needs at least 32 bytes');
	return config;
}

/** The configuration of a command line: `--config FILE`, or the variable MEMORY_GATEWAY_CONFIG. */
export function loadConfig(args: string[], environment: NodeJS.ProcessEnv): Config {
	let file = environment.MEMORY_GATEWAY_CONFIG;

	for (let i = 0; i < args.length; i++) {
		if (args[i] !== '--config' || args[i + 1] === undefined)
			throw new Error(`unknown argument "${args[i]}"; --config FILE is the only one`);
		file = args[++i];
	}
	return readConfig(file === undefined ? {} : parseFile(file), environment);
}

function parseFile(file: string): Record<string, unknown> {
	const value: unknown = JSON.parse(readFileSync(file, 'utf8'));

	if (typeof value !== 'object' || value === null || Array.isArray(value))
		throw new Error(`${file}: a JSON object is needed`);
	return value as Record<string, unknown>;
}
