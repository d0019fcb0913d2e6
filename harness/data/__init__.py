"""Data set cards, readers, and splits in memory."""
