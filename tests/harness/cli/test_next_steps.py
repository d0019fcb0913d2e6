"""Commands after the first suite: three, filled in for this machine; the large one's time only where it is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import api
from harness.cli.new.next_commands import oneclock_command
from harness.cli.next_steps import list_next_steps
from harness.planning import plan as planning


def test_only_the_first_suite_is_followed_by_commands(tmp_path: Path) -> None:
    assert list_next_steps("digits", tmp_path, with_time=True) == []


def test_three_commands_are_filled_in_and_nothing_is_planned_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "this_device", lambda: ("cpu:a chip", "a chip"))
    monkeypatch.setattr(planning, "make_plan", lambda *_, **__: pytest.fail("it was planned"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    head, *lines = list_next_steps("quick", tmp_path, with_time=False)
    program = oneclock_command()
    assert head == "to go on:"
    assert [line.partition(program)[2] for line in lines[:3]] == [
        " new solver mine", " new dataset ./pictures", " run cifar10 --address HOST:6379",
    ]  # fmt: skip
    assert [line.strip() for line in lines[3:]] == ["HOST: of a Ray cluster with a GPU"]
    monkeypatch.setattr(api, "this_device", lambda: ("cuda:a GPU", "a GPU"))
    assert list_next_steps("quick", tmp_path, with_time=False)[-1].endswith(f"{program} run cifar10")


def test_the_time_is_said_for_one_gpu_where_there_is_none_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "this_device", lambda: ("cpu:a chip", "a chip"))
    *_, last = list_next_steps("quick", tmp_path, with_time=True)
    assert " on one GPU (" in last
    assert "TFLOP/s" in last
