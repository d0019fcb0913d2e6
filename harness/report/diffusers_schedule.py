"""A trial's noise levels for diffusers' schedulers, and what rounding them to timesteps costs.

The library's levels and its schedulers' arguments are those of the installed release.
They were read in 0.42.1.
EulerDiscrete takes `sigmas` with the final one and appends nothing.
DPMSolverMultistep takes integer `timesteps` and appends the level 0.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import UsageError
from harness.schema.trial_name import trial_name

if TYPE_CHECKING:
    from pandas import Series

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
class BetaSchedule:
    """Noise levels at which a discrete-time network of diffusers was trained, sigma as in y + sigma n."""

    levels: np.ndarray
    """Level of timestep 0, 1, ...: strictly increasing, shape (train_steps,)."""
    arguments: dict[str, Any]
    """Arguments with which a scheduler of the library has these levels."""

    @property
    def name(self) -> str:
        """Return in words which betas these are."""
        ends = (f"{self.arguments[end]:g}" for end in ("beta_start", "beta_end") if end in self.arguments)
        inside = " to ".join(ends)
        steps = f"{self.arguments['num_train_timesteps']} training steps"
        return f"{self.arguments['beta_schedule']} betas ({inside}{', ' if inside else ''}{steps})"


def load_beta_schedule(beta_schedule: str, train_steps: int) -> BetaSchedule:
    """Return the levels of one of the library's beta schedules, with its usual first and last beta.

    Raises UsageError for fewer than two training steps.
    """
    from diffusers import DPMSolverMultistepScheduler

    if train_steps < 2:
        raise UsageError(f"--train-steps is {train_steps}; expected 2 or more")

    scheduler = DPMSolverMultistepScheduler(num_train_timesteps=train_steps, beta_schedule=beta_schedule)
    used = ["num_train_timesteps", "beta_schedule"]
    used += ["beta_start", "beta_end"] if "linear" in beta_schedule else []
    return BetaSchedule(scheduler.sigmas.double().numpy(), {name: scheduler.config[name] for name in used})


@dataclass(frozen=True)
class ExportedSchedule:
    """One trial's levels, and the integer timesteps nearest to them."""

    trial: Series
    levels: np.ndarray
    """Levels of the steps and the last one, strictly decreasing, shape (steps + 1,)."""
    betas: BetaSchedule
    sigma_data: float | None
    """Standard deviation of the data, None where it is unknown."""

    @cached_property
    def timesteps(self) -> np.ndarray:
        """Return for each step the timestep whose level is nearest in log sigma, shape (steps,)."""
        distance = np.abs(np.log(self.levels[:-1, None]) - np.log(self.betas.levels[None, :]))
        return distance.argmin(axis=1)

    @property
    def rounded(self) -> np.ndarray:
        """Return the levels of a run over the timesteps, which ends at 0; shape (steps + 1,)."""
        return np.append(self.betas.levels[self.timesteps], 0.0)

    @property
    def outside(self) -> list[float]:
        """Return the levels of steps that lie outside the library's range."""
        low, high = self.betas.levels[[0, -1]]
        return [float(level) for level in self.levels[:-1] if not low <= level <= high]

    @property
    def shared(self) -> dict[int, int]:
        """Return each timestep that is nearest to several levels, with their number."""
        return {timestep: n for timestep, n in Counter(self.timesteps.tolist()).items() if n > 1}

    @property
    def largest_change(self) -> float:
        """Return the largest relative change of a step's level by rounding."""
        return float(np.abs(self.rounded[:-1] / self.levels[:-1] - 1).max())

    def errors(self) -> tuple[float, float] | None:
        """Return Euler's relative error on Gaussian data, before and after rounding.

        None without sigma_data.
        """
        if self.sigma_data is None:
            return None
        return gaussian_error(self.levels, self.sigma_data), gaussian_error(self.rounded, self.sigma_data)

    def note(self) -> str:
        """Return in one sentence what rounding does and costs."""
        # change of levels
        low, high = self.betas.levels[[0, -1]]
        range_ = f"its range {low:.4g} to {high:.4g}"
        clauses = [
            f"Rounding to diffusers' {self.betas.name} changes a level by up to {100 * self.largest_change:.3g} %",
            f"{_levels_are(self.outside)} outside {range_} and moved to its nearer end"
            if self.outside
            else f"all levels lie in {range_}",
        ]

        # change of the error
        errors = self.errors()
        if errors is None:
            clauses.append(f'no card of "{self.trial["dataset"]}" is at hand to tell what that costs')
        else:
            clauses.append(
                f"on Gaussian data of standard deviation {self.sigma_data:g} it takes Euler's relative error "
                f"1 - prod cos(theta_i - theta_(i+1)), theta = arctan(sigma / {self.sigma_data:g}), from "
                f"{errors[0]:.4g} at the last level {self.levels[-1]:.4g} to {errors[1]:.4g} at 0, where timesteps end"
            )

        # validity
        if self.shared:
            clauses.append(f"{self._collision()}, which is no valid schedule, so use the sigmas")
        return "; ".join(clauses) + "."

    def as_json(self) -> str:
        """Return everything as JSON, floats to full precision."""
        trial = {name: self.trial[name] for name in ("trial_id", "method", "network", "dataset", "schedule", "solver")}
        errors = self.errors() or (None, None)
        rounding = {
            "valid": not self.shared,
            "sigmas": self.rounded.tolist(),
            "largest_relative_change": self.largest_change,
            "sigmas_outside": self.outside,
            "shared_timesteps": sorted(self.shared),
            "sigma_data": self.sigma_data,
            "gaussian_error_before": errors[0],
            "gaussian_error_after": errors[1],
        }

        data = {
            **trial,
            "steps": len(self.levels) - 1,
            "sigmas": self.levels.tolist(),
            "timesteps": self.timesteps.tolist(),
            **self.betas.arguments,
            "rounding": rounding,
            "note": self.note(),
        }
        return json.dumps(data, indent=2, allow_nan=False)

    def as_snippet(self) -> str:
        """Return Python that sets up a scheduler of diffusers.

        Raises UsageError where its timesteps would repeat.
        """
        # what the snippet leaves out
        comments = [
            f'The schedule "{self.trial["schedule"]}" of {self.trial["dataset"]} {full_name(self.trial)} '
            f"({self.trial['trial_id'][:12]}), for diffusers {version('diffusers')}.",
            "The betas below and the prediction type must be those of your network.",
        ]
        for part, plain in _PLAIN.items():
            if self.trial[part] != plain:
                comments.append(f'The trial\'s {part} "{self.trial[part]}" has no counterpart here.')

        # integer timesteps
        if self.trial["solver"] == "dpmpp-2m":
            self._refuse_shared()
            comments.append(self.note())
            return _snippet(comments, _DPMPP_2M, self.betas.arguments, "timesteps", self.timesteps.tolist())

        # sigmas
        if self.trial["solver"] != "ddim":
            comments.append(f"The trial's solver is \"{self.trial['solver']}\"; this scheduler takes Euler's steps.")
        if self.outside:
            low, high = self.betas.levels[[0, -1]]
            comments.append(
                f"{_levels_are(self.outside)} outside {low:.4g} to {high:.4g}, where these betas end: "
                "the network gets the nearer end."
            )
        return _snippet(comments, _EULER, self.betas.arguments, "sigmas", self.levels.tolist())

    def _refuse_shared(self) -> None:
        if self.shared:
            raise UsageError(
                f"{full_name(self.trial)} cannot be given as timesteps: {self._collision()}; expected one timestep a "
                "level, so use the sigmas of --format json, other betas or a trial of fewer steps"
            )

    def _collision(self) -> str:
        return ", ".join(f"{n} levels fall on timestep {timestep}" for timestep, n in sorted(self.shared.items()))


def gaussian_error(levels: np.ndarray, sigma_data: float) -> float:
    """Return Euler's relative error on N(0, c^2): 1 - prod cos(theta_i - theta_{i+1}).

    theta = arctan(sigma / c), where c is `sigma_data`; `levels` has shape (steps + 1,).
    """
    return float(1 - np.prod(np.cos(np.diff(np.arctan(levels / sigma_data)))))


def full_name(trial: Series) -> str:
    """Return NETWORK:METHOD-STEPS, the fullest name that finds a trial."""
    return trial_name(trial["network"], trial["method"], trial["steps"])


def _levels_are(levels: list[float]) -> str:
    return "1 level is" if len(levels) == 1 else f"{len(levels)} levels are"


def _snippet(
    comments: list[str], scheduler: tuple[str, dict[str, Any]], betas: dict[str, Any], given: str, values: list[Any]
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
            *(f"    {key}={value!r}," for key, value in {**betas, **own}.items()),
            ")",
            f"scheduler.set_timesteps({given}={given})  # or pipe(..., {given}={given})",
        ]
    )
