// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Usage, costs, invoices, storage.
import type { Call, CalendarDay, JsonValue, Relation, Timestamp, Uuid } from './base.js';

/** Usage_daily at the prices of the day, not rounded; null: a price is missing. */
export interface CostDailyRow {
	account_id: string;
	day: CalendarDay;
	model: string | null;
	input_cost: number | null;
	cached_input_cost: number | null;
	cache_creation_cost: number | null;
	output_cost: number | null;
	cost: number | null;
}

/** View memory.cost_daily. */
export const costDailyRelation: Relation<CostDailyRow> = {
	name: 'cost_daily',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		day: { type: 'date', nullable: false },
		model: { type: 'text', nullable: true },
		input_cost: { type: 'numeric', nullable: true },
		cached_input_cost: { type: 'numeric', nullable: true },
		cache_creation_cost: { type: 'numeric', nullable: true },
		output_cost: { type: 'numeric', nullable: true },
		cost: { type: 'numeric', nullable: true },
	},
	comment: 'usage_daily at the prices of the day, not rounded; null: a price is missing',
};

/** What a model's tokens cost from a UTC day on, until a later row of the model; null: unknown. */
export interface ModelPricesRow {
	model: string;
	valid_from: CalendarDay;
	input_cost_per_token: number | null;
	output_cost_per_token: number | null;
	cached_input_cost_per_token: number | null;
	cache_creation_cost_per_token: number | null;
	provider: string | null;
	mode: string | null;
	/** Other prices that an import found: batches, audio, long contexts; rating does not use them. */
	other_costs: JsonValue;
}

/** Table memory.model_prices. */
export const modelPricesRelation: Relation<ModelPricesRow> = {
	name: 'model_prices',
	kind: 'table',
	columns: {
		model: { type: 'text', nullable: false },
		valid_from: { type: 'date', nullable: false },
		input_cost_per_token: { type: 'numeric', nullable: true },
		output_cost_per_token: { type: 'numeric', nullable: true },
		cached_input_cost_per_token: { type: 'numeric', nullable: true },
		cache_creation_cost_per_token: { type: 'numeric', nullable: true },
		provider: { type: 'text', nullable: true },
		mode: { type: 'text', nullable: true },
		other_costs: { type: 'jsonb', nullable: true, comment: 'other prices that an import found: batches, audio, long contexts; rating does not use them' },
	},
	comment: 'what a model\'s tokens cost from a UTC day on, until a later row of the model; null: unknown',
};

/** The last position that each consumer has acknowledged, and how many events are waiting. */
export interface OutboxConsumersRow {
	consumer: string | null;
	position: number;
	acknowledged_at: Timestamp | null;
	waiting: number | null;
}

/** View memory.outbox_consumers. */
export const outboxConsumersRelation: Relation<OutboxConsumersRow> = {
	name: 'outbox_consumers',
	kind: 'view',
	columns: {
		consumer: { type: 'text', nullable: true },
		position: { type: 'bigint', nullable: false },
		acknowledged_at: { type: 'timestamp with time zone', nullable: true },
		waiting: { type: 'bigint', nullable: true },
	},
	comment: 'the last position that each consumer has acknowledged, and how many events are waiting',
};

/** A billing event, as memory.outbox_read returns it. */
export interface OutboxEvent {
	position: number;
	event_id: Uuid;
	type: string;
	subscription_id: string;
	account_id: string | null;
	occurred_at: Timestamp;
	data: JsonValue;
}

/** Type memory.outbox_event. */
export const outboxEventType: Relation<OutboxEvent> = {
	name: 'outbox_event',
	kind: 'type',
	columns: {
		position: { type: 'bigint', nullable: false },
		event_id: { type: 'uuid', nullable: false },
		type: { type: 'text', nullable: false },
		subscription_id: { type: 'text', nullable: false },
		account_id: { type: 'text', nullable: true },
		occurred_at: { type: 'timestamp with time zone', nullable: false },
		data: { type: 'jsonb', nullable: false },
	},
	comment: 'a billing event, as memory.outbox_read returns it',
};

/** Per account: conversations, messages, the bytes of their contents, and the bytes they take in the store. */
export interface StorageRow {
	account_id: string;
	conversations: number;
	messages: number;
	segments: number | null;
	tail_messages: number | null;
	raw_bytes: number;
	stored_bytes: number | null;
	ratio: number | null;
}

/** View memory.storage. */
export const storageRelation: Relation<StorageRow> = {
	name: 'storage',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		conversations: { type: 'bigint', nullable: false },
		messages: { type: 'bigint', nullable: false },
		segments: { type: 'bigint', nullable: true },
		tail_messages: { type: 'bigint', nullable: true },
		raw_bytes: { type: 'bigint', nullable: false },
		stored_bytes: { type: 'bigint', nullable: true },
		ratio: { type: 'numeric', nullable: true },
	},
	comment: 'per account: conversations, messages, the bytes of their contents, and the bytes they take in the store',
};

/** Messages and bytes that were added and removed, by UTC day, and how many were stored at its end; imports are listed on the day they were created. */
export interface StorageDailyRow {
	account_id: string;
	day: CalendarDay | null;
	added_messages: number;
	removed_messages: number;
	added_bytes: number;
	removed_bytes: number;
	messages: number;
	content_bytes: number;
}

/** View memory.storage_daily. */
export const storageDailyRelation: Relation<StorageDailyRow> = {
	name: 'storage_daily',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		day: { type: 'date', nullable: true },
		added_messages: { type: 'bigint', nullable: false },
		removed_messages: { type: 'bigint', nullable: false },
		added_bytes: { type: 'bigint', nullable: false },
		removed_bytes: { type: 'bigint', nullable: false },
		messages: { type: 'bigint', nullable: false },
		content_bytes: { type: 'bigint', nullable: false },
	},
	comment: 'messages and bytes that were added and removed, by UTC day, and how many were stored at its end; imports are listed on the day they were created',
};

/** Usage by account, calendar month (UTC; its first day) and model. */
export interface UsageByModelRow {
	account_id: string;
	month: CalendarDay;
	model: string | null;
	messages: number;
	requests: number;
	input_tokens: number;
	cached_input_tokens: number;
	cache_creation_tokens: number;
	output_tokens: number;
	content_bytes: number;
}

/** View memory.usage_by_model. */
export const usageByModelRelation: Relation<UsageByModelRow> = {
	name: 'usage_by_model',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		month: { type: 'date', nullable: false },
		model: { type: 'text', nullable: true },
		messages: { type: 'bigint', nullable: false },
		requests: { type: 'bigint', nullable: false },
		input_tokens: { type: 'bigint', nullable: false },
		cached_input_tokens: { type: 'bigint', nullable: false },
		cache_creation_tokens: { type: 'bigint', nullable: false },
		output_tokens: { type: 'bigint', nullable: false },
		content_bytes: { type: 'bigint', nullable: false },
	},
	comment: 'usage by account, calendar month (UTC; its first day) and model',
};

/** Usage of the current calendar month (UTC) by account. */
export interface UsageCurrentRow {
	account_id: string;
	month: CalendarDay;
	messages: number;
	requests: number;
	input_tokens: number;
	cached_input_tokens: number;
	cache_creation_tokens: number;
	output_tokens: number;
	tokens: number | null;
	content_bytes: number;
}

/** View memory.usage_current. */
export const usageCurrentRelation: Relation<UsageCurrentRow> = {
	name: 'usage_current',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		month: { type: 'date', nullable: false },
		messages: { type: 'bigint', nullable: false },
		requests: { type: 'bigint', nullable: false },
		input_tokens: { type: 'bigint', nullable: false },
		cached_input_tokens: { type: 'bigint', nullable: false },
		cache_creation_tokens: { type: 'bigint', nullable: false },
		output_tokens: { type: 'bigint', nullable: false },
		tokens: { type: 'bigint', nullable: true },
		content_bytes: { type: 'bigint', nullable: false },
	},
	comment: 'usage of the current calendar month (UTC) by account',
};

/** Usage by account, UTC day and model (empty: none named); token counts are disjoint; imported_ columns count backdated messages, which are not usage. */
export interface UsageDailyRow {
	account_id: string;
	day: CalendarDay;
	model: string | null;
	messages: number;
	requests: number;
	input_tokens: number;
	cached_input_tokens: number;
	cache_creation_tokens: number;
	output_tokens: number;
	content_bytes: number;
	imported_messages: number;
	imported_tokens: number;
	imported_bytes: number;
}

/** View memory.usage_daily. */
export const usageDailyRelation: Relation<UsageDailyRow> = {
	name: 'usage_daily',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: false },
		day: { type: 'date', nullable: false },
		model: { type: 'text', nullable: true },
		messages: { type: 'bigint', nullable: false },
		requests: { type: 'bigint', nullable: false },
		input_tokens: { type: 'bigint', nullable: false },
		cached_input_tokens: { type: 'bigint', nullable: false },
		cache_creation_tokens: { type: 'bigint', nullable: false },
		output_tokens: { type: 'bigint', nullable: false },
		content_bytes: { type: 'bigint', nullable: false },
		imported_messages: { type: 'bigint', nullable: false },
		imported_tokens: { type: 'bigint', nullable: false },
		imported_bytes: { type: 'bigint', nullable: false },
	},
	comment: 'usage by account, UTC day and model (empty: none named); token counts are disjoint; imported_ columns count backdated messages, which are not usage',
};

/** Must be empty: accounts whose usage, less what was removed, differs from their conversations; subscriptions whose counters differ from their levels and reservations. */
export interface UsageDriftRow {
	account_id: string | null;
	meter: string;
	metered: number | null;
	stored: number | null;
	subscription_id: string | null;
}

/** View memory.usage_drift. */
export const usageDriftRelation: Relation<UsageDriftRow> = {
	name: 'usage_drift',
	kind: 'view',
	columns: {
		account_id: { type: 'text', nullable: true },
		meter: { type: 'text', nullable: false },
		metered: { type: 'bigint', nullable: true },
		stored: { type: 'bigint', nullable: true },
		subscription_id: { type: 'text', nullable: true },
	},
	comment: 'must be empty: accounts whose usage, less what was removed, differs from their conversations; subscriptions whose counters differ from their levels and reservations',
};

/** The arguments of memory.import_model_prices. */
export interface ImportModelPricesArgs {
	prices: JsonValue;
	valid_from?: CalendarDay | null | undefined;
}

/** Reads a price map with the keys of LiteLLM, valid from a UTC day on (null: today), and returns how many models have a new price. */
export const importModelPrices: Call<ImportModelPricesArgs, number | null> = {
	name: 'import_model_prices',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'prices', type: 'jsonb', optional: false },
		{ name: 'valid_from', type: 'date', optional: true },
	],
	columns: {
		value: { type: 'bigint', nullable: true },
	},
	comment: 'reads a price map with the keys of LiteLLM, valid from a UTC day on (null: today), and returns how many models have a new price',
};

/** The arguments of memory.invoice. */
export interface InvoiceArgs {
	subscription_id: string | null;
	from_day: CalendarDay | null;
	to_day: CalendarDay | null;
	plan_id?: string | null | undefined;
	decimals?: number | null | undefined;
}

/** A row of memory.invoice. */
export interface InvoiceResult {
	line: number | null;
	component: string | null;
	description: string | null;
	model: string | null;
	line_from: CalendarDay | null;
	line_to: CalendarDay | null;
	quantity: number | null;
	price: number | null;
	amount: number | null;
}

/** What a subscription owes for the UTC days from from_day to before to_day: a rounded line for each component, and a line total with their sum; null: a price is missing. */
export const invoice: Call<InvoiceArgs, InvoiceResult> = {
	name: 'invoice',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'subscription_id', type: 'text', optional: false },
		{ name: 'from_day', type: 'date', optional: false },
		{ name: 'to_day', type: 'date', optional: false },
		{ name: 'plan_id', type: 'text', optional: true },
		{ name: 'decimals', type: 'integer', optional: true },
	],
	columns: {
		line: { type: 'integer', nullable: true },
		component: { type: 'text', nullable: true },
		description: { type: 'text', nullable: true },
		model: { type: 'text', nullable: true },
		line_from: { type: 'date', nullable: true },
		line_to: { type: 'date', nullable: true },
		quantity: { type: 'numeric', nullable: true },
		price: { type: 'numeric', nullable: true },
		amount: { type: 'numeric', nullable: true },
	},
	comment: 'what a subscription owes for the UTC days from from_day to before to_day: a rounded line for each component, and a line total with their sum; null: a price is missing',
};

/** The arguments of memory.outbox_ack. */
export interface OutboxAckArgs {
	consumer: string | null;
	position: number | null;
}

/** Acknowledges all events up to a position, and returns the position that the consumer has reached; it never goes back. */
export const outboxAck: Call<OutboxAckArgs, number> = {
	name: 'outbox_ack',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'consumer', type: 'text', optional: false },
		{ name: 'position', type: 'bigint', optional: false },
	],
	columns: {
		value: { type: 'bigint', nullable: false },
	},
	comment: 'acknowledges all events up to a position, and returns the position that the consumer has reached; it never goes back',
};

/** The arguments of memory.outbox_drop_consumer. */
export interface OutboxDropConsumerArgs {
	consumer: string | null;
}

/** Removes a consumer; events are no longer kept for it; false: there was none. */
export const outboxDropConsumer: Call<OutboxDropConsumerArgs, boolean> = {
	name: 'outbox_drop_consumer',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'consumer', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'removes a consumer; events are no longer kept for it; false: there was none',
};

/** The arguments of memory.outbox_read. */
export interface OutboxReadArgs {
	consumer: string | null;
	max_events?: number | null | undefined;
}

/** The next events that the consumer has not acknowledged, in order of position; a new consumer begins with the oldest event kept. */
export const outboxRead: Call<OutboxReadArgs, OutboxEvent> = {
	name: 'outbox_read',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'consumer', type: 'text', optional: false },
		{ name: 'max_events', type: 'integer', optional: true },
	],
	columns: {
		position: { type: 'bigint', nullable: false },
		event_id: { type: 'uuid', nullable: false },
		type: { type: 'text', nullable: false },
		subscription_id: { type: 'text', nullable: false },
		account_id: { type: 'text', nullable: true },
		occurred_at: { type: 'timestamp with time zone', nullable: false },
		data: { type: 'jsonb', nullable: false },
	},
	comment: 'the next events that the consumer has not acknowledged, in order of position; a new consumer begins with the oldest event kept',
};

/** The arguments of memory.rate. */
export interface RateArgs {
	kind: string | null;
	quantity: number | null;
	price?: number | null | undefined;
	package_size?: number | null | undefined;
	tiers?: JsonValue | undefined;
}

/** What a quantity costs, not rounded: flat, unit, package, graduated or volume; null: a price is missing. */
export const rate: Call<RateArgs, number | null> = {
	name: 'rate',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'kind', type: 'text', optional: false },
		{ name: 'quantity', type: 'numeric', optional: false },
		{ name: 'price', type: 'numeric', optional: true },
		{ name: 'package_size', type: 'numeric', optional: true },
		{ name: 'tiers', type: 'jsonb', optional: true },
	],
	columns: {
		value: { type: 'numeric', nullable: true },
	},
	comment: 'what a quantity costs, not rounded: flat, unit, package, graduated or volume; null: a price is missing',
};

/** The arguments of memory.record_usage. */
export interface RecordUsageArgs {
	account_id: string | null;
	model: string | null;
	input_tokens: number | null;
	cached_input_tokens?: number | null | undefined;
	output_tokens?: number | null | undefined;
	cache_creation_tokens?: number | null | undefined;
	request_id?: string | null | undefined;
	occurred_at?: Timestamp | null | undefined;
}

/** Records a call of a model that stores no message; false: the request_id was recorded before. */
export const recordUsage: Call<RecordUsageArgs, boolean> = {
	name: 'record_usage',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'model', type: 'text', optional: false },
		{ name: 'input_tokens', type: 'bigint', optional: false },
		{ name: 'cached_input_tokens', type: 'bigint', optional: true },
		{ name: 'output_tokens', type: 'bigint', optional: true },
		{ name: 'cache_creation_tokens', type: 'bigint', optional: true },
		{ name: 'request_id', type: 'text', optional: true },
		{ name: 'occurred_at', type: 'timestamp with time zone', optional: true },
	],
	columns: {
		value: { type: 'boolean', nullable: false },
	},
	comment: 'records a call of a model that stores no message; false: the request_id was recorded before',
};

/** The arguments of memory.to_cloudevent. */
export interface ToCloudeventArgs {
	event: OutboxEvent | null;
	source?: string | null | undefined;
}

/** The event as a CloudEvent 1.0; it has the id of the event, so that a repeated delivery can be recognized. */
export const toCloudevent: Call<ToCloudeventArgs, JsonValue> = {
	name: 'to_cloudevent',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'event', type: 'memory.outbox_event', optional: false },
		{ name: 'source', type: 'text', optional: true },
	],
	columns: {
		value: { type: 'jsonb', nullable: false },
	},
	comment: 'the event as a CloudEvent 1.0; it has the id of the event, so that a repeated delivery can be recognized',
};

/** The arguments of memory.to_stripe_meter_event. */
export interface ToStripeMeterEventArgs {
	event: OutboxEvent | null;
	meter: string | null;
	event_name: string | null;
	stripe_customer_id: string | null;
}

/** A number of the event's data as a Stripe meter event, truncated to an integer; null: the event has no such number. */
export const toStripeMeterEvent: Call<ToStripeMeterEventArgs, JsonValue> = {
	name: 'to_stripe_meter_event',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'event', type: 'memory.outbox_event', optional: false },
		{ name: 'meter', type: 'text', optional: false },
		{ name: 'event_name', type: 'text', optional: false },
		{ name: 'stripe_customer_id', type: 'text', optional: false },
	],
	columns: {
		value: { type: 'jsonb', nullable: true },
	},
	comment: 'a number of the event\'s data as a Stripe meter event, truncated to an integer; null: the event has no such number',
};
