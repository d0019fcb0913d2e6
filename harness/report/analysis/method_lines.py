"""A class as lines: a method on a network, whose rows differ in steps alone, and names that no two rows share."""

from __future__ import annotations

from dataclasses import dataclass

from pandas import DataFrame

from harness.report.analysis.derive import COMPARABLE, Analysis, ResourceClass
from harness.schema.trial_name import method_line_name, trial_name

_LINE = ("suite", "network", "method")
_ADDITIONS = (("dataset", "{}"), ("suite", "suite {}"), ("seed_set", "seed set {:.0f}"),
              ("training", "training {:.0f}"), ("trial_id", "{:.8}"))  # fmt: skip


@dataclass(frozen=True)
class MethodLine:
    """A method on a network: its rows by steps, and a name that no other line of the class has."""

    name: str
    network: str
    method: str
    parallel: bool
    """Whether an executor other than the serial one ran: such lines rank by latency."""
    rows: DataFrame


def split_into_lines(rows: DataFrame) -> list[MethodLine]:
    """Return the lines of a class, by network and method.

    Where the rows come from several suites, a line's name ends in its suite.
    """
    several = rows["suite"].nunique() > 1
    lines = []
    for _, members in rows.groupby(list(_LINE), sort=True, dropna=False):
        suite, network, method = (str(members.iloc[0][column]) for column in _LINE)
        name = method_line_name(network, method) + (f", suite {suite}" if several else "")
        parallel = bool((members["executor"] != "serial").any())
        by_steps = members.sort_values(["steps", "nfe", "trial_id"], ignore_index=True)
        lines.append(MethodLine(name, network, method, parallel, by_steps))
    return sorted(lines, key=lambda line: (line.network, line.method, line.name))


def distinct_names(rows: DataFrame) -> list[str]:
    """Return the printed name of each row [rows]: its trial name.

    Where several rows share one, that in which they differ follows: data set, suite, seed set, training, or id.
    """
    parts = zip(rows["network"], rows["method"], rows["steps"], strict=True)
    names = [trial_name(*one) for one in parts]
    for column, text in _ADDITIONS:
        # values of the column by name
        values = rows[column].tolist()
        found: dict[str, set[str]] = {}
        for name, value in zip(names, values, strict=True):
            found.setdefault(name, set()).add(str(value))

        # added where rows of one name differ in it
        names = [
            f"{name}, {text.format(value)}" if len(found[name]) > 1 else name
            for name, value in zip(names, values, strict=True)
        ]
    return names


def comparable_rows(one: ResourceClass, analysis: Analysis) -> DataFrame:
    """Return the rows that differ from the class in the number of devices at most; they share its baseline."""
    alike = [other for other in analysis.classes if all(_equal(other.key[name], one.key[name]) for name in COMPARABLE)]
    return DataFrame([row for other in alike for _, row in other.rows.iterrows()]).reset_index(drop=True)


def _equal(a: object, b: object) -> bool:
    return a == b or (a != a and b != b)
