"""What ``rekey doctor`` tries: one module a part (database, broker, object store, own stage). Nothing of the user's is touched."""
