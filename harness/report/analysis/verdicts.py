"""What a pair of rows shows, in words.

Rules, as a reviewer would have them:

- A difference of FID is shown where its 95 % interval leaves out 0; among the control verdicts of a suite, where
  Holm's adjusted p-value is at most 0.05. One that is shown by itself alone is called so, and nothing is claimed.
- "Does not beat" is said where a higher FID is shown, else "not shown to beat".
- "Beats" is said of two trainings or more. Every sentence from one training ends "in one training".
- That no difference is shown says nothing of equality. Equal within M: the suite states the margin M before it is
  run, and the whole 95 % interval of the difference lies inside -M .. M (stricter than two one-sided tests at 5 %).
- "Faster" is claimed of FID equal within M, of FID shown lower, or where the upper end of the interval lies below M
  ("FID at most M higher", non-inferiority). Else the shorter time is stated, and that equal FID is not shown.
- Faster: the upper end of the ratio's 95 % interval, drift included, lies below 1.
- Equality and times are each at 95 % and not corrected; both must hold for one claim, so neither needs it within a
  pair. The table says so.
- Where preparing returned something else than it should have made, nothing is claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from harness.report.formats import format_number
from harness.stats import LEVEL

ERROR_RATE = round(1 - LEVEL, 12)
"""Of a suite's family of control verdicts: the chance that any difference is shown where there is none."""
NO_INTERVAL = "no interval, no finding"
NO_COMMON_TRAINING = "no training in common, no finding"
ONE_TRAINING = ", in one training"
EXACT = "exact"
"""Weights of a network that is computed from the distribution: it has no training that could come out otherwise."""


@dataclass(frozen=True)
class Evidence:
    """The numbers of a pair that its sentences are made from; NaN where one was not measured."""

    difference: float
    """FID minus the other's."""
    half: float
    """Half its 95 % interval."""
    p_holm: float
    """The p-value of the difference, adjusted in a family of `family` verdicts."""
    family: int
    time_high: float
    """Upper end of the 95 % interval of the ratio of times."""
    margin: float
    """Differences of FID within which the suite counts two rows as equal; NaN where it states none."""
    trainings: int
    returned: str
    """What preparing returned where it was to make something else, or empty."""
    is_exact: bool = False
    """Whether the network is exact, so that no training is behind the difference."""

    @property
    def of_one_training(self) -> bool:
        """Tell whether another training might give another difference."""
        return self.trainings <= 1 and not self.is_exact

    @property
    def by_itself(self) -> bool:
        """Return whether the interval leaves out 0."""
        return abs(self.difference) > self.half

    @property
    def side(self) -> str:
        """Return which FID the row has, compared with the other."""
        return "lower FID" if self.difference < 0 else "higher FID"

    @property
    def equal(self) -> bool:
        """Return whether the whole interval lies inside the margin."""
        return abs(self.difference) + self.half < self.margin

    @property
    def at_most_margin_higher(self) -> bool:
        """Return whether the upper end of the interval lies below the margin."""
        return self.difference + self.half < self.margin

    @property
    def margin_text(self) -> str:
        """Return the margin as it is printed."""
        return format_number(self.margin)

    @property
    def less_than_margin(self) -> str:
        """Return what follows a difference that is shown and lies inside the margin."""
        return f", by less than {self.margin_text}" if self.equal else ""


def finding_sentence(one: Evidence) -> str:
    """Return what the difference of FID shows by itself, at 95 % and uncorrected."""
    if math.isnan(one.half):
        return NO_INTERVAL if one.trainings else NO_COMMON_TRAINING

    if one.by_itself:
        text = f"{one.side}{one.less_than_margin}"
    elif one.equal:
        text = f"FID equal within {one.margin_text}"
    else:
        text = "no difference in FID shown"
    return _ended(text, one)


class Outcome(Enum):
    """What a pair of a method and its control comes to, in words after the method's name; `margin` is the suite's."""

    LOWER_FID = "has a lower FID than its control"
    FASTER = "is faster than its control, FID at most {margin} higher"
    NOT_SHOWN = "is not shown to beat its control"
    HIGHER_FID = "does not beat its control (higher FID)"
    RETURNED = "makes no claim, because its preparation returned something else"
    NO_FINDING = "was measured without an interval, so nothing is found"


def control_outcome(one: Evidence) -> Outcome:
    """Return what `control_sentence` says, without its numbers.

    FASTER holds both of its claims: equal within the margin is also at most the margin higher.
    """
    if one.returned:
        return Outcome.RETURNED
    if math.isnan(one.half):
        return Outcome.NO_FINDING

    shown = one.p_holm <= ERROR_RATE
    if shown and one.difference < 0:
        return Outcome.LOWER_FID
    if one.time_high < 1 and (one.equal or one.at_most_margin_higher):
        return Outcome.FASTER
    return Outcome.HIGHER_FID if shown else Outcome.NOT_SHOWN


def control_sentence(one: Evidence) -> str:
    """Return whether the method beats its control in FID, or in time at equal FID."""
    # no claim
    if one.returned:
        return f"returned {one.returned}; no claim"
    if math.isnan(one.half):
        return NO_INTERVAL if one.trainings else NO_COMMON_TRAINING

    # FID, by Holm
    shown = one.p_holm <= ERROR_RATE
    if shown and one.difference < 0:
        faster = " and is faster" if one.time_high < 1 else ""
        claim = "beats its control in FID" if one.trainings > 1 else "lower FID than its control"
        return _ended(f"{claim}{one.less_than_margin}{faster}", one)

    # time
    if one.time_high < 1 and one.equal:
        return _ended(f"faster than its control, FID equal within {one.margin_text}", one)
    if one.time_high < 1 and one.at_most_margin_higher:
        return _ended(f"faster than its control, FID at most {one.margin_text} higher", one)

    # neither; a higher FID that is shown does not beat, all else is not shown to
    if shown:
        return _ended(f"does not beat its control: {one.side}{one.less_than_margin}", one)
    if one.equal:
        text = f"FID equal within {one.margin_text}"
    elif one.by_itself:
        text = f"{one.side} by itself, not after Holm over {one.family}"
    else:
        text = "no difference in FID shown"
    return _ended(f"not shown to beat its control: {text}{_time_text(one)}", one)


def _time_text(one: Evidence) -> str:
    """Return what follows where the row is faster and no claim is made of it."""
    if one.time_high >= 1 or math.isnan(one.time_high):
        return ""
    return "; faster" if one.by_itself and one.difference < 0 else "; faster, but equal FID is not shown"


def _ended(text: str, one: Evidence) -> str:
    return text + ONE_TRAINING if one.of_one_training else text
