// Where Chromium is, and how the tests start it.
import { spawnSync } from 'node:child_process';
import type { LaunchOptions } from 'playwright-core';

export function browserOptions(): LaunchOptions {
	return {
		executablePath: chromiumPath(),
		// As root its sandbox does not work, and these pages are our own.
		args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
		chromiumSandbox: false,
	};
}

function chromiumPath(): string {
	for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
		const found = spawnSync('which', [name]).stdout.toString().trim();
		if (found !== '')
			return found;
	}
	throw new Error('there is no Chromium: apt-get install chromium');
}
