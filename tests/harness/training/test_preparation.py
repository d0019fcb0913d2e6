"""What a method trains while it prepares: the same on one device and two, and as if it had never been killed."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import trained_twice

from harness.specs.prepare import PrepareOutput
from harness.task import ALONE, Progress, Result
from harness.training.preparation import share_of

ROOT = Path(__file__).resolve().parents[3]


def started(folder: Path, what: str, size: int, *words: str) -> list[subprocess.Popen[str]]:
    """Start a process for each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    script = str(ROOT / "tests" / "kit" / "trained_twice.py")
    commands = [[sys.executable, script, what, str(r), str(size), str(port), str(folder), *words] for r in range(size)]
    return [subprocess.Popen(c, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) for c in commands]


def found_by_ranks(folder: Path, what: str, size: int) -> list[Any]:
    """Return what each rank found."""
    children = started(folder, what, size)
    try:
        for child in children:
            _, talk = child.communicate(timeout=240)
            assert child.returncode == 0, talk
    finally:
        for child in children:
            child.kill()
    return [pickle.loads((folder / f"rank-{rank}").read_bytes()) for rank in range(size)]


def difference(a: Any, b: Any) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(np.asarray(a[name]) - np.asarray(b[name])).max()) for name in a)


def test_every_method_that_tunes_agrees_on_two_processes_with_one(tmp_path: Path) -> None:
    """Adam turns rounding into steps where a gradient is nearly 0, so 1 % of the 6 steps' length is allowed."""
    alone, (first, second) = trained_twice.tuned(ALONE), found_by_ranks(tmp_path, "methods", 2)
    untuned = dict(trained_twice.network().state_dict())
    for name, one in alone.items():
        moved = {key: value for key, value in one["tensors"].items() if key in untuned}
        if moved:
            assert difference(moved, {key: untuned[key] for key in moved}) > 1e-4, name
        assert difference(one["tensors"], first[name]["tensors"]) < 1e-5, name
        assert difference(first[name]["tensors"], second[name]["tensors"]) == 0, name
        if "loss" in one["facts"]:
            assert first[name]["facts"]["loss"] == pytest.approx(one["facts"]["loss"], rel=1e-5)
        assert first[name]["facts"]["coverage"] == one["facts"]["coverage"]


def test_two_processes_cost_two_devices_and_do_the_work_of_one(tmp_path: Path) -> None:
    *_, alone = trained_twice.events_of(trained_twice.twice_spec(), ALONE)
    first, second = found_by_ranks(tmp_path, "twice", 2)
    assert isinstance(alone, Result)
    assert isinstance(alone.output, PrepareOutput)
    assert difference(alone.tensors, first["result"].tensors) < 1e-5
    assert difference(first["result"].tensors, second["result"].tensors) == 0
    assert (
        first["result"].output.price.flops == alone.output.price.flops == 2 * 40 * 16 * 64 * 4
    )  # 2 trainings, 4 flops
    assert 1.2 * first["seconds"] < first["result"].output.price.seconds < 2 * first["seconds"]


def test_killed_in_the_second_of_two_trainings_it_resumes_to_the_bit(tmp_path: Path) -> None:
    """With dropout; a method's notes of its draws are whole, and FLOPs are those of an undisturbed preparation."""
    (child,) = started(tmp_path, "twice", 1, "kill")
    child.communicate(timeout=240)
    assert child.returncode == -signal.SIGKILL
    checkpoint = pickle.loads((tmp_path / "checkpoint").read_bytes())

    spec = trained_twice.twice_spec(seed=1)
    *_, whole = trained_twice.events_of(spec, ALONE)
    resumed = list(trained_twice.events_of(spec, ALONE, checkpoint))
    trained = [event.done for event in resumed if isinstance(event, Progress) and event.note.startswith("loss")]
    assert trained[0] == min(trained) > checkpoint.metadata["step"]  # nothing was trained again
    end = resumed[-1]
    assert isinstance(whole, Result)
    assert isinstance(end, Result)
    assert isinstance(whole.output, PrepareOutput)
    assert isinstance(end.output, PrepareOutput)
    assert difference(whole.tensors, end.tensors) == 0
    assert whole.output.artifact == end.output.artifact
    assert whole.output.price.flops == end.output.price.flops
    assert end.output.price.seconds > checkpoint.metadata["device_seconds"]


def test_progress_says_how_long_it_still_takes() -> None:
    told = [
        event for event in trained_twice.events_of(trained_twice.twice_spec(), ALONE) if isinstance(event, Progress)
    ]
    assert told[0].note.endswith(" left")
    assert (told[-1].done, told[-1].total) == (40, 40)
    assert "left" not in told[-1].note


def test_a_preparation_that_is_stopped_leaves_no_group_behind() -> None:
    events = trained_twice.events_of(trained_twice.twice_spec(), ALONE)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(("rows", "size"), [(8, 2), (3, 2), (1, 2), (6, 4), (5, 1)])
def test_shares_are_equal_and_weigh_all_rows_alike(rows: int, size: int) -> None:
    value = torch.arange(rows)
    shares = [share_of(value, rank, size) for rank in range(size)]
    assert len({len(share) for share in shares}) == 1
    together = torch.cat(shares)
    assert torch.equal(together.unique(), value)
    assert len({int((together == row).sum()) for row in value}) == 1
