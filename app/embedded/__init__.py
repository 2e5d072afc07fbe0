"""The servers of a fresh machine: a broker and an S3 store in a private folder, started, awaited and stopped as one."""
