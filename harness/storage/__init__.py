"""The store: immutable Parquet parts under a commit log, results of tasks, and the lock."""
