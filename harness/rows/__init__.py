"""The rows of the tables: from what the tasks of a trial returned."""
