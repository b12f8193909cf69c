// Numbers for Prometheus.  None of them names an account.
import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { bearerOf } from './auth.js';
import { sqlstateOf } from './database.js';
import { ProblemError } from './problem.js';

export interface Metrics {
	sockets: Gauge;
	pokes: Counter;
	coalesced: Counter;
	listening: Gauge;
}

/** Adds the route /metrics and what measures requests. */
export function createMetrics(app: FastifyInstance): Metrics {
	const registry = new Registry();
	const registers = [registry];
	collectDefaultMetrics({ register: registry });

	const seconds = new Histogram({
		name: 'memory_gateway_request_seconds',
		help: 'Time to answer a request',
		labelNames: ['method', 'route', 'status'],
		buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
		registers,
	});
	const errors = new Counter({
		name: 'memory_gateway_database_errors_total',
		help: 'Errors of the database by SQLSTATE',
		labelNames: ['sqlstate'],
		registers,
	});
	new Gauge({
		name: 'memory_gateway_pool_connections',
		help: 'Connections to the database',
		labelNames: ['state'],
		registers,
		collect() {
			const { pool } = app.database;
			this.set({ state: 'open' }, pool.totalCount);
			this.set({ state: 'idle' }, pool.idleCount);
			this.set({ state: 'waited_for' }, pool.waitingCount);
		},
	});

	app.addHook('onResponse', async (request, reply) => {
		seconds.observe(
			{ method: request.method, route: request.routeOptions.url ?? 'none', status: reply.statusCode },
			reply.elapsedTime / 1000,
		);
	});
	app.addHook('onError', async (_request, _reply, error) => {
		const sqlstate = sqlstateOf(error);
		if (sqlstate !== undefined)
			errors.inc({ sqlstate });
	});
	app.get('/metrics', { schema: { hide: true } }, async (request, reply) => {
		const { metricsToken } = app.config;
		if (metricsToken !== '' && bearerOf(request.headers.authorization) !== metricsToken)
			throw new ProblemError(401, 'Not authenticated', 'the token of the metrics is needed');
		return reply.type(registry.contentType).send(await registry.metrics());
	});
	return {
		sockets: new Gauge({ name: 'memory_gateway_sockets', help: 'WebSockets that are open', registers }),
		pokes: new Counter({ name: 'memory_gateway_pokes_total', help: 'Pokes sent to WebSockets', registers }),
		coalesced: new Counter({
			name: 'memory_gateway_pokes_coalesced_total',
			help: 'Pokes that a later one replaced before they were sent',
			registers,
		}),
		listening: new Gauge({ name: 'memory_gateway_listening', help: '1: the LISTEN connection is up', registers }),
	};
}
