"""A run of a suite from its plan to its report: its workers, its folder and its tables."""
