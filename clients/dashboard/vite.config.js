import { defineConfig } from 'vite';

export default defineConfig({
	base: './',
	oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
	build: { outDir: 'dist/app', emptyOutDir: true, target: 'es2022', modulePreload: { polyfill: false } },
});
