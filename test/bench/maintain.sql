-- What an operator runs at night, but for everything at once, however short its rest.
SET memory_ext.seal_after = 0;
SET memory_ext.compact_after = 0;
SET client_min_messages = warning;
\timing on
CALL memory.maintain();
\timing off
VACUUM (ANALYZE);
CHECKPOINT;
