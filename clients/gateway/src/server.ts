// The server: plugins, authentication and routes.
import { resolve } from 'node:path';
import { currentRevision } from '@memory-ext/types';
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import fastifyStatic from '@fastify/static';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { type Authenticate, bearerOf, createAuthenticate } from './auth.js';
import type { Config } from './config.js';
import { Database } from './database.js';
import { Live } from './live.js';
import { createMetrics } from './metrics.js';
import { ProblemError, sendProblem } from './problem.js';
import { analyticsRoutes } from './routes/analytics.js';
import { conversationRoutes } from './routes/conversations.js';
import { messageRoutes } from './routes/messages.js';
import { searchRoutes } from './routes/search.js';
import { streamRoutes } from './routes/stream.js';
import { syncRoutes } from './routes/sync.js';
import { transferRoutes } from './routes/transfer.js';
import { createValidatorCompiler } from './validate.js';

declare module 'fastify' {
	interface FastifyInstance {
		config: Config;
		database: Database;
		authenticate: Authenticate;
		/** The revision of an account; null: it cannot be told. */
		currentRevision(account: string): Promise<number | null>;
	}
	interface FastifyRequest {
		/** Whose request it is; set for all routes below /v1. */
		account: string;
		/** When the token expires, in milliseconds since 1970. */
		expiresAt: number;
	}
}

export const VERSION = '1.0.0';

/** The server, ready to listen. */
export async function createServer(config: Config): Promise<FastifyInstance> {
	const app = Fastify({
		logger: {
			level: config.logLevel,
			// a token is nobody's concern
			redact: ['req.headers.authorization', 'req.headers["sec-websocket-protocol"]'],
		},
		bodyLimit: config.maxBodyBytes,
		trustProxy: config.trustProxy,
		requestTimeout: config.transferSeconds * 1000,
		forceCloseConnections: 'idle',
		routerOptions: { maxParamLength: 255 },
	});

	app.setValidatorCompiler(createValidatorCompiler());
	app.decorate('config', config);
	app.decorate('database', new Database(config, (error) => app.log.warn(error)));
	app.decorate('authenticate', createAuthenticate(config));
	app.decorateRequest('account', '');
	app.decorateRequest('expiresAt', 0);
	app.decorate('currentRevision', async (account: string) => {
		const json = await app.database.callValue(account, currentRevision, { account_id: account }, { readOnly: true });
		return JSON.parse(json) as number | null;
	});
	app.addHook('onClose', async () => app.database.close());
	app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
	app.setNotFoundHandler((request, reply) =>
		sendProblem(new ProblemError(404, 'Not found', `there is no ${request.method} ${request.url}`), request, reply),
	);

	if (config.corsOrigins.length > 0)
		await app.register(cors, {
			origin: config.corsOrigins,
			methods: ['GET', 'POST', 'PATCH', 'DELETE'],
			allowedHeaders: ['authorization', 'content-type'],
			exposedHeaders: ['retry-after'],
			maxAge: 600,
		});
	await app.register(swagger, {
		openapi: {
			openapi: '3.1.0',
			info: { title: 'memory_ext gateway', version: VERSION },
			components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
			security: [{ token: [] }],
		},
	});
	new Live(app, createMetrics(app));
	app.get('/healthz', { schema: { hide: true } }, async (_request, reply) => {
		const healthy = await app.database.isReachable();
		return reply.code(healthy ? 200 : 503).send({ status: healthy ? 'ok' : 'database not reachable' });
	});
	await app.register(accountRoutes, { prefix: '/v1' });
	if (config.dashboard !== '')
		await app.register(fastifyStatic, { root: resolve(config.dashboard), setHeaders: secure });
	return app;
}

/** A page of the dashboard loads nothing from elsewhere, and nobody frames it. */
function secure(response: { setHeader(name: string, value: string): unknown }): void {
	response.setHeader(
		'content-security-policy',
		"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';" +
			" frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
	);
	response.setHeader('x-content-type-options', 'nosniff');
	response.setHeader('referrer-policy', 'no-referrer');
}

/** What needs a token. */
async function accountRoutes(app: FastifyInstance): Promise<void> {
	const { config } = app;

	app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
	app.register(async (routes) => {
		routes.addHook('onRequest', async (request) => {
			const identity = await app.authenticate(bearerOf(request.headers.authorization));
			request.account = identity.account;
			request.expiresAt = identity.expiresAt;
		});
		if (config.rateLimit > 0)
			await routes.register(rateLimit, {
				max: config.rateLimit,
				timeWindow: 60_000,
				hook: 'preParsing',
				keyGenerator: (request) => request.account,
				errorResponseBuilder: (_request, context) =>
					new ProblemError(429, 'Too many requests', `more than ${context.max} requests in a minute`),
			});
		await routes.register(conversationRoutes);
		await routes.register(messageRoutes);
		await routes.register(searchRoutes);
		await routes.register(syncRoutes);
		await routes.register(analyticsRoutes);
		await routes.register(transferRoutes);
		await routes.register(streamRoutes);
	});
}
