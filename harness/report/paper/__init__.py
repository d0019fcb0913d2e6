"""A folder for a paper: tables and figures, numbers as macros, BibTeX, and how it was measured."""
