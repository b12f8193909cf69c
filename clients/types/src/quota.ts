// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Plans, subscriptions and quotas.
import type { Call, CalendarDay, JsonValue, Relation, Timestamp } from './base.js';

/** How much of a meter a plan allows in a period; levels (conversations, content_bytes) have the period current. */
export interface PlanLimitsRow {
	plan_id: string;
	meter: 'conversations' | 'messages' | 'tokens' | 'content_bytes';
	period: 'hour' | 'day' | 'month' | 'lifetime' | 'current';
	/** Null: no limit. */
	limit_value: number | null;
	/** Hard: refused with SQLSTATE MX001; soft: allowed, with an event. */
	enforcement: 'hard' | 'soft';
	/** Fractions of the limit at which an event is written. */
	thresholds: number[];
}

/** Table memory.plan_limits. */
export const planLimitsRelation: Relation<PlanLimitsRow> = {
	name: 'plan_limits',
	kind: 'table',
	columns: {
		plan_id: { type: 'text', nullable: false },
		meter: { type: 'text', nullable: false },
		period: { type: 'text', nullable: false },
		limit_value: { type: 'bigint', nullable: true, comment: 'null: no limit' },
		enforcement: { type: 'text', nullable: false, comment: 'hard: refused with SQLSTATE MX001; soft: allowed, with an event' },
		thresholds: { type: 'numeric[]', nullable: false, comment: 'fractions of the limit at which an event is written' },
	},
	comment: 'how much of a meter a plan allows in a period; levels (conversations, content_bytes) have the period current',
};

/** The components of a plan's price, from a UTC day on; plan_id empty: for subscriptions without a plan. */
export interface PlanPricesRow {
	plan_id: string;
	component: string;
	valid_from: CalendarDay;
	/** Flat: a fee per period; unit: by quantity; package: for each package begun; graduated: each tier's part at its price; volume: everything at the price of the tier reached; model: the models' own prices, times price. */
	kind: 'flat' | 'unit' | 'graduated' | 'volume' | 'package' | 'model';
	meter: 'messages' | 'requests' | 'input_tokens' | 'cached_input_tokens' | 'cache_creation_tokens' | 'output_tokens' | 'tokens' | 'content_bytes' | null;
	/** Counts this model's usage only; null: all. */
	model: string | null;
	price: number | null;
	package_size: number | null;
	tiers: JsonValue;
	description: string | null;
}

/** Table memory.plan_prices. */
export const planPricesRelation: Relation<PlanPricesRow> = {
	name: 'plan_prices',
	kind: 'table',
	columns: {
		plan_id: { type: 'text', nullable: false },
		component: { type: 'text', nullable: false },
		valid_from: { type: 'date', nullable: false },
		kind: { type: 'text', nullable: false, comment: 'flat: a fee per period; unit: by quantity; package: for each package begun; graduated: each tier\'s part at its price; volume: everything at the price of the tier reached; model: the models\' own prices, times price' },
		meter: { type: 'text', nullable: true },
		model: { type: 'text', nullable: true, comment: 'counts this model\'s usage only; null: all' },
		price: { type: 'numeric', nullable: true },
		package_size: { type: 'numeric', nullable: true },
		tiers: { type: 'jsonb', nullable: true },
		description: { type: 'text', nullable: true },
	},
	comment: 'the components of a plan\'s price, from a UTC day on; plan_id empty: for subscriptions without a plan',
};

/** The plans that a subscription may have; without any plan nothing is limited. */
export interface PlansRow {
	plan_id: string;
	title: string;
	/** Determines which plan is cheaper: upgrade_required proposes the cheapest that fits. */
	price: number;
	/** False: never proposed as an upgrade. */
	offered: boolean;
	/** The plan of every subscription that was not assigned one; true for at most one plan. */
	is_default: boolean;
}

/** Table memory.plans. */
export const plansRelation: Relation<PlansRow> = {
	name: 'plans',
	kind: 'table',
	columns: {
		plan_id: { type: 'text', nullable: false },
		title: { type: 'text', nullable: false },
		price: { type: 'numeric', nullable: false, comment: 'determines which plan is cheaper: upgrade_required proposes the cheapest that fits' },
		offered: { type: 'boolean', nullable: false, comment: 'false: never proposed as an upgrade' },
		is_default: { type: 'boolean', nullable: false, comment: 'the plan of every subscription that was not assigned one; true for at most one plan' },
	},
	comment: 'the plans that a subscription may have; without any plan nothing is limited',
};

/** The state of a meter, according to the limit that leaves least; nulls: no limit. */
export interface QuotaStatus {
	allowed: boolean;
	used: number | null;
	reserved: number | null;
	limit_value: number | null;
	remaining: number | null;
	period: string | null;
	period_start: Timestamp | null;
	period_end: Timestamp | null;
	enforcement: string | null;
	reason: string | null;
}

/** Type memory.quota_status. */
export const quotaStatusType: Relation<QuotaStatus> = {
	name: 'quota_status',
	kind: 'type',
	columns: {
		allowed: { type: 'boolean', nullable: false },
		used: { type: 'bigint', nullable: true },
		reserved: { type: 'bigint', nullable: true },
		limit_value: { type: 'bigint', nullable: true },
		remaining: { type: 'bigint', nullable: true },
		period: { type: 'text', nullable: true },
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
		enforcement: { type: 'text', nullable: true },
		reason: { type: 'text', nullable: true },
	},
	comment: 'the state of a meter, according to the limit that leaves least; nulls: no limit',
};

/** Percent of each limit that a subscription has used in the period. */
export interface QuotaUsageRow {
	subscription_id: string;
	plan_id: string | null;
	meter: string;
	period: string;
	used: number;
	reserved: number;
	limit_value: number | null;
	enforcement: string;
	percent: number | null;
	period_start: Timestamp | null;
	period_end: Timestamp | null;
}

/** View memory.quota_usage. */
export const quotaUsageRelation: Relation<QuotaUsageRow> = {
	name: 'quota_usage',
	kind: 'view',
	columns: {
		subscription_id: { type: 'text', nullable: false },
		plan_id: { type: 'text', nullable: true },
		meter: { type: 'text', nullable: false },
		period: { type: 'text', nullable: false },
		used: { type: 'bigint', nullable: false },
		reserved: { type: 'bigint', nullable: false },
		limit_value: { type: 'bigint', nullable: true },
		enforcement: { type: 'text', nullable: false },
		percent: { type: 'numeric', nullable: true },
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'percent of each limit that a subscription has used in the period',
};

/** Who pays: plan, anchor of the periods, and the next change of plan. */
export interface SubscriptionsRow {
	subscription_id: string;
	plan_id: string | null;
	starts_at: Timestamp | null;
	time_zone: string | null;
	next_plan_id: string | null;
	next_plan_at: Timestamp | null;
}

/** View memory.subscriptions. */
export const subscriptionsRelation: Relation<SubscriptionsRow> = {
	name: 'subscriptions',
	kind: 'view',
	columns: {
		subscription_id: { type: 'text', nullable: false },
		plan_id: { type: 'text', nullable: true },
		starts_at: { type: 'timestamp with time zone', nullable: true },
		time_zone: { type: 'text', nullable: true },
		next_plan_id: { type: 'text', nullable: true },
		next_plan_at: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'who pays: plan, anchor of the periods, and the next change of plan',
};

/** The arguments of memory.change_plan. */
export interface ChangePlanArgs {
	subscription_id: string | null;
	plan_id: string | null;
	timing?: string | null | undefined;
}

/** Changes the plan of a subscription; timing auto: an upgrade takes effect now, a downgrade at the end of the month's period; returns when it takes effect. */
export const changePlan: Call<ChangePlanArgs, Timestamp> = {
	name: 'change_plan',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'subscription_id', type: 'text', optional: false },
		{ name: 'plan_id', type: 'text', optional: false },
		{ name: 'timing', type: 'text', optional: true },
	],
	columns: {
		value: { type: 'timestamp with time zone', nullable: false },
	},
	comment: 'changes the plan of a subscription; timing auto: an upgrade takes effect now, a downgrade at the end of the month\'s period; returns when it takes effect',
};

/** The arguments of memory.check_quota. */
export interface CheckQuotaArgs {
	account_id: string | null;
	meter: string | null;
	amount?: number | null | undefined;
}

/** Whether an amount would be allowed now; takes no lock, so another session may use it up first. */
export const checkQuota: Call<CheckQuotaArgs, QuotaStatus> = {
	name: 'check_quota',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'meter', type: 'text', optional: false },
		{ name: 'amount', type: 'bigint', optional: true },
	],
	columns: {
		allowed: { type: 'boolean', nullable: false },
		used: { type: 'bigint', nullable: true },
		reserved: { type: 'bigint', nullable: true },
		limit_value: { type: 'bigint', nullable: true },
		remaining: { type: 'bigint', nullable: true },
		period: { type: 'text', nullable: true },
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
		enforcement: { type: 'text', nullable: true },
		reason: { type: 'text', nullable: true },
	},
	comment: 'whether an amount would be allowed now; takes no lock, so another session may use it up first',
};

/** The arguments of memory.enforce_limit. */
export interface EnforceLimitArgs {
	account_id: string | null;
	meter: string | null;
	amount?: number | null | undefined;
}

/** Consumes an amount or raises MX001; the store's own writes do this automatically. */
export const enforceLimit: Call<EnforceLimitArgs, QuotaStatus> = {
	name: 'enforce_limit',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'meter', type: 'text', optional: false },
		{ name: 'amount', type: 'bigint', optional: true },
	],
	columns: {
		allowed: { type: 'boolean', nullable: false },
		used: { type: 'bigint', nullable: true },
		reserved: { type: 'bigint', nullable: true },
		limit_value: { type: 'bigint', nullable: true },
		remaining: { type: 'bigint', nullable: true },
		period: { type: 'text', nullable: true },
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
		enforcement: { type: 'text', nullable: true },
		reason: { type: 'text', nullable: true },
	},
	comment: 'consumes an amount or raises MX001; the store\'s own writes do this automatically',
};

/** The arguments of memory.load_example_plans. */
export interface LoadExamplePlansArgs {
}

/** Inserts example plans free, pro and team with limits; existing ones are not changed. */
export const loadExamplePlans: Call<LoadExamplePlansArgs, void> = {
	name: 'load_example_plans',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
	],
	columns: {
	},
	comment: 'inserts example plans free, pro and team with limits; existing ones are not changed',
};

/** The arguments of memory.period_bounds. */
export interface PeriodBoundsArgs {
	period: string | null;
	anchor: Timestamp | null;
	time_zone: string | null;
	moment: Timestamp | null;
}

/** A row of memory.period_bounds. */
export interface PeriodBoundsResult {
	period_start: Timestamp | null;
	period_end: Timestamp | null;
}

/** The hour, day or month that contains a moment, counted from an anchor in a time zone; the end is excluded. */
export const periodBounds: Call<PeriodBoundsArgs, PeriodBoundsResult> = {
	name: 'period_bounds',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'period', type: 'text', optional: false },
		{ name: 'anchor', type: 'timestamp with time zone', optional: false },
		{ name: 'time_zone', type: 'text', optional: false },
		{ name: 'moment', type: 'timestamp with time zone', optional: false },
	],
	columns: {
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
	},
	comment: 'the hour, day or month that contains a moment, counted from an anchor in a time zone; the end is excluded',
};

/** The arguments of memory.release_usage. */
export interface ReleaseUsageArgs {
	account_id: string | null;
	reservation_id: string | null;
}

/** Ends a reservation without use. */
export const releaseUsage: Call<ReleaseUsageArgs, void> = {
	name: 'release_usage',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'reservation_id', type: 'text', optional: false },
	],
	columns: {
	},
	comment: 'ends a reservation without use',
};

/** The arguments of memory.reserve_usage. */
export interface ReserveUsageArgs {
	account_id: string | null;
	reservation_id: string | null;
	amount: number | null;
	meter?: string | null | undefined;
	keep_for?: string | null | undefined;
}

/** Reserves the most that a call may use, or raises MX001; the same id again changes nothing. */
export const reserveUsage: Call<ReserveUsageArgs, QuotaStatus> = {
	name: 'reserve_usage',
	kind: 'function',
	returns: 'row',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'reservation_id', type: 'text', optional: false },
		{ name: 'amount', type: 'bigint', optional: false },
		{ name: 'meter', type: 'text', optional: true },
		{ name: 'keep_for', type: 'interval', optional: true },
	],
	columns: {
		allowed: { type: 'boolean', nullable: false },
		used: { type: 'bigint', nullable: true },
		reserved: { type: 'bigint', nullable: true },
		limit_value: { type: 'bigint', nullable: true },
		remaining: { type: 'bigint', nullable: true },
		period: { type: 'text', nullable: true },
		period_start: { type: 'timestamp with time zone', nullable: true },
		period_end: { type: 'timestamp with time zone', nullable: true },
		enforcement: { type: 'text', nullable: true },
		reason: { type: 'text', nullable: true },
	},
	comment: 'reserves the most that a call may use, or raises MX001; the same id again changes nothing',
};

/** The arguments of memory.set_subscription. */
export interface SetSubscriptionArgs {
	account_id: string | null;
	subscription_id: string | null;
}

/** Assigns an account to a subscription; the levels of its conversations move with it. */
export const setSubscription: Call<SetSubscriptionArgs, void> = {
	name: 'set_subscription',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'subscription_id', type: 'text', optional: false },
	],
	columns: {
	},
	comment: 'assigns an account to a subscription; the levels of its conversations move with it',
};

/** The arguments of memory.settle_usage. */
export interface SettleUsageArgs {
	account_id: string | null;
	reservation_id: string | null;
	actual: number | null;
}

/** Ends a reservation and counts what was used, at most what was reserved. */
export const settleUsage: Call<SettleUsageArgs, void> = {
	name: 'settle_usage',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'reservation_id', type: 'text', optional: false },
		{ name: 'actual', type: 'bigint', optional: false },
	],
	columns: {
	},
	comment: 'ends a reservation and counts what was used, at most what was reserved',
};

/** The arguments of memory.subscribe. */
export interface SubscribeArgs {
	subscription_id: string | null;
	plan_id: string | null;
	starts_at?: Timestamp | null | undefined;
	time_zone?: string | null | undefined;
}

/** Creates a subscription with a plan; its periods are counted from starts_at in its time zone. */
export const subscribe: Call<SubscribeArgs, void> = {
	name: 'subscribe',
	kind: 'function',
	returns: 'nothing',
	named: true,
	args: [
		{ name: 'subscription_id', type: 'text', optional: false },
		{ name: 'plan_id', type: 'text', optional: false },
		{ name: 'starts_at', type: 'timestamp with time zone', optional: true },
		{ name: 'time_zone', type: 'text', optional: true },
	],
	columns: {
	},
	comment: 'creates a subscription with a plan; its periods are counted from starts_at in its time zone',
};

/** The arguments of memory.upgrade_required. */
export interface UpgradeRequiredArgs {
	account_id: string | null;
}

/** The cheapest offered plan that allows what the account uses and one more of each meter; null: the present plan does, or no plan does. */
export const upgradeRequired: Call<UpgradeRequiredArgs, string | null> = {
	name: 'upgrade_required',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'text', nullable: true },
	},
	comment: 'the cheapest offered plan that allows what the account uses and one more of each meter; null: the present plan does, or no plan does',
};
