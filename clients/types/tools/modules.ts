// Which module of the package a name of schema memory belongs to, and which columns are never
// NULL: the two things that the catalog does not say.

export const MODULES = {
	conversation: 'Conversations: the list, and what is done with one of them.',
	message: 'Messages: append, read, edit; the composite type memory.message.',
	quota: 'Plans, subscriptions and quotas.',
	analytics: 'Usage, costs, invoices, storage.',
	sync: 'Synchronization with devices, and the feed of changes.',
	search: 'Search in messages, and the list of conversations with filters.',
	transfer: 'Import and export, formats, jobs, Redis, transcripts.',
	operation: 'What operators need: maintenance, retention, erasure, access.',
} as const;

export type Module = keyof typeof MODULES;

// The first pattern that fits decides.
const RULES: readonly [RegExp, Module][] = [
	[/^(pull|push|changes|current_revision|renew_epoch)/, 'sync'],
	[/search|highlight|list_conversations|fold/, 'search'],
	[/plan|quota|limit|subscri|reserv|^(settle|release)_usage|period|upgrade/, 'quota'],
	[/usage|cost|price|invoice|^rate$|storage|outbox|cloudevent|stripe/, 'analytics'],
	[/import|export|redis|job|format|convert|stage|transcript|compress|documents?$/, 'transfer'],
	[/^(unpack|concat|slice|to_jsonb|.*_count|.*_bytes|compression|dictionary_id|first_at|last_at)$/, 'transfer'],
	[/seal|compact|maintain|purge|settle|train|dictionar|retention|expire|forget|verify|protect|access|visible|worker/, 'operation'],
	[/conversation/, 'conversation'],
	[/message|append|history|context|tokens|uuid/, 'message'],
];

export function moduleOf(name: string): Module {
	return RULES.find(([pattern]) => pattern.test(name))?.[1] ?? 'operation';
}

// Columns of these names are never NULL, wherever they stand …
const REQUIRED = new Set([
	'account_id', 'conversation_id', 'seq', 'role', 'content', 'archived', 'created_at', 'updated_at',
	'message_count', 'token_count', 'content_bytes', 'revision', 'day', 'month', 'meter', 'period',
	'used', 'reserved', 'enforcement', 'allowed', 'messages', 'requests', 'input_tokens',
	'cached_input_tokens', 'cache_creation_tokens', 'output_tokens', 'tokens_total',
	'imported_messages', 'imported_tokens', 'imported_bytes', 'subscription_id', 'job_id', 'kind',
	'state', 'documents', 'imported', 'extended', 'unchanged', 'rejected', 'started_at', 'position',
	'event_id', 'type', 'occurred_at', 'data', 'added_messages', 'removed_messages', 'added_bytes',
	'removed_bytes', 'conversations', 'raw_bytes', 'snippet', 'highlights', 'score', 'hits', 'name',
	'labels', 'value',
]);

// … except here.
const NULLABLE = new Set([
	'usage_drift.account_id', 'usage_drift.subscription_id', 'outbox_event.account_id',
	'quota_status.meter', 'quota_status.period', 'quota_status.used', 'quota_status.reserved',
	'quota_status.enforcement', 'import_document.conversation_id', 'jobs.account_id',
	'job_errors.account_id', 'job_errors.conversation_id', 'storage_daily.day',
	'compact_batch.conversation_id', 'compact_batch.account_id', 'seal_batch.conversation_id',
	'seal_batch.account_id', 'plan_prices.meter', 'search_conversations.snippet',
	'search_conversations.highlights', 'search_conversations.seq', 'search_conversations.role',
	'search_conversations.created_at',
	'search.score', 'search_conversations.score', 'changes.seq', 'changes.role', 'changes.content',
]);

export function isNeverNull(of: string, column: string): boolean {
	return REQUIRED.has(column) && !NULLABLE.has(`${of}.${column}`);
}
