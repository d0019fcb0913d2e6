"""Effects on FID and time, from made-up rows whose effects are known."""

from __future__ import annotations

import io
import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.effects_table import effects_parquet, effects_table
from harness.report.analysis.factorial_effects import FID, TIME, Effect, find_designs, find_effects
from harness.report.figures.draw import DRAWERS
from harness.report.figures.plot_style import report_style

LEVELS = {
    "steps": ("8", "20"), "solver": ("ddim", "unipc"), "denoiser": ("full", "taylor-cache"),
    "precision": ("float32", "bfloat16"),
}  # fmt: skip


def log_fid(steps: str, solver: str, denoiser: str, precision: str) -> float:
    cached, few, fast = denoiser != "full", steps == "8", solver == "unipc"
    return 3.0 + 1.2 * few - 0.8 * fast + 0.1 * cached + 0.4 * cached * few + 0.05 * (precision != "float32")


def log_time(steps: str, solver: str, denoiser: str, precision: str) -> float:
    cached = denoiser != "full"
    return math.log(int(steps) / 20) - 0.5 * cached + 0.2 * cached * (steps == "8") - 0.3 * (precision != "float32")


def run(levels: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Return a row of the design; its clock is the plain one of 20 steps."""
    name = "/".join(levels.values())
    clock = tables.trial_id("20/ddim/full/float32", 20)
    given: dict[str, Any] = {
        "solver": levels["solver"], "denoiser": levels["denoiser"], "precision_dtype": levels["precision"],
        "factors_json": json.dumps(levels), "clock_trial_id": clock, "baseline_trial_id": None,
        "params_json": json.dumps({"denoiser": {"name": name}}), **changes,
    }  # fmt: skip
    return tables.row(name, int(levels["steps"]), math.exp(log_fid(**levels)), math.exp(log_time(**levels)), **given)


def analysed(half: bool = False, **changes: Any) -> Analysis:
    """Return the analysis of all combinations, or of the half with an odd number of second levels."""
    every = [dict(zip(LEVELS, one, strict=True)) for one in itertools.product(*LEVELS.values())]
    seconds = [sum(level == LEVELS[factor][1] for factor, level in one.items()) for one in every]
    kept = [one for one, count in zip(every, seconds, strict=True) if not half or count % 2 == 1]
    trials = DataFrame([run(one, **changes) for one in kept])
    return derive({"trials": trials, "quality": tables.quality(trials), "timings": tables.timings(trials)})


def effect(found: list[Effect], response: str, given: dict[str, str], **changes: str) -> Effect:
    (one,) = [e for e in found if (e.response, dict(e.changes), dict(e.given)) == (response, changes, given)]
    return one


@pytest.fixture(scope="module")
def found() -> list[Effect]:
    return find_effects(find_designs(analysed()))


def test_known_effects_are_recovered_and_lie_in_their_intervals(found: list[Effect]) -> None:
    cached = effect(found, FID, {}, denoiser="taylor-cache")
    assert cached.ratio == pytest.approx(math.exp(0.1 + 0.2))
    assert cached.references == {"denoiser": "full"}
    few = effect(found, FID, {}, steps="8", denoiser="taylor-cache")
    assert few.ratio == pytest.approx(math.exp(0.4))
    assert effect(found, TIME, {}, denoiser="taylor-cache").ratio == pytest.approx(math.exp(-0.5 + 0.1))
    assert effect(found, FID, {}, solver="unipc", precision="bfloat16").ratio == pytest.approx(1.0)
    for one in found:
        assert one.low < one.ratio < one.high
        assert one.aliases == ()


def test_it_answers_whether_a_cache_helps_under_a_solver_at_few_steps(found: list[Effect]) -> None:
    given = {"steps": "8", "solver": "unipc"}
    worse, faster = (effect(found, name, given, denoiser="taylor-cache") for name in (FID, TIME))
    assert worse.ratio == pytest.approx(math.exp(0.5))
    assert faster.ratio == pytest.approx(math.exp(-0.3))
    assert worse.p < 0.05
    assert math.isnan(faster.p)
    at_twenty = effect(found, FID, {"steps": "20", "solver": "unipc"}, denoiser="taylor-cache")
    assert at_twenty.ratio == pytest.approx(math.exp(0.1))


def test_noise_that_runs_share_leaves_effects_their_precision(found: list[Effect]) -> None:
    """The common part of the replicates is larger than their own: an unpaired interval would be wider."""
    one = effect(found, FID, {"steps": "8", "solver": "unipc"}, denoiser="taylor-cache")
    analysis = analysed()
    row = analysis.classes[0].rows.iloc[0]
    by_itself = math.log(row["fid_high"] / row["fid"])
    assert math.log(one.high / one.ratio) < by_itself


def test_errors_of_times_add_up_in_squares(found: list[Effect]) -> None:
    rows = analysed().classes[0].rows
    halves = np.log(rows["relative_time_high"] / rows["relative_time_low"]) / 2
    one = effect(found, TIME, {}, precision="bfloat16")
    assert math.log(one.high / one.ratio) == pytest.approx(float(np.linalg.norm(halves)) / 8)


def test_a_fraction_names_what_it_cannot_tell_apart() -> None:
    designs = find_designs(analysed(half=True))
    (runs,) = designs
    some = find_effects(designs)
    assert (len(runs.rows), runs.design.combinations) == (8, 16)
    together = [one for one in some if set(one.term) == {"steps", "solver"} and one.response == FID]
    assert together[0].aliases == (("denoiser", "precision"),)
    section = effects_table(designs, some)
    line = next(row for row in section.rows if row[0] == "steps × solver")
    assert line[-1] == "denoiser × precision"
    assert any("8 of 16 combinations" in note and "cannot be told" in note for note in section.notes)


def test_the_table_and_the_parquet_file_hold_every_effect(found: list[Effect]) -> None:
    section = effects_table(find_designs(analysed()), found)
    assert len(section.rows) * 2 == len(found)
    assert section.rows[0][-1] == "–"
    read = pq.read_table(io.BytesIO(effects_parquet(found)))
    table = read.to_pandas()
    assert len(table) == len(found)
    line = table[(table["given"] == "steps 8, solver unipc") & (table["response"] == "fid")].iloc[0]
    assert (line["factors"], line["change"]) == ("denoiser", "full → taylor-cache")
    assert line["ratio"] == pytest.approx(math.exp(0.5))
    assert read.schema.field("ratio").metadata[b"sentence"].endswith(b".")


def test_rows_that_are_no_runs_and_suites_without_a_design_have_no_effects() -> None:
    assert find_designs(derive(tables.tables())) == []
    assert effects_table([], []).rows == []
    with report_style():
        assert DRAWERS["effects"](derive(tables.tables()).classes[0], derive(tables.tables()), {}) is None


def test_an_effect_over_trainings_is_the_mean_over_them() -> None:
    frames = []
    for training in range(3):
        every = [dict(zip(LEVELS, one, strict=True)) for one in itertools.product(*LEVELS.values())]
        for one in every:
            row = run(one, training=training)
            shift = 0.1 * training * (one["denoiser"] != "full")
            row |= {"fid": row["fid"] * math.exp(shift), "trial_id": tables.trial_id(row["trial_id"], training)}
            frames.append(row)
    trials = DataFrame(frames)
    clock = trials.loc[trials["method"] == "20/ddim/full/float32", "trial_id"].iloc[0]
    trials["clock_trial_id"] = clock
    found = find_effects(find_designs(derive({"trials": trials, "quality": tables.quality(trials)})))
    one = effect(found, FID, {}, denoiser="taylor-cache")
    assert one.ratio == pytest.approx(math.exp(0.3 + 0.1))
    assert pd.notna(one.low)
    assert math.log(one.high / one.ratio) > 4.3 * 0.1 / math.sqrt(3)  # Student's t of two degrees
