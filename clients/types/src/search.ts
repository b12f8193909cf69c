// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Search in messages, and the list of conversations with filters.
import type { Call, JsonValue, Timestamp, Uuid } from './base.js';

/** The arguments of memory.highlight. */
export interface HighlightArgs {
	snippet: string | null;
	highlights: number[] | null;
	start?: string | null | undefined;
	stop?: string | null | undefined;
	escape_html?: boolean | null | undefined;
}

/** A snippet with start before and stop behind each highlighted part, the rest escaped for HTML. */
export const highlight: Call<HighlightArgs, string> = {
	name: 'highlight',
	kind: 'function',
	returns: 'value',
	named: true,
	args: [
		{ name: 'snippet', type: 'text', optional: false },
		{ name: 'highlights', type: 'integer[]', optional: false },
		{ name: 'start', type: 'text', optional: true },
		{ name: 'stop', type: 'text', optional: true },
		{ name: 'escape_html', type: 'boolean', optional: true },
	],
	columns: {
		value: { type: 'text', nullable: false },
	},
	comment: 'a snippet with start before and stop behind each highlighted part, the rest escaped for HTML',
};

/** The arguments of memory.list_conversations. */
export interface ListConversationsArgs {
	account_id: string | null;
	title?: string | null | undefined;
	roles?: string[] | null | undefined;
	models?: string[] | null | undefined;
	min_tokens?: number | null | undefined;
	max_tokens?: number | null | undefined;
	updated_from?: Timestamp | null | undefined;
	updated_to?: Timestamp | null | undefined;
	archived?: boolean | null | undefined;
	metadata?: JsonValue | undefined;
	order_by?: string | null | undefined;
	max_conversations?: number | null | undefined;
	page_key?: string | null | undefined;
}

/** A row of memory.list_conversations. */
export interface ListConversationsResult {
	conversation_id: Uuid;
	title: string | null;
	metadata: JsonValue;
	archived: boolean;
	head_seq: number | null;
	message_count: number;
	token_count: number;
	content_bytes: number;
	created_at: Timestamp;
	updated_at: Timestamp;
	revision: number;
	page_key: string | null;
}

/** An account's conversations by words of the title, roles, models, tokens, time, metadata; sorted by change, creation, title or size. */
export const listConversations: Call<ListConversationsArgs, ListConversationsResult> = {
	name: 'list_conversations',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'title', type: 'text', optional: true },
		{ name: 'roles', type: 'text[]', optional: true },
		{ name: 'models', type: 'text[]', optional: true },
		{ name: 'min_tokens', type: 'bigint', optional: true },
		{ name: 'max_tokens', type: 'bigint', optional: true },
		{ name: 'updated_from', type: 'timestamp with time zone', optional: true },
		{ name: 'updated_to', type: 'timestamp with time zone', optional: true },
		{ name: 'archived', type: 'boolean', optional: true },
		{ name: 'metadata', type: 'jsonb', optional: true },
		{ name: 'order_by', type: 'text', optional: true },
		{ name: 'max_conversations', type: 'integer', optional: true },
		{ name: 'page_key', type: 'text', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: false },
		title: { type: 'text', nullable: true },
		metadata: { type: 'jsonb', nullable: true },
		archived: { type: 'boolean', nullable: false },
		head_seq: { type: 'bigint', nullable: true },
		message_count: { type: 'bigint', nullable: false },
		token_count: { type: 'bigint', nullable: false },
		content_bytes: { type: 'bigint', nullable: false },
		created_at: { type: 'timestamp with time zone', nullable: false },
		updated_at: { type: 'timestamp with time zone', nullable: false },
		revision: { type: 'bigint', nullable: false },
		page_key: { type: 'text', nullable: true },
	},
	comment: 'an account\'s conversations by words of the title, roles, models, tokens, time, metadata; sorted by change, creation, title or size',
};

/** The arguments of memory.search. */
export interface SearchArgs {
	account_id: string | null;
	query?: string | null | undefined;
	max_results?: number | null | undefined;
	conversation_id?: Uuid | null | undefined;
	roles?: string[] | null | undefined;
	models?: string[] | null | undefined;
	created_from?: Timestamp | null | undefined;
	created_to?: Timestamp | null | undefined;
	include_archived?: boolean | null | undefined;
	order_by?: string | null | undefined;
	page_key?: string | null | undefined;
	per_conversation?: number | null | undefined;
	snippet_length?: number | null | undefined;
	all_branches?: boolean | null | undefined;
}

/** A row of memory.search. */
export interface SearchResult {
	account_id: string;
	conversation_id: Uuid;
	seq: number;
	role: string;
	model: string | null;
	created_at: Timestamp;
	title: string | null;
	score: number | null;
	snippet: string;
	highlights: number[];
	page_key: string | null;
}

/** The messages of an account that hold the words of a query, with snippets; the last row's page_key gives the next page. */
export const search: Call<SearchArgs, SearchResult> = {
	name: 'search',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'query', type: 'text', optional: true },
		{ name: 'max_results', type: 'integer', optional: true },
		{ name: 'conversation_id', type: 'uuid', optional: true },
		{ name: 'roles', type: 'text[]', optional: true },
		{ name: 'models', type: 'text[]', optional: true },
		{ name: 'created_from', type: 'timestamp with time zone', optional: true },
		{ name: 'created_to', type: 'timestamp with time zone', optional: true },
		{ name: 'include_archived', type: 'boolean', optional: true },
		{ name: 'order_by', type: 'text', optional: true },
		{ name: 'page_key', type: 'text', optional: true },
		{ name: 'per_conversation', type: 'integer', optional: true },
		{ name: 'snippet_length', type: 'integer', optional: true },
		{ name: 'all_branches', type: 'boolean', optional: true },
	],
	columns: {
		account_id: { type: 'text', nullable: false },
		conversation_id: { type: 'uuid', nullable: false },
		seq: { type: 'bigint', nullable: false },
		role: { type: 'text', nullable: false },
		model: { type: 'text', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: false },
		title: { type: 'text', nullable: true },
		score: { type: 'double precision', nullable: true },
		snippet: { type: 'text', nullable: false },
		highlights: { type: 'integer[]', nullable: false },
		page_key: { type: 'text', nullable: true },
	},
	comment: 'the messages of an account that hold the words of a query, with snippets; the last row\'s page_key gives the next page',
};

/** The arguments of memory.search_conversations. */
export interface SearchConversationsArgs {
	account_id: string | null;
	query: string | null;
	max_results?: number | null | undefined;
	include_archived?: boolean | null | undefined;
	page_key?: string | null | undefined;
	snippet_length?: number | null | undefined;
	all_branches?: boolean | null | undefined;
}

/** A row of memory.search_conversations. */
export interface SearchConversationsResult {
	conversation_id: Uuid;
	title: string | null;
	title_highlights: number[] | null;
	updated_at: Timestamp;
	message_count: number;
	hits: number;
	seq: number | null;
	role: string | null;
	created_at: Timestamp | null;
	snippet: string | null;
	highlights: number[] | null;
	page_key: string | null;
}

/** The conversations whose messages and title together hold the words of a query, last changed first, with the number of messages that hold any, and the best of these. */
export const searchConversations: Call<SearchConversationsArgs, SearchConversationsResult> = {
	name: 'search_conversations',
	kind: 'function',
	returns: 'set of rows',
	named: true,
	args: [
		{ name: 'account_id', type: 'text', optional: false },
		{ name: 'query', type: 'text', optional: false },
		{ name: 'max_results', type: 'integer', optional: true },
		{ name: 'include_archived', type: 'boolean', optional: true },
		{ name: 'page_key', type: 'text', optional: true },
		{ name: 'snippet_length', type: 'integer', optional: true },
		{ name: 'all_branches', type: 'boolean', optional: true },
	],
	columns: {
		conversation_id: { type: 'uuid', nullable: false },
		title: { type: 'text', nullable: true },
		title_highlights: { type: 'integer[]', nullable: true },
		updated_at: { type: 'timestamp with time zone', nullable: false },
		message_count: { type: 'bigint', nullable: false },
		hits: { type: 'bigint', nullable: false },
		seq: { type: 'bigint', nullable: true },
		role: { type: 'text', nullable: true },
		created_at: { type: 'timestamp with time zone', nullable: true },
		snippet: { type: 'text', nullable: true },
		highlights: { type: 'integer[]', nullable: true },
		page_key: { type: 'text', nullable: true },
	},
	comment: 'the conversations whose messages and title together hold the words of a query, last changed first, with the number of messages that hold any, and the best of these',
};
