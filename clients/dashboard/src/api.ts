// The gateway's routes, as this page uses them.
import type {
	CostDailyRow,
	InvoiceResult,
	JobErrorsRow,
	JobsRow,
	ListConversationsResult,
	MessagesRow,
	QuotaUsageRow,
	SearchResult,
	UsageDailyRow,
} from '@memory-ext/types';

export type Conversation = Omit<ListConversationsResult, 'page_key'>;
export type Message = Pick<
	MessagesRow,
	| 'seq'
	| 'parent_seq'
	| 'role'
	| 'content'
	| 'model'
	| 'tokens'
	| 'created_at'
	| 'message_id'
	| 'metadata'
>;
export type Found = Pick<
	SearchResult,
	'conversation_id' | 'seq' | 'role' | 'model' | 'created_at' | 'title' | 'snippet' | 'highlights'
>;
export type Change = Pick<
	Conversation,
	| 'conversation_id'
	| 'title'
	| 'archived'
	| 'head_seq'
	| 'message_count'
	| 'created_at'
	| 'updated_at'
	| 'revision'
> & { deleted: boolean | null };
export type UsageDay = Pick<
	UsageDailyRow,
	| 'day'
	| 'model'
	| 'requests'
	| 'input_tokens'
	| 'cached_input_tokens'
	| 'output_tokens'
	| 'messages'
>;
export type CostDay = Pick<
	CostDailyRow,
	| 'day'
	| 'model'
	| 'input_cost'
	| 'cached_input_cost'
	| 'cache_creation_cost'
	| 'output_cost'
	| 'cost'
>;
export type Quota = Pick<
	QuotaUsageRow,
	| 'meter'
	| 'period'
	| 'used'
	| 'limit_value'
	| 'enforcement'
	| 'percent'
	| 'period_end'
	| 'plan_id'
>;
export type InvoiceLine = InvoiceResult;
export type ImportError = Pick<
	JobErrorsRow,
	'document' | 'line' | 'reason' | 'path' | 'message' | 'excerpt'
>;
export type Imported = Pick<
	JobsRow,
	'documents' | 'imported' | 'extended' | 'unchanged' | 'rejected' | 'messages'
> & { errors: ImportError[] };

/** What the gateway refuses, and why. */
export class Refused extends Error {
	constructor(
		readonly status: number,
		detail: string,
		hint?: string,
	) {
		super(hint === undefined ? detail : `${detail}. ${hint}`);
	}
}

export class Api {
	constructor(
		readonly token: string,
		private readonly onUnauthorized: () => void,
	) {}

	get = <Answer>(path: string, query: Query = {}, signal?: AbortSignal): Promise<Answer> =>
		this.call('GET', path + queryOf(query), undefined, signal);
	patch = (path: string, body: object): Promise<{ revision: number }> =>
		this.call('PATCH', path, body);
	remove = (path: string): Promise<{ revision: number }> => this.call('DELETE', path);

	private async call<Answer>(
		method: string,
		path: string,
		body?: object,
		signal?: AbortSignal,
	): Promise<Answer> {
		const response = await this.fetch(method, path, body, signal);
		return (await response.json()) as Answer;
	}

	private async fetch(
		method: string,
		path: string,
		body?: object,
		signal?: AbortSignal,
	): Promise<Response> {
		const response = await fetch(`v1${path}`, {
			method,
			headers: {
				authorization: `Bearer ${this.token}`,
				...(body === undefined ? {} : { 'content-type': 'application/json' }),
			},
			...(body === undefined ? {} : { body: JSON.stringify(body) }),
			...(signal === undefined ? {} : { signal }),
		});

		if (response.status === 401)
			this.onUnauthorized();
		if (!response.ok)
			throw refusedBy(response.status, await response.text());
		return response;
	}

	/** The export as a file. */
	async exportFile(format: string): Promise<Blob> {
		return (await this.fetch('GET', `/export${queryOf({ format })}`)).blob();
	}

	/** Sends a file; only XMLHttpRequest tells how far it is. */
	importFile(file: File, onProgress: (part: number) => void): Promise<Imported> {
		return new Promise((resolve, reject) => {
			const request = new XMLHttpRequest();
			const isCsv = /\.csv$/i.test(file.name);

			request.open('POST', `v1/import${queryOf(isCsv ? { format: 'csv' } : {})}`);
			request.setRequestHeader('authorization', `Bearer ${this.token}`);
			request.setRequestHeader('content-type', isCsv ? 'text/csv' : 'application/x-ndjson');
			request.upload.onprogress = ({ loaded, total }) =>
				onProgress(total === 0 ? 1 : loaded / total);
			request.onerror = () => reject(new Refused(0, 'the connection was lost'));
			request.onload = () => {
				if (request.status === 200)
					resolve(JSON.parse(request.responseText) as Imported);
				else
					reject(refusedBy(request.status, request.responseText));
			};
			request.send(file);
		});
	}
}

function refusedBy(status: number, text: string): Refused {
	try {
		const { detail, title, hint } = JSON.parse(text) as {
			detail?: string;
			title?: string;
			hint?: string;
		};
		return new Refused(status, detail ?? title ?? `status ${status}`, hint);
	} catch {
		return new Refused(status, `status ${status}`);
	}
}

type Query = Record<string, string | number | boolean | null | undefined>;

/** A query without what is empty. */
function queryOf(query: Query): string {
	const given = Object.entries(query).filter(
		([, value]) => value !== undefined && value !== null && value !== '' && value !== false,
	);

	return given.length === 0
		? ''
		: `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
