"""Rules of quality figures."""

from __future__ import annotations

KERNEL_LIMIT = 10_000
"""Most images of either side that enter KID, precision and recall, evenly spaced in the set."""
COPY_LIMIT = 50_000
"""Most reference images among which copies are looked for, evenly spaced in the set."""
NEIGHBOURS = 3
"""k of precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991)."""
COPY_QUANTILE = 0.01
"""A generated image nearer to a training image than this quantile of held-out images' distances counts as a copy."""
FID_CHANCE = 1e-6
"""FID is too low if that of images drawn from the reference set itself is lower with less than this chance."""
COPY_CHANCE = 1e-6
"""A rate of copies that chance exceeds more rarely is one of copies."""
LEAST_COPY_RATE = 0.1
"""Below it no rate is one of copies: networks remember a few images of a small data set."""
