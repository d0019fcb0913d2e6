"""From stored tables to a report: derived figures, leaderboard, plots and the offline page."""
