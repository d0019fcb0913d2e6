"""Schedules: which noise levels are visited."""
