// What the tests start with: a gateway on a database that tells of changes, and a browser.
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { type AddressInfo } from 'node:net';
import { type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
	type World as GatewayWorld,
	createWorld as createGateway,
	token,
} from '@memory-ext/gateway/test/world';
import { type BrowserContext, chromium } from 'playwright-core';
import { browserOptions } from './browser.js';

export { call, newId, token } from '@memory-ext/gateway/test/world';

export interface World extends GatewayWorld {
	/** Where the page is that the tests work with. */
	page: string;
}

/** A gateway, and a page of another origin that may call it. */
export async function createWorld(): Promise<World> {
	const server = await servePage();
	const page = `http://localhost:${(server.address() as AddressInfo).port}`;
	const world = await createGateway({ corsOrigins: [page], heartbeatSeconds: 5 });

	await world.admin.query(
		`ALTER DATABASE ${world.database} SET memory_ext.notify = 'transaction'`,
	);
	return {
		...world,
		page,
		async close() {
			server.close();
			server.closeAllConnections();
			await world.close();
		},
	};
}

const folder = fileURLToPath(new URL('../..', import.meta.url));
const IDB = fileURLToPath(import.meta.resolve('idb'));
const PAGE = `<!doctype html><title>Test</title><link rel="icon" href="data:,">
<script type="module">
	import * as sync from '/dist/src/index.js';
	window.sync = sync;
</script>`;
/** Opens the copy, appends, synchronizes and tells what it has: as a service worker does that sleeps otherwise. */
const WORKER = `import { Memory } from '/dist/src/index.js';
self.addEventListener('message', ({ data, ports }) => {
	(async () => {
		const memory = await Memory.open({ ...data.options, token: () => data.token, live: false });
		await memory.append(data.conversation, { role: 'user', content: 'from the worker' });
		await memory.sync();
		const { pending } = await memory.status();
		const listed = (await memory.list()).length;
		await memory.close();
		ports[0].postMessage({ pending, listed });
	})().catch((error) => ports[0].postMessage({ error: String(error) }));
});`;

/** The package as it was built, and an empty page that has loaded it. */
async function servePage(): Promise<Server> {
	const server = createServer(({ url = '/' }, response) => {
		const path = new URL(url, 'http://page').pathname;
		const file =
			path === '/idb.js'
				? IDB
				: /^\/dist\/src\/\w+\.js$/.test(path)
					? folder + path
					: undefined;

		if (path === '/')
			response.setHeader('content-type', 'text/html').end(PAGE);
		else if (path === '/worker.js')
			response.setHeader('content-type', 'text/javascript').end(WORKER);
		else if (file !== undefined && existsSync(file))
			response
				.setHeader('content-type', 'text/javascript')
				.end(readFileSync(file, 'utf8').replaceAll(/from 'idb'/g, "from '/idb.js'"));
		else
			response.writeHead(404).end();
	});

	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	return server;
}

export const newProfile = (): string => mkdtempSync(join(tmpdir(), 'chromium-'));

/** Chromium of the system, with a profile in a folder. */
export async function launch(profile: string): Promise<BrowserContext> {
	return chromium.launchPersistentContext(profile, browserOptions());
}

/** Waits for what is to come, with a limit. */
export async function until<Result>(
	what: () => Promise<Result> | Result,
	limitMs = 20_000,
): Promise<NonNullable<Result>> {
	const end = performance.now() + limitMs;

	for (;;) {
		const result = await what();
		if (result)
			return result as NonNullable<Result>;
		if (performance.now() > end)
			throw new Error(`it did not come: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
}

export const tokenOf = async (account: string): Promise<string> => token(account, 3600);
