// The pictures of doc/clients.md, from the running page: called by start.mjs.
import { mkdirSync } from 'node:fs';
import { browserOptions } from '@memory-ext/sync/test/browser';
import { chromium } from 'playwright-core';

/** What is shown, in which window, and what has to be there first. */
const PICTURES = [
	{
		name: 'conversations',
		width: 1200,
		height: 720,
		ready: '.message',
		open: (page) => page.locator('.row a').nth(7).click(),
	},
	{
		name: 'search',
		width: 1200,
		height: 720,
		hash: '#/search',
		ready: '.results mark',
		open: (page) => page.locator('#q').fill('leeks potatoes'),
	},
	{ name: 'usage', width: 1200, height: 900, hash: '#/usage', ready: 'canvas', dark: true },
	{ name: 'quotas', width: 1200, height: 720, hash: '#/quotas', ready: '.gauge' },
	{ name: 'phone', width: 390, height: 720, ready: '.row' },
];

/** Writes a PNG for each picture into the folder. */
export async function takeScreenshots(url, token, folder) {
	const browser = await chromium.launch(browserOptions());

	mkdirSync(folder, { recursive: true });
	for (const { name, width, height, hash = '#/', ready, open, dark = false } of PICTURES) {
		const page = await browser.newPage({
			viewport: { width, height },
			colorScheme: dark ? 'dark' : 'light',
		});

		await page.goto(`${url}/#token=${token}`);
		await page.getByText('Live', { exact: true }).waitFor();
		await page.locator('.row').first().waitFor();
		await page.evaluate((to) => {
			location.hash = to;
		}, hash);
		if (hash !== '#/') await page.locator('.page h1').waitFor();
		await open?.(page);
		await page.locator(ready).first().waitFor();
		await page.screenshot({ path: `${folder}/${name}.png`, animations: 'disabled' });
		await page.close();
	}
	await browser.close();
}
