"""A measured schedule for diffusers: its levels, the nearest integer timesteps, and what rounding to them costs.

Works on rows of the tables alone. The library's levels and its schedulers' arguments are those of the installed
release (read in 0.42.1): EulerDiscrete takes `sigmas` with the final one and appends nothing, DPMSolverMultistep takes
integer `timesteps` and appends the level 0.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.cards import load_card
from harness.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

_SHORTEST_ID = 4
_SHOWN = 5
_PLAIN = {"denoiser": "full", "executor": "serial"}
_EULER: tuple[str, dict[str, Any]] = ("EulerDiscreteScheduler", {})
_DPMPP_2M: tuple[str, dict[str, Any]] = (
    "DPMSolverMultistepScheduler",
    {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"},
)
_WIDTH = 100
_COMMENT: Any = {"initial_indent": "# ", "subsequent_indent": "#   ", "break_on_hyphens": False}
_INSIDE: Any = {"initial_indent": "    ", "subsequent_indent": "    ", "break_on_hyphens": False}


@dataclass(frozen=True)
class Training:
    """The noise levels at which a discrete-time network of diffusers was trained, sigma as in y + sigma n."""

    levels: np.ndarray
    """Level of timestep 0, 1, ...: strictly increasing, shape (train_steps,)."""
    arguments: dict[str, Any]
    """What a scheduler of the library is told to have these levels."""

    @property
    def name(self) -> str:
        """Return in words which betas these are."""
        ends = (f"{self.arguments[end]:g}" for end in ("beta_start", "beta_end") if end in self.arguments)
        inside = " to ".join(ends)
        steps = f"{self.arguments['num_train_timesteps']} training steps"
        return f"{self.arguments['beta_schedule']} betas ({inside}{', ' if inside else ''}{steps})"


def training(beta_schedule: str, train_steps: int) -> Training:
    """Return the levels of one of the library's beta schedules, with its usual first and last beta."""
    from diffusers import DPMSolverMultistepScheduler

    if train_steps < 2:
        raise UsageError(f"--train-steps is {train_steps}; expected 2 or more")
    scheduler = DPMSolverMultistepScheduler(num_train_timesteps=train_steps, beta_schedule=beta_schedule)
    used = ["num_train_timesteps", "beta_schedule"]
    used += ["beta_start", "beta_end"] if "linear" in beta_schedule else []
    return Training(scheduler.sigmas.double().numpy(), {name: scheduler.config[name] for name in used})


@dataclass(frozen=True)
class Exported:
    """One trial's levels beside the integer timesteps nearest to them."""

    trial: Series
    levels: np.ndarray
    """Levels of the steps and the last one, strictly decreasing, shape (steps + 1,)."""
    training: Training
    sigma_data: float | None
    """Standard deviation of the data, None where nothing tells."""

    @cached_property
    def timesteps(self) -> np.ndarray:
        """Return for each step the timestep whose level is nearest in log sigma, shape (steps,)."""
        distance = np.abs(np.log(self.levels[:-1, None]) - np.log(self.training.levels[None, :]))
        return distance.argmin(axis=1)

    @property
    def rounded(self) -> np.ndarray:
        """Return the levels of a run over the timesteps, which ends at 0; shape (steps + 1,)."""
        return np.append(self.training.levels[self.timesteps], 0.0)

    @property
    def outside(self) -> list[float]:
        """Return the levels of steps below or above all that the library has."""
        low, high = self.training.levels[[0, -1]]
        return [float(level) for level in self.levels[:-1] if not low <= level <= high]

    @property
    def shared(self) -> dict[int, int]:
        """Return each timestep that several levels fall on, with how many."""
        return {timestep: n for timestep, n in Counter(self.timesteps.tolist()).items() if n > 1}

    @property
    def largest_change(self) -> float:
        """Return the largest relative change of a step's level by rounding."""
        return float(np.abs(self.rounded[:-1] / self.levels[:-1] - 1).max())

    def errors(self) -> tuple[float, float] | None:
        """Return Euler's relative error on Gaussian data before and after rounding, or None without sigma_data."""
        if self.sigma_data is None:
            return None
        return gaussian_error(self.levels, self.sigma_data), gaussian_error(self.rounded, self.sigma_data)

    def note(self) -> str:
        """Return in one sentence what rounding does and costs."""
        low, high = self.training.levels[[0, -1]]
        range_ = f"its range {low:.4g} to {high:.4g}"
        said = [
            f"Rounding to diffusers' {self.training.name} changes a level by up to {100 * self.largest_change:.3g} %",
            f"{_are(self.outside)} outside {range_} and moved to its nearer end"
            if self.outside
            else f"all levels lie in {range_}",
        ]
        errors = self.errors()
        if errors is None:
            said.append(f'no card of "{self.trial["dataset"]}" is at hand to tell what that costs')
        else:
            said.append(
                f"on Gaussian data of standard deviation {self.sigma_data:g} it takes Euler's relative error "
                f"1 - prod cos(theta_i - theta_(i+1)), theta = arctan(sigma / {self.sigma_data:g}), from "
                f"{errors[0]:.4g} at the last level {self.levels[-1]:.4g} to {errors[1]:.4g} at 0, where timesteps end"
            )
        if self.shared:
            said.append(f"{self._collision()}, which is no valid schedule, so use the sigmas")
        return "; ".join(said) + "."

    def as_json(self) -> str:
        """Return everything as JSON, floats to full precision."""
        errors = self.errors() or (None, None)
        facts = {name: self.trial[name] for name in ("trial_id", "method", "network", "dataset", "schedule", "solver")}
        data = {
            **facts,
            "steps": len(self.levels) - 1,
            "sigmas": self.levels.tolist(),
            "timesteps": self.timesteps.tolist(),
            **self.training.arguments,
            "rounding": {
                "valid": not self.shared,
                "sigmas": self.rounded.tolist(),
                "largest_relative_change": self.largest_change,
                "sigmas_outside": self.outside,
                "shared_timesteps": sorted(self.shared),
                "sigma_data": self.sigma_data,
                "gaussian_error_before": errors[0],
                "gaussian_error_after": errors[1],
            },
            "note": self.note(),
        }
        return json.dumps(data, indent=2, allow_nan=False)

    def as_snippet(self) -> str:
        """Return Python that sets up a scheduler of diffusers; raises UsageError where its timesteps would repeat."""
        comments = [
            f'The schedule "{self.trial["schedule"]}" of {self.trial["dataset"]} {name_of(self.trial)} '
            f"({self.trial['trial_id'][:12]}), for diffusers {version('diffusers')}.",
            "The betas below and the prediction type must be those of your network.",
        ]
        for part, plain in _PLAIN.items():
            if self.trial[part] != plain:
                comments.append(f'The trial\'s {part} "{self.trial[part]}" has no counterpart here.')
        if self.trial["solver"] == "dpmpp-2m":
            self._refuse_shared()
            comments.append(self.note())
            return _snippet(comments, _DPMPP_2M, self.training.arguments, "timesteps", self.timesteps.tolist())
        if self.trial["solver"] != "ddim":
            comments.append(f"The trial's solver is \"{self.trial['solver']}\"; this scheduler takes Euler's steps.")
        if self.outside:
            low, high = self.training.levels[[0, -1]]
            comments.append(
                f"{_are(self.outside)} outside {low:.4g} to {high:.4g}, where these betas end: "
                "the network is told the nearer end."
            )
        return _snippet(comments, _EULER, self.training.arguments, "sigmas", self.levels.tolist())

    def _refuse_shared(self) -> None:
        if self.shared:
            raise UsageError(
                f"{name_of(self.trial)} cannot be given as timesteps: {self._collision()}; expected one timestep a "
                "level, so use the sigmas of --format json, other betas or a trial of fewer steps"
            )

    def _collision(self) -> str:
        return ", ".join(f"{n} levels fall on timestep {timestep}" for timestep, n in sorted(self.shared.items()))


def export_schedule(
    trials: DataFrame, steps: DataFrame, wanted: str, beta_schedule: str = "linear", train_steps: int = 1000
) -> Exported:
    """Return what `wanted` names in the two tables, beside the timesteps of the given betas; UsageError if nothing."""
    trial = find_trial(trials, wanted)
    return Exported(trial, levels_of(trial, steps), training(beta_schedule, train_steps), _sigma_data(trial["dataset"]))


def gaussian_error(levels: np.ndarray, sigma_data: float) -> float:
    """Return 1 - prod cos(theta_i - theta_{i+1}), theta = arctan(sigma / c): Euler's relative error on N(0, c^2)."""
    return float(1 - np.prod(np.cos(np.diff(np.arctan(levels / sigma_data)))))


def name_of(trial: Series) -> str:
    """Return the fullest name by which a trial is asked for."""
    return f"{trial['method']}@{trial['network']}-{trial['steps']}"


def find_trial(trials: DataFrame, wanted: str) -> Series:
    """Return the row of an id, of the first 4 or more digits of one, or of a display name.

    A name is METHOD, METHOD-STEPS, METHOD@NETWORK or METHOD@NETWORK-STEPS; raises UsageError unless it is one row's.
    """
    rows = [row for _, row in trials.iterrows()]
    found = [row for row in rows if wanted in _names(row) or _begins(row["trial_id"], wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{row['trial_id'][:8]} ({row['dataset']} {name_of(row)})" for row in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(f'trial "{wanted}" is {len(found)} trials here: {listed}{more}; give one of these ids')
    near = difflib.get_close_matches(wanted, {name for row in rows for name in _names(row)}, n=3, cutoff=0.0)
    hint = f"nearest: {', '.join(near)}" if near else "there is none at all"
    raise UsageError(f'trial "{wanted}" is neither an id nor a name here; {hint}')


def levels_of(trial: Series, steps: DataFrame) -> np.ndarray:
    """Return the levels of a trial from the table of steps, the last one included; shape (steps + 1,)."""
    own = steps[(steps["trial_id"] == trial["trial_id"]) & (steps["attempt"] == trial["attempt"])].sort_values("step")
    if own.empty:
        raise UsageError(
            f"{name_of(trial)} has no rows in the table of steps and is {trial['verdict']} "
            f"({trial['reasons']}); choose a trial that was sampled"
        )
    return np.append(own["sigma"].to_numpy(np.float64), float(own["sigma_next"].iloc[-1]))


def _sigma_data(dataset: str) -> float | None:
    """Return what the data set's card says, None where the tables have come without it."""
    try:
        return load_card(dataset).sigma_data
    except UsageError:
        return None


def _names(trial: Series) -> set[str]:
    method, network, steps = trial["method"], trial["network"], trial["steps"]
    return {method, f"{method}-{steps}", f"{method}@{network}", name_of(trial)}


def _begins(trial_id: str, wanted: str) -> bool:
    return len(wanted) >= _SHORTEST_ID and trial_id.startswith(wanted)


def _are(levels: list[float]) -> str:
    return "1 level is" if len(levels) == 1 else f"{len(levels)} levels are"


def _snippet(
    comments: list[str], scheduler: tuple[str, dict[str, Any]], training: dict[str, Any], given: str, values: list[Any]
) -> str:
    name, own = scheduler
    return "\n".join(
        [
            *(line for comment in comments for line in textwrap.wrap(comment, _WIDTH, **_COMMENT)),
            f"from diffusers import {name}",
            "",
            f"{given} = [",
            *textwrap.wrap(", ".join(map(repr, values)) + ",", _WIDTH, **_INSIDE),
            "]",
            f"scheduler = {name}(",
            *(f"    {key}={value!r}," for key, value in {**training, **own}.items()),
            ")",
            f"scheduler.set_timesteps({given}={given})  # or pipe(..., {given}={given})",
        ]
    )
