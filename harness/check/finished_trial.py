"""A suite that was run for a check, with the trial of the method in it, and samplers as its workers built them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from harness import api
from harness.config.suite import Suite
from harness.driver.inputs import InputRefs
from harness.driver.results import TaskResults
from harness.planning.level_range import LevelRange
from harness.planning.plan import Plan, PlannedTrial, make_plan
from harness.pools.local import LocalPool
from harness.runs.tables import Tables
from harness.runs.workplace import this_device
from harness.sampling.build import build_sampler
from harness.sampling.place import Place
from harness.sampling.sampler import Sampler
from harness.specs.sample import SampleSpec
from harness.specs.sampler import DataSpec, SamplerSpec
from harness.task import Inputs
from methods.parts import Method

if TYPE_CHECKING:
    import pandas as pd

_SENTENCES = ("oneclock.screen", "oneclock.known_answer", "oneclock.runs")
"""Loggers of a run's opening, of its instruments and of its end."""


@dataclass(frozen=True)
class FinishedTrial:
    """The method's trial of a suite that has run, with its tables and the results of its tasks."""

    tables: Tables
    plan: Plan
    planned: PlannedTrial
    results: TaskResults

    @property
    def row(self) -> pd.Series:
        """Return the method's row."""
        return self._row(self.planned.id)

    @property
    def baseline_id(self) -> str:
        """Return the id of the usual sampler's trial."""
        return self.plan.trials[0].id

    @property
    def where(self) -> str:
        """Return what the trial was run on."""
        trial = self.planned.trial
        return f"{trial.network.name} ({trial.dataset.name})"

    @property
    def is_sampled(self) -> bool:
        """Tell whether the trial has images, so that samplers can be built as its workers did."""
        return bool(self.row["status"] == "finished")

    @property
    def parts(self) -> Mapping[str, Method]:
        """Return the four parts."""
        return self.planned.trial.parts

    @property
    def data(self) -> DataSpec:
        """Return the data whose images it has."""
        return self.planned.trial.data

    @property
    def level_range(self) -> LevelRange:
        """Return the range of levels that its network is sampled in."""
        return self.planned.trial.level_range

    @property
    def steps(self) -> int:
        """Return the number of steps."""
        return self.planned.trial.steps

    @property
    def sampler_spec(self) -> SamplerSpec:
        """Return all that decides the pixels of the trial's images."""
        return self.planned.trial.sampler

    def inputs(self) -> dict[str, Any]:
        """Return what its samplers read: weights, and artifacts of preparations."""
        task = self.plan.tasks[self.planned.row.sample_ids[0]]
        assert isinstance(task.spec, SampleSpec)
        with _local_pool() as pool:
            return InputRefs(self.results, pool, self.plan.datasets).for_unit(task.unit(0))

    def digests(self, indices: Sequence[int]) -> Mapping[int, np.ndarray]:
        """Return the SHA-256 of scored images by index, uint8 [32]."""
        return self.results.rows_of(self.planned.row.sample_ids, "digests", indices)

    @contextmanager
    def built(self, precision: str = "float32", serial: bool = False) -> Iterator[Sampler]:
        """Yield the trial's sampler in a precision, under the settings of a worker; `serial`: under that executor."""
        spec = self.sampler_spec
        model = spec.model.model_copy(update={"precision": precision})
        update: dict[str, Any] = {"model": model, **({"executor": spec.serial} if serial else {})}
        with _local_pool():
            where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            yield build_sampler(spec.model_copy(update=update), Inputs(self.inputs()), Place(where))

    def _row(self, trial_id: str) -> pd.Series:
        trials = self.tables.trials
        return trials[trials["trial_id"] == trial_id].iloc[0]


def run_suite(suite: Suite, folder: Path, quiet: bool = True) -> FinishedTrial:
    """Run a suite in this process into a folder; its last trial is the method's. Without `quiet` progress is shown."""
    with _no_sentences():
        tables = api.run(suite, results=folder, in_process=True, quiet=quiet, report=False)
    plan = make_plan(suite, *this_device())
    results = TaskResults(plan, tables.folder, folder)
    results.load_finished()
    return FinishedTrial(tables, plan, plan.trials[-1], results)


@contextmanager
def _no_sentences() -> Iterator[None]:
    """Leave out what a run says of its suite and its results, which this one's caller throws away."""
    loggers = [logging.getLogger(name) for name in _SENTENCES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _local_pool() -> Iterator[LocalPool]:
    pool = LocalPool()
    try:
        yield pool
    finally:
        pool.close()
