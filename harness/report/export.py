"""Finds a trial by id or name in the stored tables and exports its schedule for diffusers."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

from harness.data.cards import load_card
from harness.errors import UsageError
from harness.report.analysis.alike import PARTS, part_parameters
from harness.report.diffusers_schedule import ExportedSchedule, full_name, load_beta_schedule

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_SHORTEST_ID = 4
_SHOWN = 5


def export_schedule(
    trials: DataFrame, steps: DataFrame, wanted: str, beta_schedule: str = "linear", train_steps: int = 1000
) -> ExportedSchedule:
    """Return the schedule of the trial `wanted`, with the nearest timesteps of the given betas.

    Raises UsageError if no trial, or more than one, has that id or name.
    """
    trial = find_trial(trials, wanted)
    betas = load_beta_schedule(beta_schedule, train_steps)
    return ExportedSchedule(trial, trial_levels(trial, steps), betas, _sigma_data(trial["dataset"]))


def find_trial(trials: DataFrame, wanted: str) -> Series:
    """Return the row with an id, with the first 4 or more digits of one, or with a name.

    A name is NETWORK:METHOD-STEPS, as it is printed, or a part of that: METHOD, METHOD-STEPS, NETWORK:METHOD.
    Of several trainings " training 1" is added to it. A word that is no such name may be that of one of the row's
    denoiser, schedule, solver and executor.
    Raises UsageError unless exactly one row has it.
    """
    found = find_trials(trials, wanted)
    if len(found) == 1:
        return found[0]

    listed = ", ".join(
        f"{row['trial_id'][:8]} ({row['dataset']} {full_name(row)}{_training(row)})" for row in found[:_SHOWN]
    )
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise UsageError(f'trial "{wanted}" is {len(found)} trials here: {listed}{more}; give one of these ids')


def find_trials(trials: DataFrame, wanted: str) -> list[Series]:
    """Return the rows, one or more, that `find_trial` knows by this word, such as all trainings of one name.

    Raises UsageError where there is none, with the nearest names.
    """
    rows = [row for _, row in trials.iterrows()]
    found = [row for row in rows if wanted in _names(row) or _is_id_prefix(row["trial_id"], wanted)]
    found = found or [row for row in rows if wanted in [row.get(part) for part in PARTS]]
    if found:
        return found

    # a name of former versions, or none
    renamed = [full_name(row) for row in rows if wanted in _former_names(row)]
    if renamed:
        raise UsageError(f'trial "{wanted}" is called "{renamed[0]}" now')
    near = difflib.get_close_matches(wanted, {name for row in rows for name in _names(row)}, n=3, cutoff=0.0)
    hint = f"nearest: {', '.join(near)}" if near else "there is none at all"
    raise UsageError(f'trial "{wanted}" is neither an id nor a name here; {hint}')


def trial_levels(trial: Series, steps: DataFrame) -> np.ndarray:
    """Return the levels of a trial from the table of steps, with the last one; shape (steps + 1,).

    Where the estimate at the last level is the image, level 0 follows.

    Raises UsageError where the table has no step of the trial.
    """
    own = steps[(steps["trial_id"] == trial["trial_id"]) & (steps["attempt"] == trial["attempt"])].sort_values("step")
    if own.empty:
        raise UsageError(
            f"{full_name(trial)} has no rows in the table of steps and is {trial['verdict']} "
            f"({trial['reasons']}); choose a trial that was sampled"
        )
    end = [0.0] if part_parameters(trial, "schedule").get("final") == "denoise" else []
    return np.array([*own["sigma"], own["sigma_next"].iloc[-1], *end], dtype=np.float64)


def _sigma_data(dataset: str) -> float | None:
    """Return sigma_data of the data set's card, None where the tables came without the card."""
    try:
        return load_card(dataset).sigma_data
    except UsageError:
        return None


def _names(trial: Series) -> set[str]:
    method, network, steps = trial["method"], trial["network"], trial["steps"]
    names = {method, f"{method}-{steps:.0f}", f"{network}:{method}", full_name(trial)}
    return names | {f"{name}{_training(trial)}" for name in names}


def _former_names(trial: Series) -> set[str]:
    method, network = trial["method"], trial["network"]
    return {f"{method}@{network}", f"{method}@{network}-{trial['steps']:.0f}"}


def _training(trial: Series) -> str:
    """Return which training a row is of, nothing where the tables do not say."""
    training = trial.get("training")
    return "" if training is None or training != training else f" training {training:.0f}"


def _is_id_prefix(trial_id: str, wanted: str) -> bool:
    return len(wanted) >= _SHORTEST_ID and trial_id.startswith(wanted)
