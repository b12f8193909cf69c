// The server: plugins, authentication and routes.
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import Fastify, { type FastifyInstance } from 'fastify';
import { type Authenticate, bearerOf, createAuthenticate } from './auth.js';
import type { Config } from './config.js';
import { Database } from './database.js';
import { ProblemError, sendProblem } from './problem.js';
import { conversationRoutes } from './routes/conversations.js';
import { messageRoutes } from './routes/messages.js';
import { createValidatorCompiler } from './validate.js';

declare module 'fastify' {
	interface FastifyInstance {
		config: Config;
		database: Database;
		authenticate: Authenticate;
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
	app.get('/healthz', { schema: { hide: true } }, async (_request, reply) => {
		const healthy = await app.database.isReachable();
		return reply.code(healthy ? 200 : 503).send({ status: healthy ? 'ok' : 'database not reachable' });
	});
	await app.register(accountRoutes, { prefix: '/v1' });
	return app;
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
	});
}
