// How records look at rest: older contents compressed, and everything that was said encrypted where
// the application gives a cipher.

/**
 * Encrypts what is kept on the device: contents, titles, metadata and all other fields of documents.
 * In clear are ids, sequence numbers and times, by which records are found.
 */
export interface Cipher {
	encrypt(plain: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
	decrypt(secret: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
}

/** A body at rest: itself, or its JSON encrypted. */
export type Sealed<Body> = Body | Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Codec {
	constructor(private readonly cipher: Cipher | undefined) {}

	async seal<Body extends object>(body: Body): Promise<Sealed<Body>> {
		return this.cipher === undefined
			? body
			: this.cipher.encrypt(encoder.encode(JSON.stringify(body)));
	}

	async open<Body extends object>(sealed: Sealed<Body>): Promise<Body> {
		if (!(sealed instanceof Uint8Array))
			return sealed;
		if (this.cipher === undefined)
			throw new Error('the copy on this device is encrypted, and no cipher is given');
		return JSON.parse(decoder.decode(await this.cipher.decrypt(sealed))) as Body;
	}

	/** The contents of a conversation's messages, by id, as compressed bytes. */
	async pack(
		contents: ReadonlyMap<string, string>,
	): Promise<{ bytes: Uint8Array<ArrayBuffer>; rawBytes: number }> {
		const raw = encoder.encode(JSON.stringify([...contents]));
		const bytes = await through(raw, new CompressionStream('deflate-raw'));

		return {
			bytes: this.cipher === undefined ? bytes : await this.cipher.encrypt(bytes),
			rawBytes: raw.length,
		};
	}

	async unpack(bytes: Uint8Array<ArrayBuffer>): Promise<Map<string, string>> {
		const compressed = this.cipher === undefined ? bytes : await this.cipher.decrypt(bytes);
		const raw = await through(compressed, new DecompressionStream('deflate-raw'));

		return new Map(JSON.parse(decoder.decode(raw)) as [string, string][]);
	}
}

async function through(
	bytes: Uint8Array<ArrayBuffer>,
	stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
	return new Uint8Array(
		await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer(),
	);
}
