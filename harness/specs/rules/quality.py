"""Rules of quality figures."""

from __future__ import annotations

KERNEL_LIMIT = 10_000
"""Most images of either side that enter KID, precision and recall, evenly spaced in the set."""
NEIGHBOURS = 3
"""k of precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991)."""
COPY_QUANTILE = 0.01
"""A generated image nearer to a training image than this quantile of held-out images' distances counts as a copy."""
