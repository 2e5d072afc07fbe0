"""What ``rekey doctor`` tries: one module a part (database, broker, object store). Nothing of the user's is touched."""
