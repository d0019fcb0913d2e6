"""Samplers on a device: building them, running them, their noise, pixels and ranks."""
