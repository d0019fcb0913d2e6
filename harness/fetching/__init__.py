"""Published files by name: cards that say where they are, a cache that holds them, and how they get there."""
