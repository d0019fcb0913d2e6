"""Finds rows by their parts, and names those that are not there.

Rows are found by parts and parameters, never by name: a suite may label its trials.
A row that is missing gets the name that it would be printed with.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator, Mapping

import pandas as pd
from pandas import DataFrame, Series

from harness.identity import canonical_json
from harness.report.analysis.alike import PARTS, method_part_key, name_parts, part_parameters
from harness.report.analysis.derive import COMPARABLE, Analysis
from harness.schema.gain_links import LINKED_PARTS
from harness.schema.trial_name import trial_name

_NETWORK = ("network", "network_like")
_WEIGHTS = ("weights", "weights_sha256")
_EQUAL = ("suite", "dataset", "batch", "precision_dtype", "seed_sets")
"""Columns in which two rows of a link are equal, and those of `COMPARABLE`."""
_GROUP = tuple(dict.fromkeys((*COMPARABLE, *_EQUAL)))

NOT_HERE = "is not in these results"
FAILED = "failed"
INVALID = "is INVALID"
APART = "was measured under other conditions"


class RowLookup:
    """The ranked rows of one group: their quality and their times mean the same, on any number of devices."""

    def __init__(self, rows: DataFrame, trials: DataFrame, members: DataFrame) -> None:
        """Take the group's rows in their order, all trials of its data set, and the ranked ones per training."""
        self.rows = rows
        self._retrained = _retrained_networks(members)
        self._names = _PartNames(trials)
        self._evaluations = _evaluations_per_step(trials)

        # the first of equal parts and steps
        self._keys = {row["trial_id"]: self._part_keys(row) for _, row in rows.iterrows()}
        self._found: dict[str, Series] = {}
        for _, row in rows.iterrows():
            self._found.setdefault(_place(self.keys_of(row), row["steps"]), row)
        baseline = rows[rows["is_baseline"]]
        self.baseline_keys = self.keys_of(baseline.iloc[0]) if len(baseline) else None
        """The part keys of the suite's baseline; None where no row is of it."""

        # all trials, also those that do not rank
        self._trials: dict[str, Series] = {}
        for _, trial in trials.iterrows():
            self._trials.setdefault(_place(self._part_keys(trial), trial["steps"]), trial)

    def keys_of(self, row: Series) -> dict[str, str]:
        """Return the part keys of one of the rows."""
        return self._keys[row["trial_id"]]

    def find(self, keys: Mapping[str, str], steps: float) -> Series | None:
        """Return the row of these parts and steps, or None."""
        return self._found.get(_place(keys, steps))

    def evaluations_per_step(self, keys: Mapping[str, str]) -> int | None:
        """Return the network evaluations of a step of the solver; None where no serial trial has it."""
        return self._evaluations.get(keys["solver"])

    def explain_missing(self, keys: Mapping[str, str], steps: float) -> str:
        """Return the printed name of a row that `find` did not find, and why it is not there."""
        trial = self._trials.get(_place(keys, steps))
        if trial is None:
            network = json.loads(keys["network"])[0]
            return f"{trial_name(network, self._names.method(keys), steps)} {NOT_HERE}"

        state = FAILED if trial["status"] == "failed" else APART if trial["verdict"] == "VALID" else INVALID
        return f"{trial_name(trial['network'], trial['method'], steps)} {state}"

    def _part_keys(self, row: Series) -> dict[str, str]:
        """Return a key per part of the chain; keys are equal exactly where the parts and their parameters are."""
        keys = {part: method_part_key(row, part) for part in PARTS}
        network = tuple(row[column] for column in _NETWORK)
        weights = tuple(row[column] for column in _WEIGHTS) if network in self._retrained else ()
        return {part: keys.get(part, canonical_json([*network, *weights])) for part in LINKED_PARTS}


def lookup_groups(analysis: Analysis) -> Iterator[RowLookup]:
    """Yield the groups of ranked rows that chains are made of, in order of the classes.

    A group's rows are equal in all that makes classes but the number of devices.
    """
    if not analysis.classes:
        return
    everyone = pd.concat([one.rows for one in analysis.classes], ignore_index=True)
    for _, rows in everyone.groupby(list(_GROUP), sort=False, dropna=False):
        trials, members = (
            table[(table["suite"] == rows["suite"].iloc[0]) & (table["dataset"] == rows["dataset"].iloc[0])]
            for table in (analysis.trials, analysis.members)
        )
        yield RowLookup(rows, trials, members)


class _PartNames:
    """How display names spell the parts; a part that its name leaves out is spelled ""."""

    def __init__(self, trials: DataFrame) -> None:
        self._spelled: dict[str, dict[str, str]] = {part: {} for part in PARTS}
        names = {part: name_parts(trials, part) for part in PARTS}

        # names that spell all parts come first, then those with a label
        for _, trial in trials.iterrows():
            for part, text in _split_display_name(trial).items():
                self._spelled[part].setdefault(method_part_key(trial, part), text)
        for place, (_, trial) in enumerate(trials.iterrows()):
            for part in PARTS:
                self._spelled[part].setdefault(method_part_key(trial, part), names[part].iloc[place])

    def method(self, keys: Mapping[str, str]) -> str:
        """Return the display name of four parts, denoiser/solver@schedule/executor without what it leaves out."""
        denoiser, schedule, solver, executor = (self._spelled[part][keys[part]] for part in PARTS)
        before = f"{denoiser}/" if denoiser else ""
        after = (f"@{schedule}" if schedule else "") + (f"/{executor}" if executor else "")
        return f"{before}{solver}{after}"


def _split_display_name(trial: Series) -> dict[str, str]:
    """Return the spelling of each part in a display name; {} where the name is a label."""
    denoiser, schedule, solver, executor = (rf"(?P<{p}>{re.escape(trial[p])}(?:\([^()]*\))?)" for p in PARTS)
    found = re.fullmatch(rf"(?:{denoiser}/)?{solver}(?:@{schedule})?(?:/{executor})?", trial["method"])
    return found.groupdict(default="") if found else {}


def _place(keys: Mapping[str, str], steps: float) -> str:
    return canonical_json([*(keys[part] for part in LINKED_PARTS), float(steps) if steps == steps else None])


def _evaluations_per_step(trials: DataFrame) -> dict[str, int]:
    """Return the network evaluations of a step by the solver's key, from what serial trials counted.

    A last step may take fewer, and a denoiser may skip some: the most of any trial counts.
    """
    counted = trials[(trials["executor"] == "serial") & (trials["nfe"] > 0) & (trials["steps"] > 0)]
    found: dict[str, int] = {}
    for _, trial in counted.iterrows():
        key = method_part_key(trial, "solver")
        after = part_parameters(trial, "schedule").get("final") == "denoise"  # one evaluation after the last step
        found[key] = max(found.get(key, 1), math.ceil((trial["nfe"] - after) / trial["steps"] - 1e-9))
    return found


def _retrained_networks(members: DataFrame) -> set[tuple[Hashable, ...]]:
    """Return the networks that have several weights in one training, as in folders that were merged.

    Else a network's name says which weights it has: a row may lack some training, and keep another's.
    """
    known = members[[*_NETWORK, "training", *_WEIGHTS]].drop_duplicates()
    return {network for network, several in known.groupby([*_NETWORK]) if several["training"].duplicated().any()}
