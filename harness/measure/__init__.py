"""Measurements: time, FLOPs, memory, energy, distance to the serial images."""
