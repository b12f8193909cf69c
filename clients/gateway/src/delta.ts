// The text in a model's streaming answer, as providers send it: server-sent events whose data are
// JSON, in the shapes of OpenAI (chat completions, responses), Anthropic, or {"text": …}.
import { ProblemError } from './problem.js';

export interface Delta {
	text: string;
	/** The tokens of the whole answer, where the provider tells. */
	tokens?: number;
}

/** An event longer than this is none. */
const MAX_EVENT = 1_048_576;

/** The deltas of a body: of server-sent events, or of plain text. */
export async function* readDeltas(body: AsyncIterable<Uint8Array>, isEvents: boolean): AsyncGenerator<Delta> {
	const decoder = new TextDecoder('utf-8', { fatal: true });
	const decode = (chunk?: Uint8Array) => {
		try {
			return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
		} catch {
			throw new ProblemError(400, 'Bad value', 'the body is no UTF-8');
		}
	};
	const events = new EventReader();

	for await (const chunk of body) {
		const text = decode(chunk);
		if (isEvents)
			yield* events.push(text);
		else if (text !== '')
			yield { text };
	}
	const rest = decode();
	if (isEvents)
		yield* events.push(`${rest}\n\n`);
	else if (rest !== '')
		yield { text: rest };
}

/** Puts together the events of a stream, which comes in pieces of any length. */
class EventReader {
	private pending = '';
	private data: string[] = [];

	*push(text: string): Generator<Delta> {
		this.pending += text;
		if (this.pending.length > MAX_EVENT)
			throw new ProblemError(413, 'Too large', `an event may have ${MAX_EVENT} characters`);
		const lines = this.pending.split(/\r\n|\n|\r(?!$)/);
		this.pending = lines.pop() ?? '';
		for (const line of lines) {
			if (line.startsWith('data:'))
				this.data.push(line.slice(line[5] === ' ' ? 6 : 5));
			else if (line === '' && this.data.length > 0) {
				const delta = deltaOf(this.data.join('\n'));
				this.data = [];
				if (delta !== null)
					yield delta;
			}
		}
	}
}

interface Event {
	text?: unknown;
	type?: unknown;
	delta?: unknown;
	choices?: { index?: number; delta?: { content?: unknown } }[];
	usage?: { completion_tokens?: unknown; output_tokens?: unknown } | null;
	response?: { usage?: { output_tokens?: unknown } | null };
	error?: unknown;
}

function deltaOf(data: string): Delta | null {
	if (data === '[DONE]')
		return null;
	let event: Event;
	try {
		event = JSON.parse(data) as Event;
	} catch {
		throw new ProblemError(400, 'Bad value', "an event's data are no JSON");
	}
	if (typeof event !== 'object' || event === null)
		throw new ProblemError(400, 'Bad value', "an event's data are no JSON object");
	if (event.type === 'error' || (event.error !== undefined && event.error !== null))
		throw new ProblemError(400, 'Answer failed', "the model's answer ended with an error");
	const tokens = event.usage?.completion_tokens ?? event.usage?.output_tokens ?? event.response?.usage?.output_tokens;
	const text = textOf(event);

	if (text === '' && tokens === undefined)
		return null;
	return Number.isSafeInteger(tokens) ? { text, tokens: tokens as number } : { text };
}

function textOf(event: Event): string {
	const delta = event.delta as string | { text?: unknown } | undefined | null;
	const candidates = [
		event.text,
		event.choices?.find((choice) => (choice.index ?? 0) === 0)?.delta?.content,
		event.type === 'response.output_text.delta' ? delta : undefined,
		event.type === 'content_block_delta' && typeof delta === 'object' ? delta?.text : undefined,
	];

	return candidates.find((candidate): candidate is string => typeof candidate === 'string') ?? '';
}
