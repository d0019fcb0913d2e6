"""The mode of a suite: one for both sides of a comparison, scored as it is timed, and kept apart from the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kit.plan_kit import ids, last, plan, reference
from kit.tables import trials

from harness.errors import UsageError
from harness.report.analysis.rows import typed_table
from harness.rows.names import name_columns
from harness.specs.base import deciding_fields

DEPLOYED: dict[str, Any] = {"timing": {"mode": "deployed"}}
REPRODUCIBLE: dict[str, Any] = {"timing": {"mode": "reproducible"}}


def test_rows_without_a_mode_are_the_reproducible_ones() -> None:
    assert ids(last()) == ids(last(**REPRODUCIBLE))
    assert "mode" not in deciding_fields(last().trial.sampler)
    assert deciding_fields(last(**DEPLOYED).trial.sampler)["mode"] == "deployed"


def test_the_mode_decides_images_scores_and_times_of_all_trials_alike() -> None:
    one, other = plan(), plan(**DEPLOYED)
    for usual, deployed in zip(one.trials, other.trials, strict=True):
        assert not set(usual.row.sample_ids) & set(deployed.row.sample_ids)
        assert usual.row.score_id != deployed.row.score_id
        assert usual.row.time_id != deployed.row.time_id
        assert usual.id != deployed.id

        timing = other.tasks[deployed.row.time_id].spec
        assert timing.sampler.mode == timing.clock.mode == "deployed"
        assert {other.tasks[task].spec.sampler.mode for task in deployed.row.sample_ids} == {"deployed"}
    assert reference(one) == reference(other)


def test_what_is_trained_prepared_and_solved_is_the_same_in_both_modes() -> None:
    changes = {
        "dataset": "digits", "network": "uvit-8", "truncation": {"images": 10}, "baseline": {"clock_steps": 2},
        "trials": [{"steps": 2}, {"steps": 6, "denoiser": "smooth-cache"}],
    }  # fmt: skip
    modes = [plan(**changes, **one) for one in (REPRODUCIBLE, DEPLOYED)]
    for kind in ("train", "prepare", "reference", "reference-solution"):
        usual, deployed = ({task.id for task in made.tasks.values() if task.kind == kind} for made in modes)
        assert usual == deployed
        assert usual


def test_a_row_says_its_mode_and_how_its_images_round() -> None:
    assert name_columns(last().row)["timing_mode"] == "reproducible"
    assert name_columns(last(**DEPLOYED).row)["timing_mode"] == "deployed"
    for device, precision, mode, rounding in [
        ("cpu:x", "float32", "deployed", "float32"), ("cuda:x", "float32", "reproducible", "float32"),
        ("cuda:x", "float32", "deployed", "tf32"), ("cuda:x", "bfloat16", "deployed", "bfloat16"),
    ]:  # fmt: skip
        sampler = last(device=device, precision=precision, timing={"mode": mode}).trial.sampler
        assert (sampler.rounding, sampler.equal_bytes) == (rounding, device[:3] == "cpu" or mode == "reproducible")


def test_rows_of_tables_without_a_mode_count_as_reproducible() -> None:
    frame = trials().drop(columns="timing_mode", errors="ignore")
    assert set(typed_table("trials", frame)["timing_mode"]) == {"reproducible"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trials": [{"steps": 2}, {"steps": 2, "denoiser": {"name": "full", "compiled": True}}]}, "its baseline not"),
        ({**DEPLOYED, "precision": "float64"}, 'precision is "float64" and timing.mode is "deployed"'),
        ({**DEPLOYED, "trials": [{"steps": 2, "pipeline": "mine.py:own"}]}, "a wrapped pipeline owns its network"),
    ],
)
def test_conflicts_with_the_mode_are_refused_in_one_sentence(
    changes: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("def own(noise, steps):\n    return noise\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"expected|set timing\.mode") as refused:
        plan(**changes)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_mode_is_no_suite() -> None:
    with pytest.raises(ValueError, match="reproducible"):
        plan(timing={"mode": "fast"})
