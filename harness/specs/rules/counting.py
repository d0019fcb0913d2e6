"""Rules of counting FLOPs."""

from __future__ import annotations

COUNTED_PASSES = 8
"""Passes of a training, evenly spaced, whose FLOPs are counted for all."""
