"""Which results an edited file throws away: those that its code decides, no others, and none for prose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plan_kit import plan, with_train

from harness import sources, taskbook

ROOT = Path(sources.__file__).parents[1]
TRIALS = [{"steps": 2}, {"steps": 2, "schedule": "gits"}]
KINDS = ("train", "prepare", "reference", "sample", "score", "time")


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    yield
    sources.forget()


def ids() -> dict[str, set[str]]:
    """Return the identities of a plan's tasks, by kind."""
    sources.forget()
    made = plan(trials=TRIALS, **with_train(steps=3))
    return {kind: {task.id for task in made.tasks.values() if task.kind == kind} for kind in KINDS}


def changed_by(file: str, monkeypatch: pytest.MonkeyPatch, text: str = "CHANGED = 1\n") -> set[str]:
    """Return the kinds of tasks of which one gets another identity when a file of ours ends in further text."""
    before, real = ids(), Path.read_text

    def edited(path: Path, *how: str, **more: str) -> str:
        return real(path, *how, **more) + (text if path == ROOT / file else "")

    monkeypatch.setattr(Path, "read_text", edited)
    after = ids()
    return {kind for kind in KINDS if before[kind] != after[kind]}


IMAGES = {"sample", "score", "time"}
EVERYTHING = {
    "harness/training/trainer.py": {"train", "prepare"} | IMAGES,  # prepared on, and sampled with, its weights
    "harness/training/batches.py": {"train", "prepare"} | IMAGES,
    "harness/sampling/sampler.py": {"prepare"} | IMAGES,
    "harness/sampling/noise.py": {"prepare"} | IMAGES,
    "harness/sampling/pixels.py": {"prepare"} | IMAGES,
    "harness/sampling/build.py": {"prepare"} | IMAGES,
    "harness/metrics/feature_networks.py": {"reference", "sample", "score"},
    "harness/metrics/small_cnn.py": {"reference", "sample", "score"},
    "harness/metrics/frechet.py": {"prepare", "reference"} | IMAGES,  # a search may score its candidates
    "harness/metrics/jackknife.py": {"prepare", "reference"} | IMAGES,
    "harness/metrics/quality.py": {"score"},
    "harness/timing_rules.py": {"time"},
    "harness/virtual.py": {"time"},
    "methods/solvers/ddim.py": IMAGES,
    "methods/networks/unet.py": {"train", "prepare"} | IMAGES,
    "methods/schedules/gits.py": {"prepare"} | IMAGES,
    "methods/denoisers/adadiff.py": set(),  # no trial of the plan uses it
}


@pytest.mark.parametrize("file", EVERYTHING)
def test_code_changes_the_results_that_it_decides(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EVERYTHING[file] <= set(KINDS)
    assert changed_by(file, monkeypatch) == EVERYTHING[file]


@pytest.mark.parametrize("file", EVERYTHING)
def test_prose_changes_none(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed_by(file, monkeypatch, '\n\n# why\n"""A sentence."""\nimport json\n') == set()


@pytest.mark.parametrize("folder", ["report", "cli", "storage", "pools", "zoo", "suites"])
def test_no_task_reaches_the_report_the_face_or_the_store(folder: str) -> None:
    reached = {path for modules in taskbook._CODE.values() for path in sources.closure(*modules).values()}
    assert len(reached) > 20
    assert not [path for path in reached if path.is_relative_to(ROOT / "harness" / folder)]
