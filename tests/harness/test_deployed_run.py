"""A deployed run end to end in this process: its rows hold the same rules, and say their mode.

Torch traces what it compiles and runs it without code of its own, which would take a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toy_runs import Run

SUITE = """
name = "deployed"
title = "A trained network, deployed"
dataset = "digits"
network = "uvit-8"
extractor = "digits-cnn"
n_images = 300
batch = 50
baseline = { clock_steps = 8 }
networks.uvit-8.weights = "zoo:uvit-8"
timing = { tier = "smoke", mode = "deployed" }

[[trials]]
steps = 8

[[trials]]
steps = 8
denoiser = { name = "taylor-cache", interval = 2 }
"""


@pytest.fixture(scope="module")
def compiled() -> Iterator[list[Any]]:
    seen: list[Any] = []
    real = torch.compile

    def compile_traced(call: Callable[..., Any], **how: Any) -> Any:
        seen.append(how)
        return real(call, dynamic=how["dynamic"], backend="eager")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_traced)
        yield seen
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def run(compiled: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("deployed")
    (folder / "suite.toml").write_text(SUITE)
    return Run(str(folder / "suite.toml"), folder / "results")


def test_rows_of_compiled_networks_are_valid_and_say_so(run: Run, compiled: list[Any]) -> None:
    rows = run.tables.trials
    assert set(rows["reasons"]) == {""}
    assert set(rows["timing_mode"]) == {"deployed"}
    assert {"dynamic": False} in compiled


def test_images_are_scored_in_the_mode_that_is_timed(run: Run) -> None:
    """Timed batches are the scored ones byte for byte, by the rule that says so."""
    checks = run.tables.checks
    timed = checks[checks["rule"] == "timed-images-differ"]
    assert len(timed) == 2
    assert timed["holds"].all()
