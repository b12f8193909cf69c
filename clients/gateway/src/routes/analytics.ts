// Usage, costs, quotas, storage and invoices of the account.
import {
	type CostDailyRow, type QuotaUsageRow, type StorageDailyRow, type SubscriptionsRow,
	type UsageByModelRow, type UsageDailyRow, checkQuota, costDailyRelation, invoice,
	quotaUsageRelation, rowSchema, storageDailyRelation, usageByModelRelation, usageDailyRelation,
} from '@memory-ext/types';
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { columnsOf } from '../database.js';
import { Day, answers, arrayOf, object, pick } from '../schemas.js';

const DaysQuery = Type.Object({
	from: Type.Optional(Day),
	to: Type.Optional(Type.String({ format: 'date', description: 'the day after the last one' })),
});

const InvoiceQuery = Type.Object({
	from: Day,
	to: Type.String({ format: 'date', description: 'the day after the last one' }),
});

const MeterParams = Type.Object({ meter: Type.String() });
const QuotaQuery = Type.Object({
	amount: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
});

const USAGE_DAILY = [
	'day', 'model', 'messages', 'requests', 'input_tokens', 'cached_input_tokens',
	'cache_creation_tokens', 'output_tokens', 'content_bytes', 'imported_messages',
	'imported_tokens', 'imported_bytes',
] as const satisfies (keyof UsageDailyRow)[];
const USAGE_BY_MODEL = [
	'month', 'model', 'messages', 'requests', 'input_tokens', 'cached_input_tokens',
	'cache_creation_tokens', 'output_tokens', 'content_bytes',
] as const satisfies (keyof UsageByModelRow)[];
const COST_DAILY = [
	'day', 'model', 'input_cost', 'cached_input_cost', 'cache_creation_cost', 'output_cost', 'cost',
] as const satisfies (keyof CostDailyRow)[];
const STORAGE_DAILY = [
	'day', 'added_messages', 'removed_messages', 'added_bytes', 'removed_bytes', 'messages',
	'content_bytes',
] as const satisfies (keyof StorageDailyRow)[];
const QUOTA_USAGE = [
	'subscription_id', 'plan_id', 'meter', 'period', 'used', 'reserved', 'limit_value', 'enforcement',
	'percent', 'period_start', 'period_end',
] as const satisfies (keyof QuotaUsageRow)[];

/** Days without a beginning or an end are the last thirty. */
const DAYS = `coalesce($2::date, (now() - interval '30 days')::date) AND day < coalesce($3::date, 'infinity')`;

export async function analyticsRoutes(app: FastifyInstance): Promise<void> {
	type Days = { Querystring: Static<typeof DaysQuery> };

	app.get<Days>('/usage', {
		schema: {
			summary: 'Usage by UTC day and model; without from, of the last thirty days',
			querystring: DaysQuery,
			response: answers(object({ usage: arrayOf(pick(usageDailyRelation, ...USAGE_DAILY)) }), 'the days'),
		},
	}, async (request, reply) => {
		const json = await app.database.rows(
			request.account,
			`SELECT ${columnsOf<UsageDailyRow>(...USAGE_DAILY)} FROM memory.usage_daily
			WHERE account_id = $1 AND day >= ${DAYS} ORDER BY day, model`,
			[request.account, request.query.from ?? null, request.query.to ?? null],
		);
		return reply.type('application/json').send(`{"usage":${json}}`);
	});

	app.get('/usage/models', {
		schema: {
			summary: 'Usage by calendar month and model',
			response: answers(object({ usage: arrayOf(pick(usageByModelRelation, ...USAGE_BY_MODEL)) }), 'the months'),
		},
	}, async (request, reply) => {
		const json = await app.database.rows(
			request.account,
			`SELECT ${columnsOf<UsageByModelRow>(...USAGE_BY_MODEL)} FROM memory.usage_by_model
			WHERE account_id = $1 ORDER BY month DESC, model LIMIT 1000`,
			[request.account],
		);
		return reply.type('application/json').send(`{"usage":${json}}`);
	});

	app.get<Days>('/costs', {
		schema: {
			summary: 'Costs by UTC day and model; null: a price is missing',
			querystring: DaysQuery,
			response: answers(object({ costs: arrayOf(pick(costDailyRelation, ...COST_DAILY)) }), 'the days'),
		},
	}, async (request, reply) => {
		const json = await app.database.rows(
			request.account,
			`SELECT ${columnsOf<CostDailyRow>(...COST_DAILY)} FROM memory.cost_daily
			WHERE account_id = $1 AND day >= ${DAYS} ORDER BY day, model`,
			[request.account, request.query.from ?? null, request.query.to ?? null],
		);
		return reply.type('application/json').send(`{"costs":${json}}`);
	});

	app.get<Days>('/storage', {
		schema: {
			summary: 'Messages and bytes stored by UTC day',
			querystring: DaysQuery,
			response: answers(object({ storage: arrayOf(pick(storageDailyRelation, ...STORAGE_DAILY)) }), 'the days'),
		},
	}, async (request, reply) => {
		// What is stored at the end of a day is a sum over all days before it.
		const json = await app.database.rows(
			request.account,
			`SELECT ${columnsOf<StorageDailyRow>(...STORAGE_DAILY)} FROM memory.storage_daily
			WHERE account_id = $1 AND day >= ${DAYS} ORDER BY day`,
			[request.account, request.query.from ?? null, request.query.to ?? null],
		);
		return reply.type('application/json').send(`{"storage":${json}}`);
	});

	app.get('/quota', {
		schema: {
			summary: "Where each limit of the account's subscription stands",
			response: answers(object({ quota: arrayOf(pick(quotaUsageRelation, ...QUOTA_USAGE)) }), 'a row for each limit'),
		},
	}, async (request, reply) => {
		const json = await app.database.rows(
			request.account,
			`SELECT ${columnsOf<QuotaUsageRow>(...QUOTA_USAGE)} FROM memory.quota_usage ORDER BY meter, period`,
			[],
		);
		return reply.type('application/json').send(`{"quota":${json}}`);
	});

	app.get<{ Params: Static<typeof MeterParams>; Querystring: Static<typeof QuotaQuery> }>('/quota/:meter', {
		schema: {
			summary: 'Whether an amount of a meter would be admitted now',
			params: MeterParams,
			querystring: QuotaQuery,
			response: answers(rowSchema(checkQuota), 'by the limit that refuses it or leaves least'),
		},
	}, async (request, reply) => {
		const json = await app.database.callValue(
			request.account,
			checkQuota,
			{ account_id: request.account, meter: request.params.meter, amount: request.query.amount },
			{ readOnly: true },
		);
		return reply.type('application/json').send(json);
	});

	app.get<{ Querystring: Static<typeof InvoiceQuery> }>('/invoice', {
		schema: {
			summary: "What the account's subscription owes; the gateway's role must be an operator",
			querystring: InvoiceQuery,
			response: answers(object({ lines: arrayOf(invoice) }), 'the last line is the total'),
		},
	}, async (request, reply) => {
		const json = await app.database.rows(
			request.account,
			`SELECT i.* FROM (SELECT coalesce((SELECT ${columnsOf<SubscriptionsRow>('subscription_id')}
					FROM memory.subscriptions LIMIT 1), $1) AS id) s,
				memory.invoice(s.id, $2::date, $3::date) i`,
			[request.account, request.query.from, request.query.to],
		);
		return reply.type('application/json').send(`{"lines":${json}}`);
	});
}
