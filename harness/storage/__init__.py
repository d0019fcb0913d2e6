"""The store: immutable Parquet parts committed through a log, task results, and the lock on a folder."""
