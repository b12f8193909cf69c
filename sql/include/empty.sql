\set ECHO none
-- What a test of the store begins with: nothing is stored, metered, planned or priced, whichever
-- test was there before.  Included so:
--	\getenv abs_srcdir PG_ABS_SRCDIR
--	\set empty :abs_srcdir '/sql/include/empty.sql'
--	\i :empty
TRUNCATE
	memory_store.accounts, memory_store.conversations, memory_store.segments, memory_store.tail,
	memory_store.tombstones, memory_store.purged, memory_store.retention, memory_store.erasures,
	memory_store.dictionaries, memory_store.dictionary_accounts, memory_store.trainings,
	memory_store.usage_daily, memory_store.usage_calls, memory_store.usage_requests,
	memory_store.outbox, memory_store.outbox_consumers, memory_store.usage_reported,
	memory_store.subscriptions, memory_store.subscription_plans, memory_store.reservations,
	memory_store.outside_usage, memory_store.search_accounts, memory_store.search_blocks,
	memory_store.maintenance_problems,
	memory.plans, memory.plan_limits, memory.plan_prices, memory.model_prices;
\set ECHO all
