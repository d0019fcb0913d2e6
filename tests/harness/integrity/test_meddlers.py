"""A method that changes what judges loses its own row, and no other."""

from __future__ import annotations

import sys
import threading
import time

import pandas as pd
import psutil
import pytest
import torch
from kit import meddlers
from kit.meddlers import MEDDLERS, Meddler
from kit.toy_runs import Run
from kit.toys import registered, suite_file, trial

from harness.integrity.guard import process_guard
from harness.sampling import pixels

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of a stopped thread

HONEST = [trial(solver="ddim", steps=3), trial(solver="heun", steps=2), trial(solver="dpmpp-2m", steps=3)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run of every meddler among honest trials, in this process."""
    folder = tmp_path_factory.mktemp("meddlers")
    for kind in MEDDLERS:
        kind.has_meddled = False
    entries = [trial(solver=kind.name, steps=2, label=kind.name) for kind in MEDDLERS]
    with registered(*MEDDLERS):
        before = process_guard().look()
        done = Run(suite_file(folder, "".join((*entries, *HONEST))), folder / "results")
        assert process_guard().restore_since(before).deeds == []
    return done


@pytest.mark.parametrize("kind", MEDDLERS, ids=lambda kind: kind.name)
def test_its_row_is_invalid_and_names_what_it_changed(run: Run, kind: type[Meddler]) -> None:
    row = run.tables.trials.set_index("method").loc[kind.name]
    assert row["verdict"] == "INVALID"
    assert row["reasons"].startswith(f"tampered: solver/{kind.name} "), row["reasons"]
    assert kind.change in row["reasons"]
    assert "could not be restored" not in row["reasons"]


def test_every_other_trial_of_the_run_is_valid(run: Run) -> None:
    honest: pd.DataFrame = run.tables.trials[~run.tables.trials["method"].isin([kind.name for kind in MEDDLERS])]
    assert len(honest) == len(HONEST) + 1
    reasons = [why for why in honest["reasons"] if why and not why.startswith("latency-")]  # on a busy machine
    assert reasons == []


def test_nothing_is_left_of_it(run: Run) -> None:
    assert pixels.image_digests is not meddlers.same_digests
    assert time.perf_counter() > 0
    assert sys.getprofile() is None
    assert torch.get_num_threads() >= 1
    assert "spinner" not in {thread.name for thread in threading.enumerate()}
    children = [child.cmdline() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert not [words for words in children if meddlers.CHILD_SECONDS in words]


def test_it_is_not_tried_again(run: Run) -> None:
    started = [unit.key for unit in run.pool.started if "meddles" in unit.label]
    assert len(started) == len(set(started))
