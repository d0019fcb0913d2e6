"""Turns a suite into trials and the tasks that they share, each with an identity.

Nothing runs here.
"""
