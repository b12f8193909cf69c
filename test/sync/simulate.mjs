// Simulates devices that replicate accounts while services write to them and everything fails.
//
//	node simulate.mjs FIRST_SEED SEEDS [fault]
//
// Each seed is an account with 3 to 5 devices (device.mjs) and two services that write SQL.  In the
// end, when the network is whole again, each device must have what the server has, no message may
// be missing whose push was acknowledged, unless somebody deleted it, and none may be there twice.
// Prints a line for each seed and ends with status 1 if one failed.
//
// PGHOST, PGPORT, PGUSER and PGDATABASE say where the server is; with SIMULATE_KILL=PGDATA,PG_CTL
// it is killed now and then.  fault: "time" has pull ask for what is later than a time, instead of
// a revision, which loses what is committed late: a simulation that does not notice is worthless.
import { readFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { Device, canonical, sleep } from './device.mjs';

const [first, count, fault] = [+process.argv[2], +process.argv[3], process.argv[4] ?? ''];
const [dataDirectory, pgCtl] = (process.env.SIMULATE_KILL ?? '').split(',');
const OPERATIONS = +(process.env.SIMULATE_OPERATIONS ?? 70);
const SETTLE_SECONDS = 60;

const pool = new pg.Pool({ max: 24, connectionTimeoutMillis: 5000 });
pool.on('error', () => {});

const lostServer = error => !(error instanceof pg.DatabaseError) || /^(57|08)/.test(error.code);

function generator(seed) {
	let state = seed >>> 0;

	return () => {
		state = (state + 0x9e3779b9) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
		mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
		return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
	};
}

const pulled = {
	right: 'SELECT memory.pull($1, $2, $3, $4, $5) AS answer',
	// The deliberate fault: the cursor is the time at which the row was written.
	time: `WITH d AS (
			SELECT d, coalesce(d ->> 'updated_at', d ->> 'created_at', clock_timestamp()::text)::timestamptz AS at
			FROM jsonb_array_elements(memory.pull($1, $2, NULL, 10000, $5) -> 'documents') d),
		p AS (SELECT d, at FROM d WHERE at > coalesce(($3::jsonb ->> 'at')::timestamptz, '-infinity')
			ORDER BY at LIMIT $4)
		SELECT jsonb_build_object('documents', coalesce(jsonb_agg(d ORDER BY at), '[]'),
			'checkpoint', jsonb_build_object('at', coalesce(max(at), ($3::jsonb ->> 'at')::timestamptz)), 'more', false) AS answer
		FROM p`,
};

class World {
	constructor(seed) {
		this.seed = seed;
		this.random = generator(seed);
		this.account = `simulated ${seed} ${randomUUID()}`;
		this.batch = 1 + this.pick(12);
		this.faults = { request: 0.1, answer: 0.12, delay: 10 };
		this.devices = [];
		this.acknowledgedMessages = new Set();
		this.deletedMessages = new Set();
		this.deletedConversations = new Set();
		this.written = new Map();		// id of a message → its conversation
		this.forgotten = false;
		this.counts = { pulls: 0, pushes: 0, conflicts: 0, refusals: 0 };
	}

	pick(n) {
		return Math.floor(this.random() * n);
	}

	async sql(text, values) {
		return (await pool.query(text, values)).rows;
	}

	async pull(collection, checkpoint, size) {
		this.counts.pulls++;
		// a page that is short of bytes is filled before RxDB takes it for the last one
		let answer = { documents: [], checkpoint: checkpoint ?? null, more: true };

		while (answer.more && answer.documents.length < size) {
			const [{ answer: page }] = await this.sql(pulled[fault || 'right'],
				[this.account, collection, answer.checkpoint === null ? null : JSON.stringify(answer.checkpoint),
					size - answer.documents.length, 200 + this.pick(5000)]);
			answer = { ...page, documents: [...answer.documents, ...page.documents] };
		}
		return answer;
	}

	async push(collection, rows) {
		this.counts.pushes++;
		const [{ answer }] = await this.sql('SELECT memory.push($1, $2, $3) AS answer',
			[this.account, collection, JSON.stringify(rows)]);
		this.counts.conflicts += answer.conflicts.length;
		this.counts.refusals += answer.refusals.length;
		return answer;
	}

	acknowledged(collection, document) {
		if (collection === 'messages' && !document._deleted && document.revision === undefined)
			this.acknowledgedMessages.add(document.id);
	}
}

// ---- what a person does on a device ----

async function act(world, device) {
	const { conversations, messages } = device.collections;
	const known = await conversations.find().exec();
	const choice = world.random();
	const conversation = known[world.pick(known.length)];

	if (known.length === 0 || choice < 0.1)
		await conversations.insert({ id: randomUUID(), title: `t${world.pick(1000)}`, archived: false, metadata: null });
	else if (choice < 0.55) {
		const id = randomUUID();
		const before = await messages.find({ selector: { conversation_id: conversation.id } }).exec();
		const parent = before[world.pick(before.length)];

		world.written.set(id, conversation.id);
		await messages.insert({
			id, conversation_id: conversation.id, role: 'user', content: `${'long '.repeat(world.pick(40))}#${id}`,
			model: null, metadata: world.random() < 0.2 ? { n: world.pick(9) } : null, created_at: device.now(),
			...(world.random() < 0.5 ? { parent: parent?.id ?? null } : {}),
		});
	} else if (choice < 0.75) {
		const changes = [{ title: `t${world.pick(1000)}` }, { archived: world.random() < 0.5 },
			{ metadata: { tag: world.pick(100) } }][world.pick(3)];
		await conversation.incrementalPatch(changes);
	} else if (choice < 0.85) {
		const all = await messages.find().exec();
		const message = all[world.pick(all.length)];

		await message?.incrementalModify(document =>
			({ ...document, content: `edited ${world.pick(1000)} #${document.content.split('#')[1]}` }));
	} else if (choice < 0.93) {
		const all = await messages.find().exec();
		const message = all[world.pick(all.length)];

		if (message) {
			world.deletedMessages.add(message.id);
			await message.incrementalRemove();
		}
	} else if (choice < 0.96) {
		world.deletedConversations.add(conversation.id);
		await device.forget(conversation.id);
		await conversation.incrementalRemove();
	} else {
		const all = await messages.find({ selector: { conversation_id: conversation.id } }).exec();
		const head = all[world.pick(all.length)];

		if (head)
			await conversation.incrementalPatch({ head: head.id });
	}
}

// ---- what services do ----

const serviceStatements = [
	w => [`SELECT memory.append($1, $2, 'assistant', $3)`, [w.account, w.conversation, `service #${w.id}`]],
	w => [`SELECT memory.append($1, $2, 'assistant', $3, message_id => $4)`, [w.account, w.conversation, `service #${w.id}`, w.id]],
	w => [`INSERT INTO memory.messages (account_id, conversation_id, role, content, message_id)
		SELECT $1::text, $2::uuid, 'user', 'bulk #' || $3 || '-' || i, $3::text || '-' || i FROM generate_series(1, 1 + $4::int) i`,
	[w.account, w.conversation, w.id, w.pick(90)]],
	w => [`INSERT INTO memory.messages (account_id, conversation_id, role, content)
		SELECT $1::text, gen_random_uuid(), 'user', 'new #' || $2 || '-' || i FROM generate_series(1, $3::int) i`,
	[w.account, w.id, w.pick(3)]],
	w => [`SELECT memory.edit_message($1, $2, seq, content => 'service edit #' || split_part(content, '#', 2))
		FROM memory.messages WHERE account_id = $1 AND conversation_id = $2 ORDER BY random() LIMIT 1`, [w.account, w.conversation]],
	w => [`SELECT memory.update_conversation($1, $2, title => $3)`, [w.account, w.conversation, `service ${w.pick(1000)}`]],
	w => [`SELECT memory.import_document($1, $2)`, [w.account, JSON.stringify({ conversation_id: randomUUID(),
		messages: [{ role: 'user', content: `imported #${w.id}` }] })]],
];
const serviceDeletions = [
	w => [`DELETE FROM memory.messages m WHERE account_id = $1 AND conversation_id = $2 AND seq =
		(SELECT max(seq) FROM memory.messages WHERE account_id = $1 AND conversation_id = $2)
		RETURNING coalesce(message_id, conversation_id || ':' || seq) AS deleted_message`, [w.account, w.conversation]],
	w => [`DELETE FROM memory.conversations WHERE account_id = $1 AND conversation_id = $2
		RETURNING conversation_id AS deleted_conversation`, [w.account, w.conversation]],
];

// A statement or two in one transaction, which is committed late, or not at all.
async function serve(world) {
	let client;

	try {
		client = await pool.connect();
	} catch {
		return;
	}
	client.removeAllListeners('error').on('error', () => {});
	let broken = false;

	try {
		await client.query('BEGIN');
		for (let n = 1 + world.pick(2); n > 0; n--) {
			const { rows: [target] } = await client.query(`SELECT conversation_id FROM memory.conversations
				WHERE account_id = $1 ORDER BY md5(conversation_id || $2) LIMIT 1`, [world.account, String(world.random())]);
			const list = world.random() < 0.1 ? serviceDeletions : serviceStatements;
			const scope = { account: world.account, conversation: target?.conversation_id ?? randomUUID(),
				id: randomUUID(), pick: k => world.pick(k) };

			for (const row of (await client.query(...list[world.pick(list.length)](scope))).rows) {
				if (row.deleted_message)
					world.deletedMessages.add(row.deleted_message);
				if (row.deleted_conversation)
					world.deletedConversations.add(row.deleted_conversation);
			}
		}
		await sleep(world.random() * 80);
		await client.query(world.random() < 0.15 ? 'ROLLBACK' : 'COMMIT');
	} catch (error) {
		broken = lostServer(error);
		if (!broken) {
			// a conversation that was deleted meanwhile, a quota
			if (!/^(55000|02000|MX001|40|P0002|22023)/.test(error.code))
				throw error;
			await client.query('ROLLBACK').catch(() => { broken = true; });
		}
	}
	client.release(broken);
}

// What maintenance does, with everything due at once.
async function maintain(world) {
	let client;

	try {
		client = await pool.connect();
	} catch {
		return;
	}
	client.removeAllListeners('error').on('error', () => {});
	await client.query(`SET memory_ext.seal_after = 0; SET memory_ext.compact_after = 0;
		SET client_min_messages = error; SET memory_ext.purge_after = '${world.random() < 0.3 ? 0 : 3600}'`)
		.then(() => client.query('CALL memory.maintain()'))
		.catch(error => {
			if (!lostServer(error) && !/^40/.test(error.code))
				throw error;
		});
	client.release(true);
}

// Puts the account on a plan: "tight" has no room for what it has, as a rule.
async function plan(world, name) {
	await world.sql('SELECT memory.change_plan($1, $2)', [world.account, name])
		.catch(() => world.sql('SELECT memory.subscribe($1, $2)', [world.account, name]))
		.catch(() => {});
}

async function killServer() {
	const run = arguments_ => new Promise(done =>
		spawn(pgCtl, arguments_, { stdio: 'ignore' }).on('exit', done));
	let postmaster;

	try {
		postmaster = +readFileSync(`${dataDirectory}/postmaster.pid`, 'utf8').split('\n')[0];
		process.kill(postmaster, 'SIGKILL');
	} catch {
		return;
	}
	for (let n = 0; n < 40; n++) {
		await sleep(250);
		if (await run(['-D', dataDirectory, '-w', '-l', `${dataDirectory}/killed.log`, 'start']) === 0)
			return;
	}
	throw new Error('the server did not come back');
}

// ---- pokes ----

function listen(world) {
	let stopped = false;

	const done = (async () => {
		while (!stopped) {
			const client = new pg.Client();
			let ended;
			const end = new Promise(resolve => { ended = resolve; });

			client.on('error', () => ended());
			client.on('end', () => ended());
			client.on('notification', ({ payload }) => {
				const changed = JSON.parse(payload);

				if (changed.length === 0 || changed.some(one => one.account_id === world.account))
					world.devices.forEach(device => device.poke());
			});
			try {
				await client.connect();
				await client.query('LISTEN memory_changes');
				world.devices.forEach(device => device.poke());	// what was missed meanwhile
				const timer = setInterval(() => { if (stopped) ended(); }, 50);
				await end;
				clearInterval(timer);
				await client.end().catch(() => {});
			} catch {
				await sleep(100);
			}
		}
	})();
	return async () => {
		stopped = true;
		await done;
	};
}

// ---- what must be true in the end ----

// What a device would have that pulled everything now.
async function serverContents(world) {
	const all = new Map();

	for (const collection of ['conversations', 'messages']) {
		let checkpoint = null;

		for (let more = true; more;) {
			const [{ answer }] = await world.sql('SELECT memory.pull($1, $2, $3, 1000) AS answer',
				[world.account, collection, checkpoint === null ? null : JSON.stringify(checkpoint)]);

			for (const { _deleted, ...document } of answer.documents)
				if (!_deleted)
					all.set(`${collection}/${document.id}`, document);
			({ checkpoint, more } = answer);
		}
	}
	return all;
}

function differences(name, have, want) {
	const found = [];

	for (const [key, document] of want)
		if (!have.has(key))
			found.push(`${name} lacks ${key}`);
		else if (canonical(have.get(key)) !== canonical(document))
			found.push(`${name} has another ${key}: ${canonical(have.get(key))} instead of ${canonical(document)}`);
	for (const key of have.keys())
		if (!want.has(key))
			found.push(`${name} has ${key} still`);
	return found;
}

// The server's messages by SQL, which knows nothing of documents.
async function lostOrDoubled(world) {
	const problems = [];
	const rows = await world.sql(`SELECT message_id, split_part(content, '#', 2) AS mark, count(*) OVER (PARTITION BY split_part(content, '#', 2)) AS n
		FROM memory.messages WHERE account_id = $1`, [world.account]);
	const stored = new Set(rows.map(row => row.message_id));

	for (const row of rows)
		if (row.n > 1)
			problems.push(`message ${row.mark} is there ${row.n} times`);
	for (const id of world.acknowledgedMessages)
		if (!stored.has(id) && !world.deletedMessages.has(id) && !world.deletedConversations.has(world.written.get(id)) && !world.forgotten)
			problems.push(`message ${id} was acknowledged and is missing`);
	return problems;
}

async function settle(world) {
	const until = Date.now() + SETTLE_SECONDS * 1000;
	let problems;

	world.faults = { request: 0, answer: 0, delay: 0 };
	for (const device of world.devices)
		device.online = true;
	do {
		await plan(world, 'unlimited');
		for (const device of world.devices) {
			if (device.expired)
				await device.renew();
			device.poke();
		}
		await sleep(100);
		try {
			const server = await serverContents(world);

			problems = [];
			for (const device of world.devices)
				problems.push(...differences(`device ${device.number}`, await device.contents(), server));
		} catch (error) {
			problems = [error.message];
		}
	} while (problems.length > 0 && Date.now() < until);
	return [...problems, ...await lostOrDoubled(world)];
}

async function simulate(seed) {
	const world = new World(seed);
	const stop = listen(world);
	const services = [];
	let serving = true;

	for (let n = 3 + world.pick(3); n > 0; n--) {
		const device = new Device(world, world.devices.length);

		await device.start();
		world.devices.push(device);
	}
	for (let n = 0; n < 2; n++)
		services.push((async () => {
			while (serving) {
				await serve(world);
				await sleep(world.random() * 40);
			}
		})());
	for (let n = 0; n < OPERATIONS; n++) {
		const device = world.devices[world.pick(world.devices.length)];
		const chance = world.random();

		if (chance < 0.06) {
			device.online = !device.online;
			device.poke();
		} else if (chance < 0.08)
			await maintain(world);
		else if (chance < 0.10)
			await plan(world, world.random() < 0.5 ? 'tight' : 'unlimited');
		else if (chance < 0.108 && pgCtl)
			await killServer();
		else if (chance < 0.112) {
			await world.sql('SELECT memory.forget($1)', [world.account]).then(() => { world.forgotten = true; }).catch(() => {});
		}
		for (const one of world.devices)
			if (one.expired)
				await one.renew();
		await act(world, device).catch(error => {
			if (error.code !== 'CONFLICT')
				throw error;
		});
		await sleep(world.random() * 12);
	}
	serving = false;
	await Promise.all(services);
	const problems = await settle(world);
	const restarts = world.devices.reduce((sum, device) => sum + device.restarts, 0);

	await stop();
	await Promise.all(world.devices.map(device => device.stop()));
	console.log(`${problems.length === 0 ? 'ok' : 'not ok'} ${seed} - ${world.devices.length} devices, ${world.acknowledgedMessages.size} messages acknowledged, `
		+ `${world.counts.pulls} pulls, ${world.counts.pushes} pushes, ${world.counts.conflicts} conflicts, ${world.counts.refusals} refusals, ${restarts} restarts`);
	for (const problem of problems.slice(0, 8))
		console.log(`#   ${problem}`);
	return problems.length === 0;
}

let failed = 0;

for (let seed = first; seed < first + count; seed++)
	if (!await simulate(seed))
		failed++;
await pool.end();
process.exit(failed > 0 ? 1 : 0);
