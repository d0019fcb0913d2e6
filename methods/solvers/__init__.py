"""Solvers: how one step is taken."""
