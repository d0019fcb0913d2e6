"""Runs a plan: starts tasks, keeps their results, commits rows.

It imports no task and knows no kind of task.
"""
