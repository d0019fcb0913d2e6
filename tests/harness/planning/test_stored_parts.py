"""Stored preparations: kept from a run, named by a suite, refused where they do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import harness
from harness.config import stored_preparation
from harness.config.stored_preparation import load_preparation, preparation_names
from harness.config.suite import Suite
from harness.errors import StoreDamagedError, UsageError
from harness.planning.plan import Plan, make_plan
from harness.runs.workplace import this_device
from harness.zoo.kept_preparations import keep_preparations

TUNED = {"name": "early-exit", "schedule": "steep", "tune_steps": 3, "tune_batch": 8}
SUITE: dict[str, Any] = {
    "name": "small", "title": "t", "dataset": "digits", "network": "uvit-8", "extractor": "digits-cnn",
    "n_images": 80, "batch": 40, "baseline": {"clock_steps": 2}, "timing": {"tier": "smoke"}, "trainings": 2,
    "networks": {"uvit-8": {"weights": "zoo:uvit-8"}},
}  # fmt: skip


def suite(denoiser: object, **changes: object) -> Suite:
    trials = [{"steps": 2}, {"steps": 2, "label": "early", "denoiser": denoiser}]
    return Suite.model_validate({**SUITE, "trials": trials, **changes})


def plan(denoiser: object, only: str | None = None, **changes: object) -> Plan:
    return make_plan(suite(denoiser, **changes), *this_device(), only)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Preparations of both trainings, made by a run and kept; and that run's tables."""
    folder, results = tmp_path_factory.mktemp("preparations"), tmp_path_factory.mktemp("results")
    tables = harness.run(suite(TUNED), results=results, in_process=True, quiet=True, report=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_preparation, "_FOLDER", folder)
        keep_preparations(plan(TUNED, "*early*"), "steep", "denoiser", "oneclock zoo keep", results)
    return folder, tables.trials.set_index(["method", "training"])


@pytest.fixture
def zoo(made: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same preparations, in a copy that a test may damage."""
    for path in made[0].rglob("*.*"):
        copy = tmp_path / "zoo" / path.relative_to(made[0])
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(stored_preparation, "_FOLDER", tmp_path / "zoo")
    return tmp_path / "zoo"


STORED = {"name": "early-exit", "artifact": "zoo:steep"}


def test_a_run_from_the_zoo_has_the_images_and_the_price_of_the_run_that_made_it(
    zoo: Path, made: tuple[Path, Any], tmp_path: Path
) -> None:
    assert preparation_names() == ["steep", "steep-seed1"]
    tables = harness.run(suite(STORED), results=tmp_path / "r", in_process=True, quiet=True, report=False)
    rows = tables.trials.set_index(["method", "training"])
    for training in range(2):
        row, other = rows.loc["early", training], made[1].loc["early", training]
        assert row["verdict"] == "VALID", row["reasons"]
        assert row["fid"] == pytest.approx(other["fid"], rel=2e-3)  # weights in half precision
        assert row["prepare_flops"] == other["prepare_flops"] > 0
        assert row["prepare_seconds"] == pytest.approx(other["prepare_seconds"], rel=1e-6)


def test_parameters_come_from_the_card(zoo: Path) -> None:
    found = [p.trial.parts["denoiser"].params for p in plan(STORED).trials if p.trial.label == "early"]
    assert [(p.tune_steps, p.schedule) for p in found] == [(3, "steep")] * 2
    kinds = [type(task.spec).__name__ for task in plan(STORED).tasks.values()]
    assert kinds.count("StoredPreparationSpec") == 2
    assert "PrepareSpec" not in kinds


def test_its_hash_is_the_identity(zoo: Path) -> None:
    def ids() -> list[str]:
        return [p.trial.artifact_ids["denoiser"] for p in plan(STORED, "*early*").trials]

    first = ids()
    card = zoo / "steep" / "card.toml"
    content = (zoo / "steep-seed1" / "preparation.safetensors").read_bytes()
    (zoo / "steep" / "preparation.safetensors").write_bytes(content)
    card.write_text(card.read_text().replace(load_sha(card), load_sha(zoo / "steep-seed1" / "card.toml")))
    second = ids()
    assert first[0] != second[0]
    assert first[1] == second[1]


def load_sha(card: Path) -> str:
    return next(line for line in card.read_text().splitlines() if line.startswith("sha256")).partition('"')[2][:-1]


@pytest.mark.parametrize(
    ("denoiser", "changes", "said"),
    [
        ({**STORED, "tune_steps": 4}, {}, "has tune_steps = 4, and the artifact zoo:steep was made with 3"),
        ({**STORED, "artifact": "steep"}, {}, 'artifact is "steep"; expected "zoo:NAME"'),
        ({**STORED, "artifact": "zoo:steap"}, {}, 'did you mean "steep"'),
        ({**STORED, "name": "adadiff"}, {}, 'which is of the denoiser "early-exit"'),
        (STORED, {"trainings": 3}, '"steep-seed2" is unknown'),
        (STORED, {"networks": {"uvit-8": {"weights": "zoo:uvit-8-seed1"}}, "trainings": 1}, "made with network uvit-8"),
    ],
)
def test_what_does_not_fit_is_refused(denoiser: object, changes: dict[str, object], said: str, zoo: Path) -> None:
    with pytest.raises(UsageError) as caught:
        plan(denoiser, **changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["other", "gone", "card"])
def test_a_file_unlike_its_card_is_damage(what: str, zoo: Path) -> None:
    path = zoo / "steep" / "preparation.safetensors"
    if what == "other":
        path.write_bytes(b"other")
    elif what == "gone":
        path.unlink()
    else:
        (zoo / "steep" / "card.toml").write_text('name = "steep"\n')
    with pytest.raises(StoreDamagedError, match="from the repository"):
        load_preparation("zoo:steep")


def test_what_is_not_finished_or_prepares_nothing_is_not_kept(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prepares no denoiser here"):
        keep_preparations(plan(TUNED), "x", "denoiser", "c", tmp_path)
    with pytest.raises(UsageError, match="prepares no schedule here"):
        keep_preparations(plan(TUNED), "x", "schedule", "c", tmp_path)
