"""What follows from the stored rows without another measurement: rankings, pairs, intervals, tables of text."""
