// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.
export * from './base.js';
export * from './conversation.js';
export * from './message.js';
export * from './quota.js';
export * from './analytics.js';
export * from './sync.js';
export * from './search.js';
export * from './transfer.js';
export * from './operation.js';
export * from './setting.js';
export * from './condition.js';
