"""Which results an edited file throws away: those that its code decides, no others, and none for prose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from kit.plan_kit import plan, with_train

from harness import sources

ROOT = Path(sources.__file__).parents[1]
TRIALS = [{"steps": 2}, {"steps": 2, "schedule": "gits"}, {"steps": 2, "denoiser": "ddsm", "network": "slim-8"}]
KINDS = ("train", "prepare", "scored", "reference", "reference-solution", "sample", "score", "fidelity", "time", "row")


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    yield
    sources.clear_caches()


def ids() -> dict[str, set[str]]:
    """Return the identities of a plan's tasks and rows, by kind; preparations that measure FID are "scored"."""
    sources.clear_caches()
    made = plan(trials=TRIALS, truncation={"images": 10}, **with_train(steps=3))
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for task in made.tasks.values():
        kind = "scored" if task.spec.entry.endswith("prepare_scored") else task.kind
        if kind in found:
            found[kind].add(task.id)
    found["row"] = set(made.listed_ids)
    assert all(found.values())
    return found


@cache
def ids_as_they_are() -> dict[str, set[str]]:
    return ids()


def changed_by(files: Iterable[str], monkeypatch: pytest.MonkeyPatch, text: str) -> set[str]:
    """Return the kinds of tasks of which one gets another identity when files of ours end in further text."""
    before, real, paths = ids_as_they_are(), Path.read_text, {ROOT / file for file in files}

    def edited(path: Path, *how: str, **more: str) -> str:
        return real(path, *how, **more) + (text if path in paths else "")

    monkeypatch.setattr(Path, "read_text", edited)
    after = ids()
    return {kind for kind in KINDS if before[kind] != after[kind]}


ROW = {"row"}
IMAGES = {"sample", "score", "fidelity", "time"} | ROW
PREPARED = {"prepare", "scored"} | IMAGES
SAMPLERS = PREPARED | {"reference-solution"}
WEIGHTS = SAMPLERS | {"train"}
FEATURES = {"reference", "scored"} | IMAGES
CHANGES = {
    "harness/training/trainer.py": WEIGHTS,  # prepared on, and sampled with, its weights
    "harness/training/batches.py": WEIGHTS,
    "harness/training/schedules.py": WEIGHTS,
    "harness/measure/flops.py": WEIGHTS,
    "harness/sampling/sampler.py": SAMPLERS,
    "harness/sampling/evaluator.py": SAMPLERS,
    "harness/sampling/network_clock.py": SAMPLERS,
    "harness/sampling/deployed.py": SAMPLERS,
    "harness/sampling/device_levels.py": SAMPLERS,
    "harness/sampling/classes.py": WEIGHTS,
    "harness/sampling/conditions.py": WEIGHTS,
    "harness/sampling/noise.py": SAMPLERS,
    "harness/sampling/pixels.py": WEIGHTS | FEATURES,
    "harness/sampling/numerics.py": set(KINDS),
    "harness/sampling/build.py": SAMPLERS,
    "harness/sampling/network.py": WEIGHTS,
    "harness/tasks/prepare.py": PREPARED,
    "harness/tasks/prepare_scored.py": {"scored"} | IMAGES,
    "harness/tasks/sample.py": {"sample", "score", "fidelity"} | ROW,
    "harness/tasks/fidelity.py": {"fidelity"} | ROW,
    "harness/metrics/fidelity.py": {"fidelity"} | ROW,
    "harness/metrics/image_pairs.py": {"fidelity"} | ROW,
    "harness/tasks/reference_solution.py": {"reference-solution", "sample"} | ROW,
    "harness/measure/serial_distance.py": {"sample", "score", "fidelity"} | ROW,
    "harness/metrics/feature_networks.py": FEATURES,
    "harness/metrics/small_cnn.py": FEATURES,
    "harness/metrics/frechet.py": FEATURES,
    "harness/stats.py": FEATURES,
    "harness/metrics/quality.py": {"score"} | ROW,
    "harness/metrics/truncation.py": ROW,
    "harness/rows/row.py": ROW,
    "harness/rows/work.py": ROW,
    "harness/rows/rules.py": ROW,
    "harness/rows/expected.py": ROW,
    "harness/specs/rules/audits.py": IMAGES,
    "harness/specs/rules/bounds.py": ROW,
    "harness/tasks/probe.py": IMAGES | {"time"},
    "harness/tasks/timed_audit.py": {"time"} | ROW,
    "harness/metrics/authenticity.py": FEATURES,
    "harness/measure/warm_up.py": {"time"} | ROW,
    "harness/specs/rules/timing.py": {"time"} | ROW,
    "harness/specs/rules/quality.py": FEATURES,
    "harness/specs/rules/counting.py": PREPARED,
    "harness/specs/limits.py": set(),
    "harness/measure/call_times.py": {"time"} | ROW,
    "harness/measure/device.py": {"time"} | ROW,
    "harness/measure/device_names.py": set(),  # its names are in the identity
    "harness/measure/arm_names.py": set(),
    "harness/measure/disturbance.py": {"time"} | ROW,
    "harness/rows/times.py": ROW,
    "methods/solvers/ddim.py": {"scored"} | IMAGES,  # the search samples with it
    "methods/networks/unet.py": WEIGHTS,
    "methods/executors/serial.py": SAMPLERS,
    "methods/schedules/gits.py": ({"prepare"} | IMAGES) - {"fidelity"},  # its trial is without acceleration
    "methods/denoisers/ddsm.py": {"scored"} | IMAGES,
    "methods/denoisers/adadiff.py": set(),  # no trial of the plan uses it
    "harness/schema/metrics.py": set(),
    "harness/metrics/fid.py": {"score"} | ROW,
    "harness/specs/sampler.py": set(),  # its values are in the identity
    "harness/report/leaderboard.py": set(),
    "harness/cli/app.py": set(),
    "harness/pools/worker.py": set(),
    "harness/driver/loop.py": set(),
}


@pytest.mark.parametrize("file", CHANGES)
def test_code_changes_the_results_that_it_decides(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHANGES[file] <= set(KINDS)
    assert changed_by([file], monkeypatch, "CHANGED = 1\n") == CHANGES[file]


def test_prose_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = [
        str(path.relative_to(ROOT)) for path in (*ROOT.glob("harness/**/*.py"), *ROOT.glob("methods/**/*.py"))
    ]
    assert set(CHANGES) <= set(everywhere)
    assert changed_by(everywhere, monkeypatch, '\n\n# why\n"""A sentence."""\nimport json\n') == set()


@pytest.mark.parametrize("folder", ["report", "cli", "storage", "pools", "zoo", "planning", "suites", "data"])
def test_no_task_reaches_the_report_the_face_or_the_store(folder: str) -> None:
    assert (ROOT / "harness" / folder).is_dir()
    made = plan(trials=TRIALS, truncation={"images": 10}, **with_train(steps=3))
    specs = [*(task.spec for task in made.tasks.values()), *(planned.row for planned in made.trials)]
    reached = {path for spec in specs for path in sources.import_closure(*spec.modules()).values()}
    assert len(reached) > 20
    assert not [path for path in reached if path.is_relative_to(ROOT / "harness" / folder)]


@pytest.mark.parametrize(
    ("file", "same"), [("harness/tasks/weights.py", True), ("harness/sampling/weights_file.py", False)]
)
def test_given_weights_are_known_by_how_they_are_read(file: str, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights() -> str | None:
        sources.clear_caches()
        return plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}}).trials[0].id

    before, real = weights(), Path.read_text

    def edited(path: Path, *how: str, **more: str) -> str:
        return real(path, *how, **more) + ("CHANGED = 1\n" if path == ROOT / file else "")

    monkeypatch.setattr(Path, "read_text", edited)
    assert (weights() == before) is same
