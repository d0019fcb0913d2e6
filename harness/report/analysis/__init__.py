"""What follows from the rows without another measurement: tables, pairs, rankings and intervals."""
