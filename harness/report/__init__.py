"""From the tables to what people read: derived figures, leaderboard, plots and the offline page."""
