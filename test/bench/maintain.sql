-- What an operator would run at night.
SET memory_ext.seal_after = 0;
CALL memory.maintain();
VACUUM (ANALYZE);
