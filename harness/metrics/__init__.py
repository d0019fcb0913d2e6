"""Quality metrics: feature networks, streaming statistics, distances and their intervals."""
