// Made by `npm run generate` from the catalog of an installed extension.  Do not edit.

// The SQLSTATEs that the extension reports, as the manual lists them.
import type { Condition } from './base.js';

export const conditions = {
	/** a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command. */
	'08001': {
		when: 'a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command',
		remedy: 'check address and server',
	},
	/** a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command. */
	'08006': {
		when: 'a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command',
		remedy: 'check address and server',
	},
	/** a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command. */
	'08P01': {
		when: 'a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command',
		remedy: 'check address and server',
	},
	/** a connection to Redis in a build without hiredis; a Redis without RedisJSON; TLS; an unknown Redis command; `UPDATE` of a key or of a derived column; a database that is not UTF8; a transcript or compressed bytes written by a newer version; logical decoding of a transcript that needs a dictionary. */
	'0A000': {
		when: 'a connection to Redis in a build without hiredis; a Redis without RedisJSON; TLS; an unknown Redis command; `UPDATE` of a key or of a derived column; a database that is not UTF8; a transcript or compressed bytes written by a newer version; logical decoding of a transcript that needs a dictionary',
		remedy: 'delete and append instead; create a UTF8 database; upgrade memory_ext',
	},
	/** the used or reserved amount of a meter would exceed 2⁶³ - 1. */
	'22003': {
		when: 'the used or reserved amount of a meter would exceed 2⁶³ - 1',
		remedy: 'correct the amount',
	},
	/** a required value is NULL: account_id, conversation_id, seq, role, content, messages, path, job_id, plan_id, meter, reservation_id, an amount. */
	'22004': {
		when: 'a required value is NULL: account_id, conversation_id, seq, role, content, messages, path, job_id, plan_id, meter, reservation_id, an amount',
		remedy: 'pass it',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22007': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22008': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22021': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid value: empty or too long account_id or role, negative tokens or limits, a retention period that is not positive, metadata that is not an object, a `parent_seq` or `head_seq` that does not exist, an unknown key, compression, level, layout, URL, meter, period, timing or time zone; a reservation's id used for another amount; settling more than was reserved. */
	'22023': {
		when: 'an invalid value: empty or too long account_id or role, negative tokens or limits, a retention period that is not positive, metadata that is not an object, a `parent_seq` or `head_seq` that does not exist, an unknown key, compression, level, layout, URL, meter, period, timing or time zone; a reservation\'s id used for another amount; settling more than was reserved',
		remedy: 'correct the value; the message names it',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22P02': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22P03': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22P04': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands. */
	'22P05': {
		when: 'an invalid time, a time or retention period out of range, bytes that are not in the encoding, invalid JSON, a document with the character with code 0 (22P05), an invalid binary transcript, bytes that `memory.compress` did not make, invalid Redis commands',
		remedy: 'correct the input',
	},
	/** a plan that is in use is deleted or renamed; a limit for a plan that does not exist. */
	'23503': {
		when: 'a plan that is in use is deleted or renamed; a limit for a plan that does not exist',
		remedy: 'change the subscriptions\' plan, or set `offered` to false; insert the plan first',
	},
	/** the conversation or subscription already exists; the `seq` or `message_id` is taken; another dictionary has the id of a new one; an imported document contradicts what is stored. */
	'23505': {
		when: 'the conversation or subscription already exists; the `seq` or `message_id` is taken; another dictionary has the id of a new one; an imported document contradicts what is stored',
		remedy: 'use `UPDATE` or an editing function; in a retry, consider it done; train again',
	},
	/** a cursor on `memory.export` was opened or first fetched in a savepoint that was rolled back. */
	'24000': {
		when: 'a cursor on `memory.export` was opened or first fetched in a savepoint that was rolled back',
		remedy: 'declare the cursor anew',
	},
	/** a write in a read-only transaction or on a standby. */
	'25006': {
		when: 'a write in a read-only transaction or on a standby',
		remedy: 'write on the primary, in a read-write transaction',
	},
	/** a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command. */
	'28P01': {
		when: 'a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command',
		remedy: 'check address and server',
	},
	/** `DROP EXTENSION` after `memory.protect()`, or while tables use the type. */
	'2BP01': {
		when: '`DROP EXTENSION` after `memory.protect()`, or while tables use the type',
		remedy: 'call `memory.unprotect()` first, if you are sure',
	},
	/** `CALL memory.maintain()`, or a procedure that creates or resumes a job, inside a transaction block. */
	'2D000': {
		when: '`CALL memory.maintain()`, or a procedure that creates or resumes a job, inside a transaction block',
		remedy: 'call it outside',
	},
	/** a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command. */
	'38000': {
		when: 'a Redis server cannot be reached, does not answer in time, speaks another protocol, refuses the password, or refuses a command',
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
	/** concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; the account was assigned another subscription in the meantime; a deadlock of transactions that write to several accounts. */
	'40001': {
		when: 'concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; the account was assigned another subscription in the meantime; a deadlock of transactions that write to several accounts',
		remedy: 'retry the transaction; write to accounts in the same order',
	},
	/** concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; the account was assigned another subscription in the meantime; a deadlock of transactions that write to several accounts. */
	'40P01': {
		when: 'concurrent writers of one account in `REPEATABLE READ` or `SERIALIZABLE`; an `UPDATE` of a message, or of a title or metadata, that another transaction has changed since the statement began; `memory.forget` with a snapshot that does not see all of the account; the account was assigned another subscription in the meantime; a deadlock of transactions that write to several accounts',
		remedy: 'retry the transaction; write to accounts in the same order',
	},
	/** the role lacks the privilege; the role may not access files on the server; the job belongs to another role; the session is confined to another account, to one account when all are concerned, or has named no account although its role must; fatal: the client passed `memory_ext.account` without the privilege to set it. */
	'42501': {
		when: 'the role lacks the privilege; the role may not access files on the server; the job belongs to another role; the session is confined to another account, to one account when all are concerned, or has named no account although its role must; fatal: the client passed `memory_ext.account` without the privilege to set it',
		remedy: 'ask for the level; name the right account; connect without the setting',
	},
	/** a setting of memory_ext that does not exist. */
	'42602': {
		when: 'a setting of memory_ext that does not exist',
		remedy: 'see the table of settings',
	},
	/** an argument of `memory.quota_trigger` is not a column of the table. */
	'42703': {
		when: 'an argument of `memory.quota_trigger` is not a column of the table',
		remedy: 'correct it',
	},
	/** the role or plan does not exist; the extension is not in this database. */
	'42704': {
		when: 'the role or plan does not exist; the extension is not in this database',
		remedy: 'create it',
	},
	/** the path of an import is not a regular file. */
	'42809': {
		when: 'the path of an import is not a regular file',
		remedy: 'name a file',
	},
	/** a dictionary is needed in a database without the extension. */
	'42P01': {
		when: 'a dictionary is needed in a database without the extension',
		remedy: '`CREATE EXTENSION`',
	},
	/** `memory.quota_trigger` is attached in another way than documented. */
	'42P17': {
		when: '`memory.quota_trigger` is attached in another way than documented',
		remedy: 'see Quotas on your own tables',
	},
	/** no background worker is free for a job. */
	'53000': {
		when: 'no background worker is free for a job',
		remedy: 'raise `memory_ext.max_job_workers` or `max_worker_processes`, or resume it later',
	},
	/** the server has no memory for compressing. */
	'53200': {
		when: 'the server has no memory for compressing',
		remedy: 'free memory, or choose a lower level of compression',
	},
	/** in the server log: no background worker is free to maintain a database. */
	'53400': {
		when: 'in the server log: no background worker is free to maintain a database',
		remedy: 'increase `max_worker_processes`',
	},
	/** a value exceeds its limit, which the message names. */
	'54000': {
		when: 'a value exceeds its limit, which the message names',
		remedy: 'see Limits',
	},
	/** the conversation has been deleted; the job is finished, or its file has changed; a released reservation is settled, or a settled one released; the id of a reservation that has ended or expired is reserved again. */
	'55000': {
		when: 'the conversation has been deleted; the job is finished, or its file has changed; a released reservation is settled, or a settled one released; the id of a reservation that has ended or expired is reserved again',
		remedy: 'choose a new conversation_id or reservation_id',
	},
	/** workers are working on the job. */
	'55006': {
		when: 'workers are working on the job',
		remedy: 'cancel it first',
	},
	/** the job was cancelled, or its workers ended before it was complete. */
	'57014': {
		when: 'the job was cancelled, or its workers ended before it was complete',
		remedy: '`CALL memory.resume_job`',
	},
	/** the file of an export already exists. */
	'58P02': {
		when: 'the file of an export already exists',
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
		remedy: 'wait for the next period, delete data if the meter is a level, or change the plan as the hint says',
	},
	/** a checkpoint, or a revision given to `memory.changes`, cannot be continued from. */
	'MX010': {
		when: 'a checkpoint, or a revision given to `memory.changes`, cannot be continued from',
		remedy: 'begin anew, as Sync says',
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
	/** a stored transcript, or compressed bytes, are corrupt; a transcript needs a dictionary that is not in this database; as a warning of `memory.maintain()` or one of its steps: a segment was left unchanged, or no dictionary was dropped because a corrupt segment may need it. */
	'XX001': {
		when: 'a stored transcript, or compressed bytes, are corrupt; a transcript needs a dictionary that is not in this database; as a warning of `memory.maintain()` or one of its steps: a segment was left unchanged, or no dictionary was dropped because a corrupt segment may need it',
		remedy: 'see `memory.verify`, restore it from a backup; move transcripts in their text form',
	},
} as const satisfies Record<string, Condition>;

export type Sqlstate = keyof typeof conditions;
