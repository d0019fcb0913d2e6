"""Error that methods predict, and the true error that their preparations measured, as a table.

Trials with equal numbers share one preparation and are shown once.
"""

from __future__ import annotations

from typing import NamedTuple

from pandas import DataFrame

from harness.report.analysis.derive import Analysis
from harness.report.formats import Section, format_number, one_line
from harness.schema.trial_name import method_line_name


class SharedCalibration(NamedTuple):
    """One preparation: a name for the trials that share it, and its rows of the table."""

    name: str
    rows: DataFrame


def calibration_table(analysis: Analysis) -> Section:
    """Return per preparation how far predictions lie from the truth.

    Both are also shown at the highest and at the lowest noise level.
    """
    rows = []
    for name, here in group_calibrations(analysis.trials, analysis.tables["calibration"]):
        distance = (here["predicted"] - here["true"]).abs()
        worst = here.iloc[int(distance.to_numpy().argmax())]
        ends = [here[here["sigma"] == sigma][["predicted", "true"]].mean() for sigma in _sigma_range(here)]

        rows.append((
            name, format_number(distance.mean()),
            f"{format_number(distance.max())} (σ {format_number(worst['sigma'])}, block {worst['block']:.0f})",
            *(f"{format_number(end['predicted'])} / {format_number(end['true'])}" for end in ends),
        ))  # fmt: skip
    headings = ("Trial", "Mean distance", "Largest distance", "Highest σ: predicted / true",
                "Lowest σ: predicted / true")  # fmt: skip
    return Section(headings, rows)


def group_calibrations(trials: DataFrame, calibration: DataFrame) -> list[SharedCalibration]:
    """Return each preparation that measured once, in order of the names."""
    known = calibration.dropna(subset=["sigma", "block", "predicted", "true"])
    known = known.sort_values(["part", "block", "sigma"], ascending=[True, True, False])
    named = trials.sort_values(["method", "network", "training", "trial_id"])
    several = named["training"].nunique() > 1

    # equal numbers are one preparation
    found: dict[bytes, list[tuple[str, DataFrame]]] = {}
    groups = dict(list(known.groupby("trial_id")))
    for _, trial in named[named["trial_id"].isin(known["trial_id"])].iterrows():
        rows = groups[trial["trial_id"]]
        numbers = rows[["block", "sigma", "predicted", "true"]].to_numpy().tobytes()
        training = f", training {trial['training']:.0f}" if several else ""
        name = one_line(f"{method_line_name(trial['network'], trial['method'])}{training}")
        found.setdefault(numbers, []).append((name, rows))

    return [SharedCalibration(_shared_name([name for name, _ in same]), same[0][1]) for same in found.values()]


def _sigma_range(rows: DataFrame) -> tuple[float, float]:
    return rows["sigma"].max(), rows["sigma"].min()


def _shared_name(names: list[str]) -> str:
    distinct = sorted(set(names))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"
