// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// The SQLSTATEs that the extension reports, as the manual lists them.
import type { Condition } from './base.js';

export const conditions = {
	/** a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command. */
	'08001': {
		when: 'a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command',
		remedy: 'check address and server',
	},
	/** a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command. */
	'08006': {
		when: 'a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command',
		remedy: 'check address and server',
	},
	/** a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command. */
	'08P01': {
		when: 'a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command',
		remedy: 'check address and server',
	},
	/** a build without hiredis is to connect to Redis; a Redis without RedisJSON; TLS; a Redis command that is not known; `UPDATE` of a key or of a derived column; a database that is not UTF8; a transcript or compressed bytes written by a newer version; logical decoding of a transcript that needs a dictionary. */
	'0A000': {
		when: 'a build without hiredis is to connect to Redis; a Redis without RedisJSON; TLS; a Redis command that is not known; `UPDATE` of a key or of a derived column; a database that is not UTF8; a transcript or compressed bytes written by a newer version; logical decoding of a transcript that needs a dictionary',
		remedy: 'delete and append instead; make a UTF8 database; upgrade memory_ext',
	},
	/** what is used or reserved of a meter would be beyond 2⁶³ - 1. */
	'22003': {
		when: 'what is used or reserved of a meter would be beyond 2⁶³ - 1',
		remedy: 'correct the amount',
	},
	/** a required value is NULL: account_id, conversation_id, seq, role, content, messages, path, job_id, plan_id, meter, reservation_id, an amount. */
	'22004': {
		when: 'a required value is NULL: account_id, conversation_id, seq, role, content, messages, path, job_id, plan_id, meter, reservation_id, an amount',
		remedy: 'give it',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22007': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22008': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22021': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** a value that cannot be: empty or too long account_id or role, negative tokens or limits, a retention that is not positive, metadata that is no object, a `parent_seq` or `head_seq` that does not exist, an unknown key, compression, level, layout, URL, meter, period, timing or time zone; a reservation's id used for another amount; more settled than was reserved. */
	'22023': {
		when: 'a value that cannot be: empty or too long account_id or role, negative tokens or limits, a retention that is not positive, metadata that is no object, a `parent_seq` or `head_seq` that does not exist, an unknown key, compression, level, layout, URL, meter, period, timing or time zone; a reservation\'s id used for another amount; more settled than was reserved',
		remedy: 'correct the value; the message names it',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22P02': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22P03': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22P04': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none. */
	'22P05': {
		when: 'text that is no time, a time or retention out of range, bytes that are not in the encoding, text that is no JSON, a document with the character with code 0 (22P05), a binary transcript that is none, bytes that `memory.compress` did not make, Redis commands that are none',
		remedy: 'correct the input',
	},
	/** a plan that is in use is deleted or renamed; a limit for a plan that does not exist. */
	'23503': {
		when: 'a plan that is in use is deleted or renamed; a limit for a plan that does not exist',
		remedy: 'change the subscriptions\' plan, or set `offered` to false; insert the plan first',
	},
	/** the conversation or subscription exists already; the `seq` or `message_id` is taken; a new dictionary's id is taken by another; an imported document contradicts what is stored. */
	'23505': {
		when: 'the conversation or subscription exists already; the `seq` or `message_id` is taken; a new dictionary\'s id is taken by another; an imported document contradicts what is stored',
		remedy: 'use `UPDATE` or an editing function; in a retry, take it as done; train again',
	},
	/** a cursor on `memory.export` was opened or first fetched in a savepoint that was rolled back. */
	'24000': {
		when: 'a cursor on `memory.export` was opened or first fetched in a savepoint that was rolled back',
		remedy: 'declare the cursor anew',
	},
	/** a transaction that only reads, or a standby, is to write. */
	'25006': {
		when: 'a transaction that only reads, or a standby, is to write',
		remedy: 'write to the primary, in a transaction that may',
	},
	/** a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command. */
	'28P01': {
		when: 'a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command',
		remedy: 'check address and server',
	},
	/** `DROP EXTENSION` after `memory.protect()`, or while tables use the type. */
	'2BP01': {
		when: '`DROP EXTENSION` after `memory.protect()`, or while tables use the type',
		remedy: 'call `memory.unprotect()` first, if you are sure',
	},
	/** `CALL memory.maintain()`, or a procedure that makes or resumes a job, inside a transaction block. */
	'2D000': {
		when: '`CALL memory.maintain()`, or a procedure that makes or resumes a job, inside a transaction block',
		remedy: 'call it outside',
	},
	/** a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command. */
	'38000': {
		when: 'a Redis server cannot be reached, is silent for too long, speaks another protocol, refuses the password, or a command',
		remedy: 'check address and server',
	},
	/** `memory.quota_trigger` is called as a function. */
	'39P01': {
		when: '`memory.quota_trigger` is called as a function',
		remedy: 'attach it',
	},
	/** the schema `memory_store` does not exist. */
	'3F000': {
		when: 'the schema `memory_store` does not exist',
		remedy: '`CREATE EXTENSION`',
	},
	/** concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; an account was given another subscription meanwhile; a deadlock of transactions that write to several accounts. */
	'40001': {
		when: 'concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; an account was given another subscription meanwhile; a deadlock of transactions that write to several accounts',
		remedy: 'run the transaction again; write accounts in the same order',
	},
	/** concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; an account was given another subscription meanwhile; a deadlock of transactions that write to several accounts. */
	'40P01': {
		when: 'concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; an account was given another subscription meanwhile; a deadlock of transactions that write to several accounts',
		remedy: 'run the transaction again; write accounts in the same order',
	},
	/** the role lacks the privilege; a file of the server is not for it; the job belongs to another role; the session is confined to another account, or to one where all are concerned, or has named none where its role is to; fatal: the client gave `memory_ext.account` without the right to. */
	'42501': {
		when: 'the role lacks the privilege; a file of the server is not for it; the job belongs to another role; the session is confined to another account, or to one where all are concerned, or has named none where its role is to; fatal: the client gave `memory_ext.account` without the right to',
		remedy: 'ask for the level; name the right account; connect without the setting',
	},
	/** a setting of memory_ext that does not exist. */
	'42602': {
		when: 'a setting of memory_ext that does not exist',
		remedy: 'see the table of settings',
	},
	/** an argument of `memory.quota_trigger` is no column of the table. */
	'42703': {
		when: 'an argument of `memory.quota_trigger` is no column of the table',
		remedy: 'correct it',
	},
	/** the role or plan does not exist; the extension is not in this database. */
	'42704': {
		when: 'the role or plan does not exist; the extension is not in this database',
		remedy: 'create it',
	},
	/** the path of an import is no regular file. */
	'42809': {
		when: 'the path of an import is no regular file',
		remedy: 'name a file',
	},
	/** a dictionary is asked for in a database without the extension. */
	'42P01': {
		when: 'a dictionary is asked for in a database without the extension',
		remedy: '`CREATE EXTENSION`',
	},
	/** `memory.quota_trigger` is attached in another way. */
	'42P17': {
		when: '`memory.quota_trigger` is attached in another way',
		remedy: 'see Quotas on your own tables',
	},
	/** no background worker is free for a job. */
	'53000': {
		when: 'no background worker is free for a job',
		remedy: 'raise `max_worker_processes`, or resume it later',
	},
	/** the server is out of memory for compressing. */
	'53200': {
		when: 'the server is out of memory for compressing',
		remedy: 'free memory, or choose a lower level of compression',
	},
	/** a value beyond its limit, which the message names. */
	'54000': {
		when: 'a value beyond its limit, which the message names',
		remedy: 'see Limits',
	},
	/** the conversation has been deleted; the job is finished, or its file has changed; a reservation that was released is settled, or the other way round; the id of one that has ended, or has expired, is reserved again. */
	'55000': {
		when: 'the conversation has been deleted; the job is finished, or its file has changed; a reservation that was released is settled, or the other way round; the id of one that has ended, or has expired, is reserved again',
		remedy: 'choose a new conversation_id, or reservation_id',
	},
	/** the job is being worked on. */
	'55006': {
		when: 'the job is being worked on',
		remedy: 'cancel it first',
	},
	/** the job was cancelled, or its workers have ended before it. */
	'57014': {
		when: 'the job was cancelled, or its workers have ended before it',
		remedy: '`CALL memory.resume_job`',
	},
	/** the file of an export exists already. */
	'58P02': {
		when: 'the file of an export exists already',
		remedy: 'choose another name',
	},
	/** a foreign table of the server `memory_ext` with an unknown option or relation. */
	'HV00D': {
		when: 'a foreign table of the server `memory_ext` with an unknown option or relation',
		remedy: 'use the extension\'s own tables',
	},
	/** a foreign table of the server `memory_ext` with an unknown option or relation. */
	'HV024': {
		when: 'a foreign table of the server `memory_ext` with an unknown option or relation',
		remedy: 'use the extension\'s own tables',
	},
	/** a hard limit would be exceeded; the detail is the JSON object described in Plans and quotas. */
	'MX001': {
		when: 'a hard limit would be exceeded; the detail is the JSON object described in Plans and quotas',
		remedy: 'wait for the next period, delete what stands, or change the plan as the hint says',
	},
	/** the job does not exist; the conversation or message that is to be changed, or the message that is asked for, does not exist in this account, or is deleted; the subscription or reservation does not exist. */
	'P0002': {
		when: 'the job does not exist; the conversation or message that is to be changed, or the message that is asked for, does not exist in this account, or is deleted; the subscription or reservation does not exist',
		remedy: 'check account and ids',
	},
	/** an internal error. */
	'XX000': {
		when: 'an internal error',
		remedy: 'report it',
	},
	/** a stored transcript is corrupt, or compressed bytes are; a transcript needs a dictionary that is not in this database; as a warning of `memory.maintain()` or one of its steps: a segment was left alone, or no dictionary was dropped because a corrupt segment may need it. */
	'XX001': {
		when: 'a stored transcript is corrupt, or compressed bytes are; a transcript needs a dictionary that is not in this database; as a warning of `memory.maintain()` or one of its steps: a segment was left alone, or no dictionary was dropped because a corrupt segment may need it',
		remedy: 'see `memory.verify`, restore it from a backup; move transcripts in their text form',
	},
} as const satisfies Record<string, Condition>;

export type Sqlstate = keyof typeof conditions;
