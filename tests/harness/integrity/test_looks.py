"""Two looks: what they notice, what they leave alone."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
import time
from types import FunctionType, ModuleType

import pytest
import torch
from torch import nn

from harness.integrity.guard import Guard
from harness.integrity.leftovers import left_threads, running_threads
from harness.pools.watched_models import WatchedModels
from harness.sampling import evaluator, pixels
from harness.specs.rules import timing
from harness.specs.sampler import DataSpec
from methods.solvers.ddim import DDIM


def test_what_was_changed_before_is_not_the_methods_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = Guard()
    monkeypatch.setattr(pixels, "to_unit", print)
    with guard.watching() as tampering:
        evaluator.AUTOCAST["half"] = torch.float16
    assert tampering.sentence("x") == "x changed harness.sampling.evaluator.AUTOCAST['half']"
    assert "half" not in evaluator.AUTOCAST
    assert vars(pixels)["to_unit"] is print


def test_what_python_itself_sets_late_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.report.facts", raising=False)
    monkeypatch.delattr("harness.report.facts", raising=False)
    guard = Guard()
    with guard.watching() as tampering:
        copy.deepcopy(timing.TIERS["smoke"])  # notes slots in the class
        import harness.report.facts  # noqa: F401  (a submodule that is loaded late)
    assert tampering.deeds == []


def test_names_that_the_compiler_adds_are_no_change() -> None:
    def doubled(x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        print(end="")  # a break, after which the rest gets a name of its own
        return x * 2

    guard, before = Guard(), set(vars(pixels))
    call = FunctionType(doubled.__code__, vars(pixels))
    try:
        with guard.watching() as tampering:
            assert torch.compile(call, backend="eager")(torch.ones(1)) == 4
        added = set(vars(pixels)) - before
        assert any(name.startswith("__resume_at_") for name in added)
        assert tampering.deeds == []
    finally:
        torch._dynamo.reset()
        for name in set(vars(pixels)) - before:
            del vars(pixels)[name]


def test_a_name_that_is_gone_comes_back() -> None:
    guard = Guard()
    with guard.watching() as tampering:
        del pixels.to_unit
        del DDIM.summary
    assert callable(pixels.to_unit)
    assert DDIM.summary
    assert set(tampering.deeds) == {
        "changed harness.sampling.pixels.to_unit",
        "changed methods.solvers.ddim.DDIM.summary",
    }


def test_a_change_that_cannot_be_undone_is_said() -> None:
    guard = Guard()
    fake = ModuleType("harness.absent")
    with guard.watching() as tampering:
        sys.modules["harness.absent"] = fake
    assert (
        tampering.sentence("x")
        == "x changed the module harness.absent; the module harness.absent could not be restored"
    )


def test_threads_that_end_and_those_of_libraries_are_no_change() -> None:
    before = running_threads()
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    assert left_threads(before) == []

    # one that goes on
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="goes-on")
    thread.start()
    names = [change.name for change in left_threads(before)]
    stop.set()
    thread.join()
    assert names == ["thread goes-on running"]


def test_a_child_process_that_has_ended_is_no_change() -> None:
    guard = Guard()
    with guard.watching() as tampering:
        child = subprocess.Popen(["true"])
        time.sleep(0.1)
    child.wait()
    assert tampering.deeds == []


def test_a_cached_model_whose_code_changes_is_dropped() -> None:
    models = WatchedModels()
    net = models.get("key", lambda: nn.Sequential(nn.Linear(2, 2)))
    assert models.code_changes() == []
    net[0].register_forward_hook(lambda *args: None)
    (change,) = models.code_changes()
    assert change.name == "the cached Sequential that other trials use (0)"
    change.restore()
    assert models.get("key", lambda: nn.Sequential(nn.Linear(2, 2))) is not net


def test_constants_of_pydantic_models_are_watched() -> None:
    guard = Guard()
    with guard.watching() as tampering:
        DataSpec.model_fields["labels"].default = 7
    assert DataSpec.model_fields["labels"].is_required()
    assert tampering.deeds == ["changed harness.specs.sampler.DataSpec.__pydantic_fields__['labels'], its default"]
