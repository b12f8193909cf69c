// Starts the gateway and says how to use it.
import { SignJWT } from 'jose';
import { createServer, loadConfig } from '@memory-ext/gateway';

const account = 'demo';
const config = loadConfig([], process.env);
const app = await createServer(config);
await app.listen({ host: config.host, port: config.port });

const url = `http://${config.host}:${config.port}`;
const token = await new SignJWT({ sub: account })
	.setProtectedHeader({ alg: 'HS256' })
	.setExpirationTime('7 days')
	.sign(Buffer.from(config.jwtSecret));
console.log(`
The gateway listens.  Account "${account}", by this token for seven days:

${token}

Try:  curl -H "Authorization: Bearer TOKEN" "${url}/v1/conversations?limit=3"
URL:  ${url}/${config.dashboard === '' ? 'v1/openapi.json' : `#token=${token}`}

Ctrl-C ends it, and removes everything.`);

if (process.env.SCREENSHOTS) {
	const { takeScreenshots } = await import('./screenshots.mjs');
	await takeScreenshots(url, token, process.env.SCREENSHOTS);
	await app.close();
	process.exit(0);
}
for (const signal of ['SIGINT', 'SIGTERM'])
	process.once(signal, async () => {
		await app.close();
		process.exit(0);
	});
