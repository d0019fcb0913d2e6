"""Executors: in which order, and on which devices."""
