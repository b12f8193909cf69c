#!/usr/bin/env node
// The gateway as a program: listens until SIGTERM or SIGINT.
import { loadConfig } from './config.js';
import { createServer } from './server.js';

async function main(): Promise<void> {
	const config = loadConfig(process.argv.slice(2), process.env);
	const app = await createServer(config);

	for (const signal of ['SIGTERM', 'SIGINT'] as const)
		process.once(signal, () => {
			app.log.info(`${signal}: closing`);
			// Requests end, or are cut off.
			setTimeout(() => process.exit(1), config.shutdownSeconds * 1000).unref();
			app.close().then(() => process.exit(0), () => process.exit(1));
		});
	await app.listen({ host: config.host, port: config.port });
}

main().catch((error: unknown) => {
	process.stderr.write(`memory-ext-gateway: ${(error as Error).message}\n`);
	process.exit(2);
});
