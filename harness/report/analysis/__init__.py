"""All that follows from the stored rows: rankings, pairs, intervals, tables of text."""
