"""The leaderboard's tables as cells: the pivot, the times to each target, the trials."""
