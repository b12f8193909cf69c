// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// Search in messages, and the list of conversations with filters.
import type { Call, Timestamp, Uuid } from './base.js';

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
