"""What methods predict of themselves, from a preparation's facts through the tables to the figure and the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kit import tables, toys
from kit.toys import CountingPool, suite_file, trial
from pandas import DataFrame

import harness
from harness.report.analysis.calibration import calibration_table
from harness.report.analysis.rows import typed_table
from harness.report.build import build_report
from harness.report.figures.calibration_figure import draw_calibration
from harness.report.figures.plot_style import report_style
from methods.denoisers.full import Full
from methods.parts import Artifact, PrepareContext

LEVELS = (10.0, 1.0, 0.1)


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with report_style():
        yield


class Predicts(Full):
    """Predicts 0.5 everywhere; the truth is the level's place."""

    name = "toy-predicts"
    prepares = True

    def prepare(self, context: PrepareContext) -> Artifact:
        rows = [
            {"sigma": sigma, "block": block, "predicted": 0.5, "true": 0.1 * place}
            for place, sigma in enumerate(LEVELS)
            for block in (1, 2)
        ]
        return Artifact(facts={"calibration": rows})


def test_a_preparation_that_measured_it_fills_the_table(tmp_path: Path) -> None:
    with toys.registered(Predicts):
        suite = suite_file(tmp_path, trial(steps=2, denoiser="toy-predicts") + trial(steps=3, denoiser="toy-predicts"))
        found = harness.run(suite, pool=CountingPool, results=tmp_path)
    assert found.all_valid
    assert len(found.calibration) == 2 * 6  # both trials share the preparation
    one = found.calibration[found.calibration["trial_id"] == found.calibration["trial_id"].iloc[0]]
    assert list(zip(one["sigma"], one["block"], one["true"], strict=True)) == [
        (sigma, block, pytest.approx(0.1 * place))
        for place, sigma in reversed([*enumerate(LEVELS)])
        for block in (1, 2)
    ]
    assert set(one["part"]) == {"denoiser"}
    assert "Uncertainty predicted" in (found.folder / "report.html").read_text(encoding="utf-8")
    assert (found.folder / "plots" / "calibration.png").is_file()


def measured(trial_id: str, shift: float, blocks: int = 7, sigmas: Any = LEVELS) -> list[dict]:
    """Return predictions that are off by `shift`, and by twice that at the last block of the lowest level."""
    return [
        {"trial_id": trial_id, "attempt": 1, "part": "denoiser", "sigma": sigma, "block": block,
         "true": 0.1 * block, "predicted": 0.1 * block + shift * (1 + (block == blocks and sigma == min(sigmas)))}
        for sigma in sigmas for block in range(1, blocks + 1)
    ]  # fmt: skip


def gates() -> list[dict]:
    return [tables.row(f"gate(theta={theta})", 10, 5.0, 0.5, denoiser="gate") for theta in (0.1, 0.2, 0.3)]


def analysis(rows: list[dict], calibration: list[dict]) -> Any:
    """Return what the table reads of an analysis."""
    return SimpleNamespace(
        trials=typed_table("trials", DataFrame(rows)),
        tables={"calibration": typed_table("calibration", DataFrame(calibration))},
    )


def test_the_table_shows_shared_numbers_once_and_where_they_are_worst() -> None:
    rows = gates()
    shifts = (0.05, 0.05, 0.2)
    here = [one for row, shift in zip(rows, shifts, strict=True) for one in measured(row["trial_id"], shift)]
    found = calibration_table(analysis(rows, here))
    first, second = found.rows
    assert first[0] == "unet-small:gate(theta=0.1) and 1 more"
    assert second[0] == "unet-small:gate(theta=0.3)"
    assert first[2] == "0.100 (σ 0.100, block 7)"
    assert first[3] == "0.450 / 0.400"
    assert float(second[1]) == pytest.approx(0.2 * 22 / 21, rel=1e-2)


def test_the_figure_draws_three_blocks_of_each_preparation() -> None:
    rows = gates()
    here = [one for k, row in enumerate(rows) for one in measured(row["trial_id"], 0.05 * k)]
    figure = draw_calibration(typed_table("trials", DataFrame(rows)), typed_table("calibration", DataFrame(here)))
    assert figure is not None
    assert len(figure.axes) == 3
    lines = figure.axes[1].get_lines()
    assert len(lines) == 6
    assert sorted(text.get_text() for text in figure.axes[1].texts) == ["block 1", "block 4", "block 7"]
    predicted, true = (np.asarray(line.get_ydata()) for line in lines[2:4])
    assert predicted - true == pytest.approx(np.full(3, 0.05))
    assert list(lines[0].get_xdata()) == sorted(LEVELS)


def test_where_nothing_predicts_nothing_is_shown(tmp_path: Path) -> None:
    rows = typed_table("trials", DataFrame(gates()))
    assert draw_calibration(rows, typed_table("calibration", None)) is None
    assert calibration_table(analysis(gates(), [])).rows == []
    build_report(tmp_path, tables.tables(lambda table: table.head(6)))
    assert not (tmp_path / "plots" / "calibration.png").exists()
    assert "Uncertainty predicted" not in (tmp_path / "report.html").read_text(encoding="utf-8")
