import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { readDeltas } from '../src/delta.js';
import { type World, call, createWorld, newId, token } from './world.js';

let world: World;

before(async () => {
	world = await createWorld({ streamFlushMs: 20, idleSeconds: 2 });
});
after(async () => world.close());

async function post(id: string, body: Readable | string, type: string, query = '', signal?: AbortSignal): Promise<Response> {
	return fetch(`${world.url}/v1/conversations/${id}/stream${query}`, {
		method: 'POST',
		headers: { authorization: `Bearer ${await token('ann')}`, 'content-type': type },
		body: body as never,
		duplex: 'half',
		...(signal ? { signal } : {}),
	} as RequestInit);
}

function eventsOf(text: string): [string, any][] {
	return text.trim().split('\n\n').map((block) => {
		const [, event = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(block) ?? [];
		return [event, JSON.parse(data)];
	});
}

const message = async (id: string) => (await call(world, 'ann', 'GET', `/v1/conversations/${id}/messages/1`));

test('events of providers become one message, and come back as they go', async () => {
	const bodies: [string, object[]][] = [
		['openai', [
			{ choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] },
			{ choices: [{ index: 0, delta: { content: 'Hel' } }] },
			{ choices: [{ index: 0, delta: { content: 'lo 世界' } }] },
			{ choices: [], usage: { completion_tokens: 17 } },
		]],
		['anthropic', [
			{ type: 'message_start', message: {} },
			{ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hel' } },
			{ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'lo 世界' } },
			{ type: 'message_delta', delta: {}, usage: { output_tokens: 17 } },
		]],
		['responses', [
			{ type: 'response.output_text.delta', delta: 'Hel' },
			{ type: 'response.output_text.delta', delta: 'lo 世界' },
			{ type: 'response.completed', response: { usage: { output_tokens: 17 } } },
		]],
		['own', [{ text: 'Hel' }, { text: 'lo 世界' }, { usage: { output_tokens: 17 } }]],
	];
	for (const [name, events] of bodies) {
		const id = newId();
		const body = `${events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`;
		const response = await post(id, body, 'text/event-stream', '?model=m1&message_id=k&metadata={"a":1}');
		assert.equal(response.status, 200, name);
		assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
		assert.deepEqual(eventsOf(await response.text()), [
			['message', { account_id: 'ann', conversation_id: id, seq: 1 }],
			['delta', { text: 'Hel' }],
			['delta', { text: 'lo 世界' }],
			['done', { seq: 1, content_bytes: 12, tokens: 17 }],
		], name);
		const { body: stored } = await message(id);
		assert.deepEqual(
			[stored.role, stored.content, stored.model, stored.tokens, stored.message_id, stored.metadata],
			['assistant', 'Hello 世界', 'm1', 17, 'k', { a: 1 }],
			name,
		);
	}
});

test('others see the answer grow before it is complete', async () => {
	const id = newId();
	let release = () => {};
	const held = new Promise<void>((resolve) => {
		release = resolve;
	});
	async function* slow() {
		yield Buffer.from('one ');
		yield Buffer.from('two ');
		await held;
		yield Buffer.from('three');
	}
	const response = post(id, Readable.from(slow()), 'text/plain');
	for (let turn = 0; ; turn++) {
		const { body } = await message(id);
		if (body.content === 'one two ') {
			assert.deepEqual(body.metadata, { stream: 'open' });
			break;
		}
		assert.ok(turn < 500, JSON.stringify(body));
	}
	release();
	assert.equal(eventsOf(await (await response).text()).at(-1)?.[0], 'done');
	const { body } = await message(id);
	assert.deepEqual([body.content, body.metadata], ['one two three', {}]);
});

test('what breaks off is kept, and said to be so', async () => {
	const id = newId();
	const abort = new AbortController();
	async function* broken() {
		yield Buffer.from('as far as it came');
		await new Promise(() => {});
	}
	const response = await post(id, Readable.from(broken()), 'text/plain', '', abort.signal);
	await response.body?.getReader().read();
	abort.abort();
	for (let turn = 0; ; turn++) {
		const { body } = await message(id);
		if (body.metadata?.stream === 'interrupted') {
			assert.equal(body.content, 'as far as it came');
			break;
		}
		assert.ok(turn < 500, JSON.stringify(body));
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
});

test('a silent body ends with an error event', async () => {
	const id = newId();
	async function* silent() {
		yield Buffer.from('x');
		await new Promise(() => {});
	}
	const events = eventsOf(await (await post(id, Readable.from(silent()), 'text/plain')).text());
	assert.deepEqual(events.at(-1)?.[1].status, 408);
	assert.equal((await message(id)).body.metadata.stream, 'interrupted');
});

test('errors before the first text are problems', async () => {
	const id = newId();
	for (const [body, type, query, status] of [
		['data: {"error": {"message": "overloaded"}}\n\n', 'text/event-stream', '', 400],
		['data: nonsense\n\n', 'text/event-stream', '', 400],
		['', 'text/plain', '', 400],
		['x', 'text/plain', '?parent_seq=99', 400],
		['x', 'text/plain', '?metadata=[]', 400],
		['x', 'application/json', '', 415],
	] as const)
		assert.equal((await post(id, body, type, query)).status, status, `${type} ${body} ${query}`);
	assert.equal((await message(id)).status, 404);
});

test('events that are cut anywhere are the same events', async () => {
	const bytes = Buffer.from('data: {"text":"é世"}\r\n\r\n: comment\nevent: x\ndata: {"text":\ndata: "b"}\r\rdata:{"text":"c"}\n\n');
	for (let size = 1; size < bytes.length; size++) {
		async function* pieces() {
			for (let at = 0; at < bytes.length; at += size)
				yield bytes.subarray(at, at + size);
		}
		const texts = [];
		for await (const { text } of readDeltas(pieces(), true))
			texts.push(text);
		assert.deepEqual(texts, ['é世', 'b', 'c'], `pieces of ${size}`);
	}
	async function* invalid() {
		yield Buffer.from([0xff, 0xfe]);
	}
	await assert.rejects(async () => {
		for await (const _ of readDeltas(invalid(), false));
	}, /UTF-8/);
});
