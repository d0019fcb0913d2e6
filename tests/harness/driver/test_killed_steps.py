"""The driver killed at every step at which it writes, and run again: the tables are those of an undisturbed run."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kit.stub_runs import engine, plan, rows

from harness.storage.disk import Disk
from harness.storage.store import Store

STEPS = ("create", "append", "write", "sync", "sync_data", "read_back", "link", "rename", "sync_folder", "unlink")


class Killed(BaseException):
    """The process is gone: whatever it still tries to write changes nothing."""


class Switch:
    """Lets the disk do its steps until the `at`-th, which it does by half or not at all; from then on nothing."""

    def __init__(self, at: int | None = None, torn: bool = False) -> None:
        self.at, self.torn, self.steps = at, torn, []  # steps: name and kind of file

    def step(self, name: str, real: Any, disk: Disk, first: Any, *rest: Any) -> Any:
        if self.at is not None and len(self.steps) > self.at:
            raise Killed
        self.steps.append((name, self._kind(first, rest)))
        if len(self.steps) - 1 == self.at:
            if self.torn and name == "write":
                real(disk, first, rest[0][: len(rest[0]) // 2])
            raise Killed
        return real(disk, first, *rest)

    def _kind(self, first: Any, rest: tuple[Any, ...]) -> str:
        """Return which kind of file a step is about, by its folder or its ending."""
        path = first if isinstance(first, Path) else Path(f"/proc/self/fd/{first}").readlink()
        parent = path.parent.name if path.parent.name != "mine" else ""
        return re.sub(r"[0-9a-f]{16,}[-.0-9a-f]*|\.tmp-", "*", f"{parent}/{path.name}")


@contextmanager
def power(switch: Switch) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            real = getattr(Disk, name)

            def stepped(disk: Disk, *arguments: Any, name: str = name, real: Any = real) -> Any:
                return switch.step(name, real, disk, *arguments)

            patch.setattr(Disk, name, stepped)
        yield


def all_rows(folder: Path) -> dict[str, pd.DataFrame]:
    snapshot = Store.create_or_open(folder / "mine").snapshot()
    assert not snapshot.damage
    found = {name: snapshot.read(name).drop(columns="attempt") for name in ("steps", "quality")}
    sorted_by = {"steps": ["trial_id", "step"], "quality": ["trial_id", "group"]}
    return {
        "trials": rows(folder),
        **{name: table.sort_values(sorted_by[name], ignore_index=True) for name, table in found.items()},
    }


def test_killed_at_every_step_and_run_again_the_tables_are_the_same(tmp_path: Path) -> None:
    made = plan(units=2, trials=2)
    watched = Switch()
    with power(watched):
        engine(made, tmp_path / "whole", hosts=1, devices=1)[0].run()
    expected = all_rows(tmp_path / "whole")
    assert (len(expected["trials"]), len(expected["steps"])) == (2, 100)

    # the first and the last of every step on every kind of file
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, step in enumerate(watched.steps):
        places[step].append(number)
    assert {name for name, _ in places} == set(STEPS) - {"rename"}
    chosen = sorted({at for found in places.values() for at in (found[0], found[-1])})
    for at in chosen:
        torn = watched.steps[at][0] == "write"
        folder = tmp_path / f"killed-{at}"
        with power(Switch(at, torn)), pytest.raises(Killed):
            engine(made, folder, hosts=1, devices=1)[0].run()
        engine(made, folder, hosts=1, devices=1)[0].run()
        found = all_rows(folder)
        for name, table in expected.items():
            pd.testing.assert_frame_equal(found[name], table, obj=f"{name} after {watched.steps[at]}")
