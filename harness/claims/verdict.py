"""The verdict on one claim: whether the published figure is one that this measurement makes likely.

The interval of the measured FID is of the error of our images alone. The published figure has its own: its printing
rounds it, and unless it is exact it is of one set of images, or the smallest of three, drawn from the same law. So the
figure is compared with a prediction interval. With s the standard error of the measured FID, and a published run of as
many images: one run deviates from the mean by s, so the difference by s sqrt(2). The smallest of three lies 0.846 s
below the mean and deviates by 0.748 s (order statistics of three normal draws), so the difference by 1.249 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.claims.ledger import Claim

REPRODUCED, NOT_REPRODUCED, NO_VERDICT = "reproduced", "not reproduced", "no verdict"
_NORMAL = 1.959964
"""Half the width of a 95 % interval in standard errors."""
_SHIFT = {"exact": 0.0, "one-run": 0.0, "minimum-of-three": -3 / (2 * math.sqrt(math.pi))}
_OWN_VARIANCE = {"exact": 0.0, "one-run": 1.0, "minimum-of-three": 1 + math.sqrt(3) / (2 * math.pi) - 9 / (4 * math.pi)}
"""Of the published figure, in variances of one run."""


@dataclass(frozen=True)
class ClaimVerdict:
    """A verdict, and the interval in which the published figure is expected 95 times of 100."""

    verdict: str
    low: float
    high: float


def judge_claim(claim: Claim, fid: float, low: float, high: float) -> ClaimVerdict:
    """Return the verdict on a claim from a measured FID and its 95 % interval.

    Without a finite interval there is none.
    """
    if not all(map(math.isfinite, (fid, low, high))) or high <= low:
        return ClaimVerdict(NO_VERDICT, math.nan, math.nan)
    error = (high - low) / (2 * _NORMAL)
    middle = fid + _SHIFT[claim.protocol] * error
    half = _NORMAL * error * math.sqrt(1 + _OWN_VARIANCE[claim.protocol]) + 0.5 * 10.0**-claim.decimals

    first, last = middle - half, middle + half
    is_inside = first <= claim.figure <= last
    return ClaimVerdict(REPRODUCED if is_inside else NOT_REPRODUCED, first, last)
