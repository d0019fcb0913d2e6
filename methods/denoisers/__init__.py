"""Denoisers: how much of the network runs."""
