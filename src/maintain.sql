-- Maintenance, which visits every room that has something to do from time to time.

-- A procedure that commits cannot be SECURITY DEFINER nor have a search_path of
-- its own; the functions it calls are the former, its names are qualified.
-- It says nothing of a step that found nothing to do: cron mails what it prints.
CREATE PROCEDURE memory.maintain(batch_size integer DEFAULT 100) LANGUAGE plpgsql AS $$
DECLARE
	done bigint;
	total bigint;
	told pg_catalog.timestamptz := pg_catalog.clock_timestamp();
	dictionary bigint;
	conversation pg_catalog.uuid;
	account pg_catalog.text;
	compression pg_catalog.text;
	compacted bigint := 0;
	part pg_catalog.text;
	cut bigint;
	from_block bigint;
	to_block bigint;
BEGIN
	IF batch_size OPERATOR(pg_catalog.<) 1 THEN
		RAISE EXCEPTION 'batch_size must be positive, it is %', batch_size USING ERRCODE = '22023',
			HINT = 'NULL is no limit.';
	END IF;
	total := 0;
	LOOP
		done := memory.expire_batch(batch_size);
		COMMIT;
		EXIT WHEN done OPERATOR(pg_catalog.=) 0;
		total := total OPERATOR(pg_catalog.+) done;
	END LOOP;
	IF total OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'deleted % conversations whose retention has passed', total;
	END IF;

	total := 0;
	conversation := '00000000-0000-0000-0000-000000000000';
	account := '';
	LOOP
		SELECT b.conversation_id, b.account_id, b.sealed INTO conversation, account, done
			FROM memory.seal_batch(conversation, account, batch_size) b;
		COMMIT;
		EXIT WHEN conversation IS NULL;
		total := total OPERATOR(pg_catalog.+) done;
	END LOOP;
	IF total OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'sealed the tails of % conversations', total;
	END IF;

	-- accounts that record calls all the time must not keep this loop going
	FOR batch IN 1..1000 LOOP
		done := memory.roll_up_usage(batch_size);
		COMMIT;
		EXIT WHEN (done OPERATOR(pg_catalog.<) batch_size) IS NOT FALSE;
	END LOOP;

	LOOP
		done := memory.close_periods(batch_size);
		COMMIT;
		EXIT WHEN (done OPERATOR(pg_catalog.<) batch_size) IS NOT FALSE;
	END LOOP;

	dictionary := memory.train_if_due();
	COMMIT;
	IF dictionary IS NOT NULL THEN
		RAISE INFO 'trained dictionary %', dictionary;
	END IF;

	-- first what an erasure waits for, then what rests
	compression := memory.compact_begin();
	FOR only_stale IN REVERSE 1..0 LOOP
		total := 0;
		conversation := '00000000-0000-0000-0000-000000000000';
		account := '';
		LOOP
			SELECT b.conversation_id, b.account_id, b.segments INTO conversation, account, done
				FROM memory.compact_batch(conversation, account, 20, only_stale OPERATOR(pg_catalog.=) 1) b;
			COMMIT;
			EXIT WHEN conversation IS NULL;
			total := total OPERATOR(pg_catalog.+) done;
			compacted := compacted OPERATOR(pg_catalog.+) done;
			IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) told OPERATOR(pg_catalog.>) '5 s'::pg_catalog.interval THEN
				RAISE INFO 'compacting: % segments so far', total;
				told := pg_catalog.clock_timestamp();
			END IF;
		END LOOP;
		IF only_stale OPERATOR(pg_catalog.=) 0 THEN
			PERFORM memory.compact_end(compression);
			COMMIT;
		END IF;
		IF total OPERATOR(pg_catalog.>) 0 AND only_stale OPERATOR(pg_catalog.=) 0 THEN
			RAISE INFO 'compacted % segments', total;
		ELSIF total OPERATOR(pg_catalog.>) 0 THEN
			RAISE INFO 'recompressed % segments of stale dictionaries', total;
		END IF;
	END LOOP;

	done := memory.drop_dictionaries();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'dropped % dictionaries', done;
	END IF;
	FOREACH part IN ARRAY ARRAY['segments', 'toast', 'conversations'] LOOP
		total := 0;
		cut := NULL;
		FOR pass IN 1..4 LOOP
			SELECT b.from_block, b.to_block INTO from_block, to_block FROM memory.settle_begin(part, compacted, cut) b;
			COMMIT;
			EXIT WHEN from_block IS NULL;
			cut := from_block;
			LOOP
				SELECT b.next_block, b.moved INTO from_block, done FROM memory.settle_batch(part, from_block, to_block) b;
				COMMIT;
				total := total OPERATOR(pg_catalog.+) done;
				EXIT WHEN from_block IS NULL;
			END LOOP;
		END LOOP;
		IF total OPERATOR(pg_catalog.>) 0 THEN
			-- autovacuum may be at work there
			FOR attempt IN 1..20 LOOP
				EXIT WHEN memory.settle_end(part);
				COMMIT;
				PERFORM pg_catalog.pg_sleep(0.2);
			END LOOP;
			COMMIT;
			RAISE INFO 'moved % % into free space: VACUUM can shorten the file', total,
				CASE WHEN part OPERATOR(pg_catalog.=) 'toast' THEN 'large segments' ELSE part END;
		END IF;
	END LOOP;
	done := memory.purge();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'purged % tombstones', done;
	END IF;

	LOOP
		done := memory.report_usage(batch_size);
		COMMIT;
		EXIT WHEN done OPERATOR(pg_catalog.=) 0;
	END LOOP;
	done := memory.trim_outbox();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'removed % events', done;
	END IF;
	done := memory.trim_jobs();
	COMMIT;
	IF done OPERATOR(pg_catalog.>) 0 THEN
		RAISE INFO 'removed % jobs', done;
	END IF;
END
$$;
COMMENT ON PROCEDURE memory.maintain(integer) IS 'retention, idle tails, usage, dictionaries, compaction, free space, tombstones, outbox: in short transactions';

INSERT INTO memory_store.grants VALUES
	('EXECUTE ON PROCEDURE memory.maintain(integer)', 'operator');
