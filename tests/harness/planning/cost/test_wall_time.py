"""The wall time of a plan: closed forms from made-up rates, and nothing is billed that is given or finished."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kit.plan_kit import plan, with_train

from harness.planning.cost import flops_guess
from harness.planning.cost.duration_words import describe_range, describe_seconds
from harness.planning.cost.wall_time import WallTime, estimate_wall_time
from harness.planning.cost.work import network_key, preparation_evaluations, round_work, task_work
from harness.planning.plan import Plan
from harness.specs.rules.timing import TIERS
from harness.specs.time import TimeSpec
from harness.storage.blobs import Blobs
from harness.storage.journal import Journal
from harness.storage.run_rates import RATES_FILE, add_run_rates
from harness.task import Task

TIER = TIERS["quick"]
FIXED = {"start": 4.0, "report": 0.5, "loop": 1.0, "blocks quick": 1.0, "rest quick": 0.25}
SAMPLE, SCORE, REFERENCE, ROUND = 0.01, 0.001, 0.0001, 0.2
"""Seconds of an evaluation of an image, of a scored image, of a reference image, and of a step in a round."""
ONE_WORKER = 1


def make_rates(made: Plan, **others: float) -> dict[str, float]:
    """Return a rate under the most special key of every task."""
    found = dict(FIXED)
    per_unit = {"sample": SAMPLE, "score": SCORE, "reference": REFERENCE, **others}
    for task in made.tasks.values():
        if isinstance(task.spec, TimeSpec):
            found[round_work(task.spec).keys[0]] = ROUND
        elif task.kind in per_unit:
            found[task_work(task, made.tasks).keys[0]] = per_unit[task.kind]
    return found


def estimate(
    made: Plan, results: Path, finished: tuple[str, ...] = (), workers: int = ONE_WORKER, **options: Any
) -> WallTime:
    return estimate_wall_time(made, finished, results, workers, **options)


def keep(results: Path, made: Plan, rates: Mapping[str, float]) -> None:
    results.mkdir(exist_ok=True)
    add_run_rates(results, made.device_class, rates)


def one_task(made: Plan, kind: str) -> Task:
    (task,) = (task for task in made.tasks.values() if task.kind == kind)
    return task


def timing_seconds(evaluations: int) -> float:
    """Return what a timing takes: rounds or the least seconds, a warm-up, and the rest; the clock has 2 steps."""
    one = ROUND * (evaluations + 2)
    return max(TIER.seconds, TIER.rounds * one) + TIER.warm_up_calls * one + 0.25


def test_one_worker_takes_the_sum_of_all_work(tmp_path: Path) -> None:
    made = plan()  # trials of 2 and 3 steps, 130 images, a reference of 16,384
    keep(tmp_path, made, make_rates(made))
    found = estimate(made, tmp_path)
    tasks = SAMPLE * 130 * (2 + 3) + 2 * SCORE * 130 + REFERENCE * 16384 + timing_seconds(2) + timing_seconds(3)
    assert found.seconds == pytest.approx(4.0 + tasks + 2 * 0.5)
    assert found.low < found.seconds < found.high
    assert found.basis == "the rates of 1 earlier run on such a device"


def test_two_workers_share_all_but_timings_and_the_longest_chain(tmp_path: Path) -> None:
    made = plan()
    keep(tmp_path, made, make_rates(made))
    shared = SAMPLE * 130 * (2 + 3) + 2 * SCORE * 130 + REFERENCE * 16384
    alone = timing_seconds(2) + timing_seconds(3)
    unit = SAMPLE * 3 * max(task.cut.size for task in made.tasks.values() if task.cut is not None)
    chain = max(unit, REFERENCE * 16384) + SCORE * 130  # a score reads images and reference
    for workers in (2, 50):
        expected = max(shared / workers, chain) + alone + 5.0
        assert estimate(made, tmp_path, workers=workers).seconds == pytest.approx(expected)
    assert estimate(made, tmp_path, workers=50, hosts=10).seconds == pytest.approx(chain + alone / 10 + 5.0)


def test_finished_trials_cost_nothing(tmp_path: Path) -> None:
    made = plan()
    keep(tmp_path, made, make_rates(made))
    first, second = made.trials
    rest = estimate(made, tmp_path, finished=(first.id,))
    assert rest.trials.keys() == {second.id}
    assert rest.trials[second.id] == pytest.approx(SAMPLE * 130 * 3 + SCORE * 130 + timing_seconds(3))
    assert estimate(made, tmp_path, finished=(first.id, second.id)).seconds == 0.0


def test_another_step_count_is_told_from_those_that_ran(tmp_path: Path) -> None:
    """Made-up rates under the keys of a method, not of its steps."""
    made = plan()
    general = {
        task_work(task, made.tasks).keys[1] if task.kind == "sample" else key: value
        for task in made.tasks.values()
        for key, value in make_rates(made).items()
        if task.kind == "sample" or not key.startswith("sample ")
    }
    keep(tmp_path, made, {key: SAMPLE if key.startswith("sample ") else value for key, value in general.items()})
    whole = tmp_path / "whole"
    keep(whole, made, make_rates(made))
    near, exact = estimate(made, tmp_path), estimate(made, whole)
    assert near.seconds == pytest.approx(exact.seconds)
    assert near.high > exact.high


def test_runs_that_differ_widen_the_range(tmp_path: Path) -> None:
    made = plan()
    steady, odd = tmp_path / "steady", tmp_path / "odd"
    rates = make_rates(made)
    for folder, factor in ((steady, 1.0), (odd, 3.0)):
        keep(folder, made, {key: value * factor for key, value in rates.items()})
        keep(folder, made, rates)
    wide, narrow = estimate(made, odd), estimate(made, steady)
    assert wide.high / wide.low > 1.5 * narrow.high / narrow.low


def test_a_busy_machine_is_slower_and_less_certain(tmp_path: Path) -> None:
    made = plan()
    keep(tmp_path, made, make_rates(made))
    idle, busy = estimate(made, tmp_path), estimate(made, tmp_path, slowdown=2.0)
    assert busy.seconds == pytest.approx(2.0 * idle.seconds)
    assert busy.low == idle.low
    assert busy.high > 2.0 * idle.high


# what is given or kept


def test_a_training_is_billed_until_its_weights_are_kept(tmp_path: Path) -> None:
    made = plan(**with_train(steps=10, batch=4))
    task = one_task(made, "train")
    keep(tmp_path, made, {**make_rates(made, train=3.0), "weights": 0.5})
    before = estimate(made, tmp_path)
    assert before.trainings == {"unet-tiny": pytest.approx(3.0 * 40)}
    Blobs(tmp_path / "zoo").put(task.id, {}, {"loss": 1.0})
    after = estimate(made, tmp_path)
    assert after.trainings == {}
    assert before.seconds - after.seconds == pytest.approx(120.0)


def test_a_training_that_was_stopped_costs_what_is_left(tmp_path: Path) -> None:
    made = plan(**with_train(steps=10, batch=4))
    keep(tmp_path, made, make_rates(made, train=3.0))
    Blobs(tmp_path / "zoo").put_latest(f"{one_task(made, 'train').id[:48]}-partial", {}, {"step": 7})
    assert estimate(made, tmp_path).trainings == {"unet-tiny": pytest.approx(0.3 * 120)}


def test_an_artifact_that_is_cut_off_counts_as_absent(tmp_path: Path) -> None:
    made = plan(**with_train(steps=10, batch=4))
    keep(tmp_path, made, make_rates(made, train=3.0))
    Blobs(tmp_path / "zoo").put(one_task(made, "train").id, {}, {"loss": 1.0})
    (path,) = (tmp_path / "zoo").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert estimate(made, tmp_path).trainings == {"unet-tiny": pytest.approx(120.0)}
    assert path.is_file()  # a plan moves nothing


def test_weights_of_the_zoo_train_nothing(tmp_path: Path) -> None:
    made = plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}}, extractor="pixels")
    assert estimate(made, tmp_path).trainings == {}
    assert not [task for task in made.tasks.values() if task.kind == "train"]


def test_units_that_an_interrupted_run_kept_cost_nothing(tmp_path: Path) -> None:
    made = plan(n_images=4000)
    keep(tmp_path, made, make_rates(made))
    before = estimate(made, tmp_path)
    task = next(task for task in made.tasks.values() if task.kind == "sample")
    assert task.unit_count > 2
    journal = Journal(tmp_path / "mine" / "tasks")
    span = task.unit(1).span
    assert span is not None
    journal.append(task.id, f"{span.start}-{span.stop}", {}, {"features": _array()}, ("features",))
    journal.sync()
    saved = SAMPLE * (span.stop - span.start) * 2
    assert before.seconds - estimate(made, tmp_path).seconds == pytest.approx(saved)

    # without its features it has to be made again, as the score still reads them
    journal.drop_arrays(task.id, ("features",))
    journal.sync()
    assert estimate(made, tmp_path).seconds == pytest.approx(before.seconds)


def _array() -> Any:
    import numpy as np

    return np.zeros((2, 2), np.float32)


# without rates


def test_without_rates_it_is_a_guess_from_flops_and_says_so(tmp_path: Path) -> None:
    made = plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}}, extractor="pixels")
    found = estimate(made, tmp_path)
    assert found.is_guess
    assert found.basis == (
        "counted FLOPs at an assumed 40 GFLOP/s a core: a guess, as no run on such a device has left rates here"
    )
    assert found.high > 4 * found.low


def test_a_guess_is_flops_over_the_assumed_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}}, extractor="pixels")
    keep(tmp_path, made, FIXED | {f"flops {network_key(made.trials[0].trial.model)}": 8e9, "flop": 1e-10})
    found = estimate(made, tmp_path)
    sampling = 130 * 2 * 0.8 + 130 * 2 / 10 * flops_guess.SPEEDS["cpu"].call_seconds
    one = 4 * 11 * 0.8 + 2 * 4 * flops_guess.SPEEDS["cpu"].call_seconds
    timing = TIER.rounds * one + TIER.warm_up_calls * one + 0.25
    assert found.trials[made.trials[0].id] == pytest.approx(sampling + 0.2 + timing)


def test_flops_of_a_network_of_the_zoo_are_those_that_its_training_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops_guess, "build_network", _fail)
    made = plan(dataset="digits", network="unet-8", networks={"unet-8": {"weights": "zoo:unet-8"}}, extractor="pixels")
    trial = made.trials[0].trial
    key = network_key(trial.model)
    assert flops_guess.EvaluationFlops({}, {key: trial.network}).of(trial.model) == pytest.approx(6_332_416, rel=0.01)


def test_flops_of_another_network_are_counted_without_memory() -> None:
    trial = plan(**with_train(steps=10)).trials[0].trial
    flops = flops_guess.EvaluationFlops({}, {}).of(trial.model)
    assert flops == _count_really(trial)


def _count_really(trial: Any) -> float:
    import torch

    from harness.measure.flops import count_flops
    from harness.sampling.network import build_network

    shape = trial.dataset.shape()
    x = torch.zeros(1, shape.channels, shape.resolution, shape.resolution)
    return float(count_flops(build_network(trial.network, shape).eval(), x, torch.ones(1)))


def test_a_network_that_cannot_be_counted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flops_guess, "build_network", _fail)
    found = estimate(plan(**with_train(steps=10)), tmp_path)
    assert found.basis.endswith("; without unet-tiny, whose FLOPs are not known")
    assert found.trainings == {"unet-tiny": 0.0}


def _fail(*_: object, **__: object) -> None:
    raise AssertionError("a network is built")


def test_a_timed_evaluation_replaces_the_guess(tmp_path: Path) -> None:
    made = plan(**with_train(steps=10, batch=4))
    keep(tmp_path, made, FIXED)
    found = estimate(made, tmp_path, measured={network_key(made.trials[0].trial.model): 0.5})
    assert found.trainings == {"unet-tiny": pytest.approx(3 * 40 * 0.5)}
    assert "evaluations timed just now" in found.basis


def test_a_broken_file_of_rates_is_ignored_and_named(tmp_path: Path) -> None:
    (tmp_path / RATES_FILE).write_text("{")
    found = estimate(plan(), tmp_path)
    assert "cannot be read" in found.problem
    assert found.seconds > 0


def test_a_preparation_is_guessed_from_what_its_parameters_count() -> None:
    assert preparation_evaluations({"tune_steps": 10, "tune_batch": 4, "tune_lr": 0.1}, steps=5) == 3 * 40
    assert preparation_evaluations({"search_images": 100, "population": 4, "generations": 3}, steps=5) == 6000
    assert preparation_evaluations({"images": 7, "flag": True}, steps=5) == 35


# in words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"), (40.4, "40 s"), (99, "99 s"), (100, "2 min"), (360, "6 min"), (5400, "90 min"),
        (6000, "1.7 h"), (40 * 3600, "40 h"), (12 * 86400, "12 days"), (4 * 31536000, "4.0 years"),
    ],
)  # fmt: skip
def test_durations_have_two_digits_or_so(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == words


@pytest.mark.parametrize(
    ("ends", "words"),
    [((240, 540, 360), "4 to 9"), ((40, 300, 150), "40 s to 5 min"), ((3000, 9000, 5400), "50 min to 2.5 h")],
)
def test_a_range_has_the_unit_of_its_middle_or_its_own(ends: tuple[float, float, float], words: str) -> None:
    assert describe_range(*ends) == words


def test_the_sentence_says_where() -> None:
    found = WallTime(seconds=360.0, low=240.0, high=540.0, basis="")
    assert found.sentence() == "about 6 min here (4 to 9)"
    assert found.sentence("on 8 GPUs") == "about 6 min on 8 GPUs (4 to 9)"
    assert not math.isnan(found.seconds)
