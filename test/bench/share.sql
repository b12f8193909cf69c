-- All accounts under one subscription.

SELECT count(memory.set_subscription('account-' || n, 'hot')) FROM generate_series(0, :accounts - 1) n;
VACUUM memory_store.subscriptions;
