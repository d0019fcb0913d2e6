"""Identities: equal for equal results, different for each thing that decides one; what a plan shares and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toys

from harness import planning, taskbook, trial
from harness.data.pixels import Split, load_split
from harness.errors import UsageError
from harness.planning import Plan, PlannedTrial, make_plan
from harness.suite import Suite, load_suite
from methods.parts import Method

ROOT = Path(__file__).resolve().parents[2]
SUITE: dict[str, Any] = {
    "name": "mine", "title": "t", "dataset": "gaussian", "network": "analytic", "extractor": "pixels", "n_images": 130,
    "batch": 10, "baseline": {"clock_steps": 2}, "trials": [{"steps": [2, 3]}],
}  # fmt: skip


def plan(device: str = "cpu:a chip", name: str = "a chip", only: str | None = None, **changes: Any) -> Plan:
    return make_plan(Suite.model_validate({**SUITE, **changes}), device, name, only)


def last(**changes: Any) -> PlannedTrial:
    return plan(**changes).trials[-1]


def with_train(**train: Any) -> dict[str, Any]:
    return {"dataset": "digits", "network": "unet-tiny", "networks": {"unet-tiny": {"train": train}}}


def ids(one: PlannedTrial) -> tuple[Any, ...]:
    return one.id, one.train, one.reference, one.shards, one.score, one.time


def test_two_processes_give_the_same_ids() -> None:
    code = (
        "from harness.planning import make_plan; from harness.suite import load_suite\n"
        "plan = make_plan(load_suite('known-answer'), 'cpu:a chip', 'a chip')\n"
        "print(*[p.id for p in plan.trials], *sorted(plan.tasks))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    here = make_plan(load_suite("known-answer"), "cpu:a chip", "a chip")
    assert done.stdout.split() == [*(p.id for p in here.trials), *sorted(here.tasks)]


@pytest.mark.parametrize(
    "change",
    [
        {"trials": [{"steps": [2, 4]}]},
        {"trials": [{"steps": 2}, {"steps": 3, "schedule": {"name": "edm", "rho": 6.0}}]},
        {"trials": [{"steps": 2}, {"steps": 3, "schedule": "logsnr"}]},
        {"trials": [{"steps": 2}, {"steps": 3, "solver": "heun"}]},
        {"seed_sets": [1]},
        {"batch": 20},
        {"precision": "float64"},
        {"dataset": "gaussian-mixture"},
        {"device": "cuda:a chip"},
    ],
    ids=str,
)
def test_whatever_decides_the_images_changes_every_id_of_the_trial(change: dict[str, Any]) -> None:
    before, after = last(), last(**change)
    assert before.id != after.id
    assert before.score != after.score
    assert before.time != after.time
    assert not set(before.shards) & set(after.shards)


def test_the_number_of_images_changes_the_score_but_not_the_shards_before_the_last() -> None:
    before, after = last(), last(n_images=150)
    assert before.id != after.id
    assert before.score != after.score
    assert before.shards[:2] == after.shards[:2]
    assert before.shards[2] != after.shards[2]


def test_the_device_changes_the_time_alone_when_its_class_is_the_same() -> None:
    before, after = last(), last(name="another chip")
    assert (before.shards, before.score) == (after.shards, after.score)
    assert before.time != after.time
    assert before.id != after.id


def test_the_tier_changes_the_time_alone() -> None:
    before, after = last(), last(timing={"tier": "smoke"})
    assert (before.shards, before.score) == (after.shards, after.score)
    assert before.time != after.time


def test_the_clock_changes_the_time_of_every_trial() -> None:
    before, after = last(), last(baseline={"clock_steps": 3})
    assert before.score == after.score
    assert before.time != after.time


def test_the_pixels_of_the_data_change_every_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = last()

    def other_pixels(card: Any, split: str) -> Split:
        found = load_split(card, split)
        return Split(found.images, found.labels, "0" * 64, found.variant, found.note)

    monkeypatch.setattr(planning, "load_split", other_pixels)
    after = last()
    assert not set(ids(before)) & set(ids(after)) - {None}


def test_the_source_of_a_method_changes_the_ids_of_the_trials_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [{"steps": 2}, {"steps": 2, "solver": "heun"}]
    before = plan(trials=trials).trials
    real = trial.source_sha256

    def edited(found: type[Method]) -> str:
        return "edited" if getattr(found, "name", "") == "heun" else real(found)

    monkeypatch.setattr(trial, "source_sha256", edited)
    after = plan(trials=trials).trials
    assert ids(before[0]) == ids(after[0])
    assert before[1].id != after[1].id
    assert before[1].score != after[1].score


def test_what_a_row_is_judged_by_changes_its_id_but_none_of_its_tasks() -> None:
    expected = {"dataset": "gaussian", "method": "ddim", "steps": 3, "column": "nfe", "value": 3.0, "source": "s"}
    before, judged = plan().trials, plan(expect=[expected]).trials
    assert before[0].id == judged[0].id
    assert before[1].id != judged[1].id
    assert ids(before[1])[1:] == ids(judged[1])[1:]
    assert last(baseline={"clock_steps": 2, "fid_band": [0.0, 1.0]}).id != before[1].id


@pytest.mark.parametrize(
    "change",
    [
        {"deadline_seconds": 5.0},
        {"workers": 3},
        {"title": "another"},
        {"trials": [{"steps": [2, 5]}, {"steps": 3}]},
        {"trials": [{"steps": 2}, {"steps": 3, "schedule": {"name": "edm", "rho": 7.0}}]},
    ],
    ids=str,
)
def test_what_decides_nothing_changes_no_id(change: dict[str, Any]) -> None:
    assert ids(last()) == ids(last(**change))


def test_the_order_of_entries_changes_no_id() -> None:
    forth = plan(trials=[{"steps": [2, 3]}, {"steps": 2, "solver": "heun"}])
    back = plan(trials=[{"solver": "heun", "steps": 2}, {"steps": [3, 2]}])
    assert {p.id for p in forth.trials} == {p.id for p in back.trials}
    assert set(forth.tasks) == set(back.tasks)


@pytest.mark.parametrize(
    ("change", "same"),
    [({"checkpoint_every": 7}, True), ({"steps": 41}, False), ({"seed": 1}, False), ({"lr": 1e-3}, False)],
    ids=str,
)
def test_training_decides_the_weights_and_so_every_id(change: dict[str, Any], same: bool) -> None:
    before, after = last(**with_train()), last(**with_train(**change))
    assert before.train is not None
    assert (ids(before) == ids(after)) is same
    assert (before.train == after.train) is same
    assert (before.shards == after.shards) is same
    assert before.reference == after.reference


def test_given_weights_stand_for_themselves(tmp_path: Path) -> None:
    def of(path: Path) -> PlannedTrial:
        return last(dataset="digits", network="unet-tiny", networks={"unet-tiny": {"weights": str(path)}})

    one, copy, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    assert ids(of(one)) == ids(of(copy))
    assert not set(ids(of(one))) & set(ids(of(other))) - {of(one).reference}
    with pytest.raises(UsageError, match="absent do not exist"):
        of(tmp_path / "absent")


def test_shards_are_cut_at_multiples_of_the_batch_and_cover_all_images() -> None:
    made = plan(n_images=133)
    spans = [(made.tasks[s].spec["start"], made.tasks[s].spec["stop"]) for s in made.trials[0].shards]
    assert spans == [(0, 50), (50, 100), (100, 133)]
    assert all(start % 10 == 0 for start, _ in spans)


def test_trials_and_suites_share_training_and_reference() -> None:
    changes = with_train()
    one = plan(**changes, trials=[{"steps": 2}, {"steps": 2, "solver": "heun"}])
    other = plan(**changes)
    assert len({p.train for p in (*one.trials, *other.trials)}) == 1
    assert len({p.reference for p in (*one.trials, *other.trials)}) == 1
    assert sum(task.kind == "train" for task in one.tasks.values()) == 1


def test_the_name_of_a_suite_changes_its_trials_but_none_of_its_tasks() -> None:
    one, other = plan(), make_plan(Suite.model_validate({**SUITE, "name": "other"}), "cpu:a chip", "a chip")
    assert set(one.tasks) == set(other.tasks)
    assert not {p.id for p in one.trials} & {p.id for p in other.trials}


def test_every_need_of_a_task_is_a_task() -> None:
    made = plan(**with_train())
    assert all(need in made.tasks for task in made.tasks.values() for need in task.needs)
    assert all(task.id == key for key, task in made.tasks.items())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("heun", ["heun 2"]),
        ("ddim", ["ddim 2", "ddim 3", "ddim@logsnr 2"]),
        ("ddim-3", ["ddim 3"]),
        ("*@logsnr", ["ddim@logsnr 2"]),
        ("logsnr", ["ddim@logsnr 2"]),
        ("analytic", ["ddim 2", "ddim 3", "heun 2", "ddim@logsnr 2"]),
    ],
)
def test_only_chooses_by_method_part_or_network_and_changes_no_id(pattern: str, expected: list[str]) -> None:
    trials = [{"steps": [2, 3]}, {"steps": 2, "solver": "heun"}, {"steps": 2, "schedule": "logsnr"}]
    chosen = plan(trials=trials, only=pattern)
    assert [f"{p.trial.method} {p.trial.steps}" for p in chosen.trials] == expected
    assert {p.id for p in chosen.trials} <= {p.id for p in plan(trials=trials).trials}


def test_only_that_matches_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="matches none of the 2 trials; methods here: ddim"):
        plan(only="nothing")


def test_a_row_finds_the_baseline_of_its_evaluations() -> None:
    trials = plan(trials=[{"steps": [2, 3, 4]}, {"steps": [2, 3], "solver": "heun"}]).trials
    by_name = {f"{p.trial.method} {p.trial.steps}": p for p in trials}
    assert by_name["heun 2"].baseline_trial_id == by_name["ddim 4"].id
    assert by_name["heun 3"].baseline_trial_id is None
    assert {p.clock_trial_id for p in trials} == {by_name["ddim 2"].id}
    assert [p.is_baseline for p in trials] == [True, True, True, False, False]


class Picky(toys.DDIM):
    name = "toy-picky"
    families = ("unet",)


class Refusing(toys.DDIM):
    name = "toy-refusing"

    def refusal(self, parts: Any, steps: int, network: Any) -> str | None:
        return None if steps >= 5 else f"{steps} steps are too few"


@pytest.fixture
def toy_methods() -> Iterator[None]:
    with toys.registered(Picky, Refusing, toys.Searched):
        yield


@pytest.mark.usefixtures("toy_methods")
def test_a_method_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(UsageError, match='solver "toy-picky" fits networks of family unet, not "analytic"'):
        plan(trials=[{"steps": 2}, {"steps": 2, "solver": "toy-picky"}])


@pytest.mark.usefixtures("toy_methods")
def test_a_combination_that_makes_no_sense_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match='"toy-refusing" cannot be combined this way: 3 steps are too few'):
        plan(trials=[{"steps": 2}, {"steps": [7, 3], "solver": "toy-refusing"}])


@pytest.mark.usefixtures("toy_methods")
def test_a_preparation_is_shared_by_what_it_does_not_depend_on() -> None:
    searched = {"schedule": "toy-searched", "solver": ["ddim", "heun"]}
    made = plan(trials=[{"steps": 2}, {**searched, "steps": [2, 3]}], seed_sets=[0, 1])
    prepared = {p.trial.steps: p.prepares for p in made.trials if p.prepares}
    assert len({p.prepares for p in made.trials if p.prepares}) == 2  # one a step count
    assert prepared[2] != prepared[3]
    double = plan(trials=[{"steps": 2}, {**searched, "steps": 2}], precision="float64")
    assert double.trials[-1].prepares != prepared[2]


DIGITS: dict[str, Any] = {
    "dataset": "digits", "network": "uvit-8", "baseline": {"clock_steps": 3}, "precision": "float32",
}  # fmt: skip


def test_what_only_samples_does_not_prepare_again() -> None:
    gates = [
        {"name": "adadiff", "theta": theta, "rule": rule}
        for theta in (0.1, 0.2)
        for rule in ("per-image", "mean-depth")
    ]
    exits = [{"name": "early-exit"}, {"name": "early-exit", "compiled": True}, {"name": "early-exit", "reverse": True}]
    made = plan(**DIGITS, trials=[{"steps": 3}, {"steps": 3, "denoiser": [*gates, *exits]}])
    prepared = [p.prepares for p in made.trials]
    assert prepared[0] == ()
    assert prepared[1] == prepared[3]
    assert prepared[2] != prepared[4]  # mean depths are those of one threshold
    for (mean_depths,) in (prepared[2], prepared[4]):
        assert made.tasks[mean_depths].spec["start"] == prepared[1][0]
        assert prepared[1][0] in made.tasks[mean_depths].needs
    assert prepared[5] == prepared[6] != prepared[7]


def test_mean_depths_are_taken_anew_for_every_way_of_sampling() -> None:
    static = {"name": "adadiff", "rule": "mean-depth"}
    ways = [{"steps": 3}, {"steps": 4}, {"steps": 3, "solver": "heun"}, {"steps": 3, "schedule": "logsnr"}]
    made = plan(**DIGITS, trials=[{"steps": 3}, *({**way, "denoiser": static} for way in ways)])
    prepared = [p.prepares[0] for p in made.trials[1:]]
    assert len(set(prepared)) == len(ways)
    assert len({made.tasks[task].spec["start"] for task in prepared}) == 1
    assert len({p.shards for p in made.trials}) == len(made.trials)


def test_a_network_that_slices_its_weights_is_not_trained_with_them_scattered() -> None:
    changed: dict[str, Any] = {**DIGITS, "network": "slim-8", "networks": {"slim-8": {"train": {"zero_stage": 3}}}}
    with pytest.raises(UsageError, match=r'network "slim-8" slices its weights, .* set zero_stage below 3'):
        plan(**changed, trials=[{"steps": 3}])


def test_a_network_like_another_is_that_one_with_its_changes() -> None:
    short = {"like": "uvit-8", "train": {"steps": 7}}
    changed = {**DIGITS, "networks": {"uvit-short": short}}
    made = plan(**changed, trials=[{"steps": 3}, {"steps": 3, "network": "uvit-short"}])
    own, variant = (p.trial.network for p in made.trials)
    assert variant == own.model_copy(update={"name": "uvit-short", "like": "uvit-8", "train": variant.train})
    assert own.train is not None
    assert variant.train == own.train.model_copy(update={"steps": 7})
    assert len({p.train for p in made.trials}) == 2
    with pytest.raises(UsageError, match=r'network "uvit-9" is unknown; did you mean'):
        plan(
            **{**changed, "networks": {"uvit-short": {**short, "like": "uvit-9"}}},
            trials=[{"steps": 3}, {"steps": 3, "network": "uvit-short"}],
        )


def test_a_control_names_the_trial_that_it_belongs_to() -> None:
    untuned = {"name": "early-exit", "tune_steps": 0}
    trials = [{"steps": [3, 4]}, {"steps": [3, 4], "denoiser": "early-exit"}]
    made = plan(**DIGITS, trials=[*trials, {"steps": 3, "denoiser": untuned, "control_of": "early-exit/ddim"}])
    *others, control = made.trials
    assert control.prepares == ()
    assert control.control_of_trial_id == next(p.id for p in others if p.trial.method == "early-exit/ddim")
    assert {p.control_of_trial_id for p in others} == {None}
    with pytest.raises(
        UsageError, match=r'a control of "early-exit/heun", which is no other .* did you mean "early-exit/ddim"'
    ):
        plan(**DIGITS, trials=[*trials, {"steps": 3, "denoiser": untuned, "control_of": "early-exit/heun"}])


def test_a_control_may_stand_on_another_network() -> None:
    trials = [{"steps": [3, 4]}, {"steps": [3, 4], "network": "cunet-8"}]
    claim = {"steps": 4, "network": "unet-8", "control_of": "ddim @ cunet-8"}
    made = plan(**DIGITS, trials=[*trials, claim])
    of = next(p for p in made.trials if p.id == made.trials[-1].control_of_trial_id)
    assert (of.trial.network.name, of.trial.steps) == ("cunet-8", 4)
    with pytest.raises(UsageError, match=r'a control of "ddim @ unet-9", which is no other trial .* that network'):
        plan(**DIGITS, trials=[*trials, {**claim, "control_of": "ddim @ unet-9"}])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"schedule": [4, 5]}, r"schedule \[4, 5\] holds \[4, 5\]; the network can run 0 to 3"),
        ({"schedule": "demo"}, 'schedule "demo" is written for 28 blocks; the network has 3'),
        ({"schedule": "stronger"}, "schedule"),
        ({"tune_lr": 0}, "tune_lr is 0; input should be greater than 0"),
    ],
)
def test_an_early_exit_that_the_network_cannot_make_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(**DIGITS, trials=[{"steps": 3}, {"steps": 3, "denoiser": {"name": "early-exit", **params}}])


@pytest.mark.parametrize(
    ("params", "said"), [({"theta": 1.5}, "theta is 1.5; .*less than or equal to 1"), ({"theta": -1}, "theta is -1")]
)
def test_a_threshold_outside_its_range_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(**DIGITS, trials=[{"steps": 3}, {"steps": 3, "denoiser": {"name": "adadiff", **params}}])


def test_a_network_without_training_and_weights_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "bare.toml"
    card.write_text('name = "bare"\ntitle = "t"\nfamily = "unet"\n[params]\nchannels = [8]\nsigma_data = 0.5\n')
    with pytest.raises(UsageError, match='"bare" has neither'):
        plan(dataset="digits", network=str(card))


def test_settings_of_training_that_decide_are_all_but_the_checkpoints() -> None:
    spec = plan(**with_train()).trials[0].trial.network.train
    assert spec is not None
    assert set(type(spec).model_fields) - set(taskbook.decisive(spec)) == {"checkpoint_every"}
