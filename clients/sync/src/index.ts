export type { BackoffOptions } from './backoff.js';
export type { Cipher } from './codec.js';
export {
	type Conflict,
	type ConversationDocument,
	type MessageDocument,
	type Resolve,
	resolveByDefault,
} from './documents.js';
export type { GetToken, Refusal } from './http.js';
export { Live, type LiveOptions, type LiveState } from './live.js';
export {
	type Conversation,
	type ConversationChanges,
	Memory,
	type MemoryOptions,
	type Message,
	type MessageChanges,
	type NewMessage,
	NotHereError,
	type Refused,
	type State,
	type Status,
} from './memory.js';
export type { Found, SearchOptions } from './search.js';
export { ErasedError, type Place } from './store.js';
