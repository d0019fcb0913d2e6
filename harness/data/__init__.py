"""Data set cards, the readers that they name, and the pixels."""
