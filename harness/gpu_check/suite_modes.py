"""The suite `gpu-check` in both modes of timing, each a run of its own results folder; their rows side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict

from harness.api import load
from harness.errors import HarnessError
from harness.gpu_check.child import Child, ChildEnd
from harness.gpu_check.scale import SUITE, CheckScale
from harness.schema.trial_name import trial_name
from harness.specs.sampler import Mode

MODES: tuple[Mode, ...] = get_args(Mode)


class ModeRow(BaseModel):
    """One trial in one mode."""

    model_config = ConfigDict(frozen=True)
    trial: str
    verdict: str
    reasons: str
    latency_seconds: float | None = None
    """Of one image."""
    images_per_second: float | None = None
    """In a batch."""
    fid: float | None = None
    network_time_share: float | None = None
    """Of the time of sampling, as far as it was inside the network."""


class ModeFinding(BaseModel):
    """One run of the suite."""

    model_config = ConfigDict(frozen=True)
    mode: str
    rows: list[ModeRow] = []
    problem: str = ""
    """Why there are no rows."""
    end: ChildEnd | None = None


def run_suite_in_mode(mode: Mode, folder: Path, scale: CheckScale, environment: dict[str, str]) -> ModeFinding:
    """Run what is missing of the suite in a mode; a call that was stopped goes on."""
    words = [sys.executable, "-m", "harness", "run", SUITE, "--results", str(folder / mode)]
    settings = (*scale.settings, f'timing.mode="{mode}"')
    words += [word for setting in settings for word in ("--set", setting)]
    if mode in scale.only:
        words += ["--only", scale.only[mode]]
    log = folder / "logs" / f"{mode}.txt"
    end = Child(words, log, environment).wait(scale.suite_seconds)
    try:
        trials = load(folder / mode / SUITE).trials
    except HarnessError as error:
        return ModeFinding(mode=mode, problem=str(error), end=end)
    return ModeFinding(mode=mode, rows=[_row_of(row) for _, row in trials.iterrows()], end=end)


def _row_of(row: pd.Series) -> ModeRow:
    return ModeRow(
        trial=trial_name(row["network"], row["method"], row["steps"]),
        verdict=str(row["verdict"]),
        reasons=str(row["reasons"]),
        latency_seconds=_number(row["latency_seconds"]),
        images_per_second=_number(row["throughput_images_per_second"]),
        fid=_number(row["fid"]),
        network_time_share=_number(row["network_time_share"]),
    )


def _number(value: object) -> float | None:
    return None if pd.isna(value) else float(value)  # type: ignore[call-overload, arg-type]
