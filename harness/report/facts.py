"""What methods and networks say of themselves, for reports: family, summary, what their paper claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

NETWORK = "network"


@dataclass(frozen=True)
class MethodFacts:
    """A method, or a network by its card."""

    part: str
    """One of the four parts, or NETWORK."""
    name: str
    """As rows have it: the method's name, or that of the network's card."""
    family: str
    """The family under which its rows stand; empty where it has none."""
    summary: str
    claim: str
    """What its paper claims, in one sentence; empty where there is none."""
    source: str
    """The module that defines it."""
    document: str = ""
    """That module's docstring, which names its papers."""


MARKED_COLUMNS = (
    "dataset", "network", "method", "params_json", "weights", "weights_sha256", "precision_dtype", "classes",
    "guidance", "extractor", "reference",
)  # fmt: skip
"""In which a row equals the one of a reproduced figure, to wear its mark; it may have other steps and images."""


def describe_conditions(row: Mapping[str, Any] | pd.Series) -> dict[str, str]:
    """Return a row's values of `MARKED_COLUMNS` as text, "" where one is empty."""
    return {name: "" if pd.isna(row[name]) else str(row[name]) for name in MARKED_COLUMNS}


@dataclass(frozen=True)
class ClaimFacts:
    """A published figure, and what was found of it here; numbers that are not known are None."""

    name: str
    title: str
    source: str
    figure: str
    """The FID as printed there."""
    protocol: str
    nfe: int
    n_images: int
    suite: str
    """That measured it here."""
    network: str
    method: str
    verdict: str
    """"reproduced", "not reproduced" or "no verdict"."""
    unmet: tuple[str, ...]
    """A sentence on each condition that was not met."""
    fid: float | None
    fid_low: float | None
    fid_high: float | None
    expected_low: float | None
    """The interval in which the published figure is expected."""
    expected_high: float | None
    conditions: Mapping[str, str] = field(default_factory=dict)
    """The measured row's values of `MARKED_COLUMNS`; none of a record that an older version wrote."""

    @property
    def mark(self) -> str:
        """Return the note of a method that wears the mark; "" where the figure was not reproduced."""
        if self.verdict != "reproduced":
            return ""
        return (
            f"a published figure of this method was reproduced here: {self.name}, FID {self.figure} on {self.network} "
            f"at NFE {self.nfe}, measured {self.fid:.4g}"
        )
