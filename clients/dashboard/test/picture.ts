// Looks at the page as a person would: whether there is something to see, and whether texts lie on
// each other or reach out of the page.
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';

/** The parts of a page that must show something. */
export interface Region {
	name: string;
	selector: string;
}

/** Takes a screenshot, and says what part of each region differs from its background. */
async function inkOf(viewer: Page, page: Page, selector: string): Promise<number> {
	const png = (
		await page.locator(selector).first().screenshot({ animations: 'disabled' })
	).toString('base64');

	return viewer.evaluate(async (data) => {
		const image = await createImageBitmap(
			await (await fetch(`data:image/png;base64,${data}`)).blob(),
		);
		const canvas = new OffscreenCanvas(image.width, image.height);
		const context = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D;
		context.drawImage(image, 0, 0);
		const pixels = new Uint32Array(
			context.getImageData(0, 0, image.width, image.height).data.buffer,
		);
		const counts = new Map<number, number>();
		for (const pixel of pixels)
			counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
		return 1 - Math.max(...counts.values()) / pixels.length;
	}, png);
}

/** The texts that lie on each other, or reach out of the page. */
function faults(): string[] {
	const boxes: { text: string; element: Element; box: DOMRect }[] = [];
	const found: string[] = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);

	for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
		const element = node.parentElement as Element;
		if (
			(node.textContent ?? '').trim() === '' ||
			!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
		)
			continue;
		const range = document.createRange();
		range.selectNodeContents(node);
		for (const rect of range.getClientRects()) {
			const box = clipped(rect, element);
			if (box.width > 2 && box.height > 2)
				boxes.push({ text: (node.textContent ?? '').trim().slice(0, 40), element, box });
		}
	}
	for (const [n, a] of boxes.entries()) {
		if (a.box.right > innerWidth + 1 || a.box.left < -1)
			found.push(`"${a.text}" reaches out of the page`);
		for (const b of boxes.slice(n + 1)) {
			const width = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
			const height = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
			if (a.element !== b.element && width > 3 && height > 5)
				found.push(`"${a.text}" lies on "${b.text}"`);
		}
	}
	if (document.documentElement.scrollWidth > innerWidth)
		found.push(
			`the page is ${document.documentElement.scrollWidth} wide in a window of ${innerWidth}`,
		);
	return [...new Set(found)];

	/** What is seen of a text within the boxes that scroll or cut it. */
	function clipped(rect: DOMRect, from: Element): DOMRect {
		let [left, top, right, bottom] = [rect.left, rect.top, rect.right, rect.bottom];
		for (
			let element: Element | null = from;
			element !== null;
			element = element.parentElement
		) {
			if (getComputedStyle(element).overflow === 'visible')
				continue;
			const box = element.getBoundingClientRect();
			[left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
			[right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
		}
		return new DOMRect(left, top, Math.max(0, right - left), Math.max(0, bottom - top));
	}
}

export async function look(
	viewer: Page,
	page: Page,
	what: string,
	regions: Region[],
): Promise<void> {
	assert.deepEqual(await page.evaluate(faults), [], what);
	for (const { name, selector } of regions) {
		const ink = await inkOf(viewer, page, selector);
		assert.ok(ink > 0.01, `${what}: ${name} is empty (${(100 * ink).toFixed(2)} %)`);
	}
}
