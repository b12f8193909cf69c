export { OPTIONS, type Config, loadConfig, readConfig, variableOf } from './config.js';
export type { Problem } from './problem.js';
export { createServer } from './server.js';
