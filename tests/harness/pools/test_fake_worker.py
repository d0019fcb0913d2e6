"""Fake workers of a test of clusters: a function takes the place of tasks, without torch, on fake devices alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.pool_kit import ActSpec

from harness.errors import UsageError
from harness.measure.device_names import FAKE, FAKE_DEVICE, usable_device_type
from harness.pools.fake_worker import FAKE_TASKS, FakeWorker
from harness.runs import workplace
from harness.runs.workplace import Workplace
from harness.specs.base import Output, Spec
from harness.task import ALONE, Event, Ranks, Result, Span

ROOT = Path(__file__).resolve().parents[3]


def answer(spec: Spec, inputs: Mapping[str, Any], span: Span | None, ranks: Ranks) -> Iterator[Event]:
    assert (spec.kind, dict(inputs), span, ranks) == ("act", {"a": 1}, None, ALONE)
    yield Result(Output())


def test_a_function_takes_the_place_of_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FAKE_DEVICE, "chip")
    worker = FakeWorker(f"{__name__}:answer")
    assert [type(event) for event in worker.run(ActSpec(), {"a": 1})] == [Result]
    assert worker.device.type == "cpu"


@pytest.mark.parametrize("entry", ["", "harness", "harness:nothing", "nowhere:run", ":run"])
def test_a_name_of_no_function_is_refused(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv(FAKE_DEVICE, "chip")
    with pytest.raises(UsageError, match=f'{FAKE_TASKS} is "{entry}"; expected MODULE:FUNCTION'):
        FakeWorker(entry)


def test_fake_tasks_need_a_fake_device() -> None:
    with pytest.raises(UsageError, match=f"{FAKE_TASKS} is set and {FAKE_DEVICE} is not"):
        FakeWorker(f"{__name__}:answer")


def test_fake_devices_run_on_the_cpu_and_the_run_says_so(monkeypatch: pytest.MonkeyPatch, logged: Any) -> None:
    assert usable_device_type(True) == "cuda"
    monkeypatch.setenv(FAKE_DEVICE, "H100")
    assert usable_device_type(True) == usable_device_type(False) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device_class, name = workplace.this_device()
    assert device_class == f"cpu:{name}"
    assert name.startswith(f"{FAKE}H100 on ")
    workplace.warn_of_fake_devices(name)
    assert "none of its figures is a measurement" in logged.messages[-1]
    logged.messages.clear()
    workplace.warn_of_fake_devices("NVIDIA H100")
    assert logged.messages == []


def test_what_a_fake_worker_is_made_of_imports_no_torch() -> None:
    code = (
        "import sys; import harness.pools.actor, harness.pools.fake_worker, harness.pools.progress; "
        "import harness.measure.device_names; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("given", [{"in_process": True}, {"pool": lambda: None}])
def test_devices_are_not_chosen_where_ray_has_none(given: dict[str, Any]) -> None:
    from harness.pools.device_choice import DeviceChoice

    with pytest.raises(UsageError, match="expected neither of them, or no --in-process"):
        Workplace(**given, choice=DeviceChoice(gpus=1))
