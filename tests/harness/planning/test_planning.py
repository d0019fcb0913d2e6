"""Identities: equal for equal results, different for each thing that decides one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit.plan_kit import SUITE, ids, last, plan, reference, with_train

from harness import identity
from harness.config.suite import Suite, load_suite
from harness.data.splits import Split, load_split
from harness.errors import UsageError
from harness.planning import plan as planning
from harness.planning.plan import Plan, PlannedTrial, make_plan
from harness.planning.task_graph import unit_images
from harness.task import Span

ROOT = Path(__file__).resolve().parents[3]


def test_two_processes_give_the_same_ids() -> None:
    code = (
        "from harness.planning.plan import make_plan; from harness.config.suite import load_suite\n"
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
    assert before.row.score_id != after.row.score_id
    assert before.row.time_id != after.row.time_id
    assert not set(before.row.sample_ids) & set(after.row.sample_ids)


def unit_keys(made: Plan, planned: PlannedTrial) -> list[str]:
    """Return the names of the units that make a trial's images."""
    return [unit.key for task_id in planned.row.sample_ids for unit in made.tasks[task_id].units()]


def test_the_number_of_images_changes_the_score_but_not_the_units_before_the_last() -> None:
    before, after = plan(), plan(n_images=150)
    (one, other) = (made.trials[-1] for made in (before, after))
    assert one.id != other.id
    assert one.row.score_id != other.row.score_id
    mine, theirs = unit_keys(before, one), unit_keys(after, other)
    assert (len(mine), len(theirs)) == (4, 4)  # of 40 images each
    assert mine[:3] == theirs[:3]
    assert mine[3] != theirs[3]


def test_the_device_changes_the_time_alone_when_its_class_is_the_same() -> None:
    before, after = last(), last(name="another chip")
    assert (before.row.sample_ids, before.row.score_id) == (after.row.sample_ids, after.row.score_id)
    assert before.row.time_id != after.row.time_id
    assert before.id != after.id


def test_the_tier_changes_the_time_alone() -> None:
    before, after = last(), last(timing={"tier": "smoke"})
    assert (before.row.sample_ids, before.row.score_id) == (after.row.sample_ids, after.row.score_id)
    assert before.row.time_id != after.row.time_id


def test_the_clock_changes_the_time_of_every_trial() -> None:
    before, after = last(), last(baseline={"clock_steps": 3})
    assert before.row.score_id == after.row.score_id
    assert before.row.time_id != after.row.time_id


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
    real = identity.code_sha256

    def edited(*modules: str) -> str:
        return real(*modules) + ("edited" if "methods.solvers.heun" in modules else "")

    monkeypatch.setattr(identity, "code_sha256", edited)
    after = plan(trials=trials).trials
    assert ids(before[0]) == ids(after[0])
    assert before[1].id != after[1].id
    assert before[1].row.score_id != after[1].row.score_id


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
    assert before.trial.weights_id is not None
    assert (ids(before) == ids(after)) is same
    assert (before.trial.weights_id == after.trial.weights_id) is same
    assert (before.row.sample_ids == after.row.sample_ids) is same
    assert reference(plan(**with_train())) == reference(plan(**with_train(**change)))


def test_given_weights_stand_for_themselves(tmp_path: Path) -> None:
    def of(path: Path) -> PlannedTrial:
        return last(dataset="digits", network="unet-tiny", networks={"unet-tiny": {"weights": str(path)}})

    one, copy, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    one.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    assert ids(of(one)) == ids(of(copy))
    assert not set(ids(of(one))) & set(ids(of(other)))
    with pytest.raises(UsageError, match="absent do not exist"):
        of(tmp_path / "absent")


def test_units_are_cut_at_multiples_of_the_batch_and_cover_all_images() -> None:
    made = plan(n_images=133)
    (task,) = (made.tasks[task_id] for task_id in made.trials[0].row.sample_ids)
    assert [unit.span for unit in task.units()] == [Span(0, 50), Span(50, 100), Span(100, 133)]


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({}, 50),
        ({"steps": 3}, 40),
        ({"steps": 500}, 10),
        ({"solver": "heun"}, 30),
        ({"solver": "heun", "steps": 9}, 10),
    ],
    ids=str,
)
def test_a_unit_makes_as_many_batches_as_reach_a_count_of_evaluations(changes: dict[str, Any], images: int) -> None:
    made = plan(trials=[{"steps": 2}, {"schedule": "cosine", "steps": 2, **changes}])
    assert unit_images(made.trials[1].trial) == images


def test_trials_and_suites_share_training_and_reference() -> None:
    changes = with_train()
    one = plan(**changes, trials=[{"steps": 2}, {"steps": 2, "solver": "heun"}])
    other = plan(**changes)
    assert len({p.trial.weights_id for p in (*one.trials, *other.trials)}) == 1
    assert reference(one) == reference(other)
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
        ("analytic:ddim-2", ["ddim 2"]),
        ("analytic:ddim", ["ddim 2", "ddim 3"]),
        ("analytic:heu?", ["heun 2"]),
        ("analytic:ddim@*", ["ddim@logsnr 2"]),
    ],
)
def test_only_chooses_by_method_part_or_network_and_changes_no_id(pattern: str, expected: list[str]) -> None:
    trials = [{"steps": [2, 3]}, {"steps": 2, "solver": "heun"}, {"steps": 2, "schedule": "logsnr"}]
    chosen = plan(trials=trials, only=pattern)
    assert [f"{p.trial.method} {p.trial.steps}" for p in chosen.trials] == expected
    assert {p.id for p in chosen.trials} <= {p.id for p in plan(trials=trials).trials}


def test_only_takes_a_printed_name_literally_before_it_is_a_pattern() -> None:
    shapes = [{"name": "early-exit", "schedule": depths, "tune_steps": 0} for depths in ([1, 3], [3, 1], [3])]
    trials = [{"steps": 2}, {"steps": 2, "denoiser": shapes}, {"steps": 2, "label": "1-heun", "solver": "heun"}]
    made = plan(dataset="digits", network="uvit-8", trials=trials)
    for planned in made.trials:
        name = planned.trial.printed_name
        for only in (name, name.removeprefix("uvit-8:")):
            (found,) = plan(dataset="digits", network="uvit-8", trials=trials, only=only).trials
            assert found.id == planned.id, only
    assert sum("[" in p.trial.printed_name for p in made.trials) == 3


def test_only_takes_the_name_of_a_line_literally_before_it_is_a_pattern() -> None:
    shapes = [{"name": "early-exit", "schedule": depths, "tune_steps": 0} for depths in ([1, 3], [3, 1])]
    trials = [{"steps": 2}, {"steps": [2, 3], "denoiser": shapes}]
    settings: dict[str, Any] = {"dataset": "digits", "network": "uvit-8", "trials": trials}
    methods = [p.trial.method for p in plan(**settings).trials]
    for method in set(methods):
        chosen = plan(**settings, only=f"uvit-8:{method}").trials
        assert [p.trial.method for p in chosen] == [method] * methods.count(method)
    assert sum("[" in method for method in methods) == 4


def test_messages_say_what_tells_the_trials_of_a_suite_apart() -> None:
    def shorts(**changes: Any) -> list[str]:
        return [p.trial.short for p in plan(trials=[{"steps": 2}], **changes).trials]

    zoo = {"dataset": "digits", "network": "unet-8", "networks": {"unet-8": {"weights": "zoo:unet-8"}}}
    assert shorts() == ["analytic:ddim-2"]
    assert shorts(dataset=["gaussian", "gaussian-mixture"], seed_sets=[0, 3]) == [
        "gaussian analytic:ddim-2", "gaussian analytic:ddim-2 seeds 3",
        "gaussian-mixture analytic:ddim-2", "gaussian-mixture analytic:ddim-2 seeds 3",
    ]  # fmt: skip
    assert shorts(**zoo, trainings=2) == ["unet-8:ddim-2 training 0", "unet-8:ddim-2 training 1"]


def test_printed_names_of_a_data_set_are_unique(tmp_path: Path) -> None:
    twin = {"label": "ddim", "solver": "heun", "steps": 3}
    with pytest.raises(UsageError, match='calls several combinations of parts "ddim"; give each a label'):
        plan(trials=[{"steps": 2}, twin])
    card = tmp_path / "unet-tiny.toml"
    shipped = Path(__file__).parents[3] / "methods" / "networks" / "cards" / "unet-tiny.toml"
    card.write_text(shipped.read_text().replace("lr = ", "lr = 1"))
    with pytest.raises(UsageError, match='uses several networks called "unet-tiny"; expected a name for each'):
        plan(dataset="digits", network="unet-tiny", trials=[{"steps": 2}, {"steps": 2, "network": str(card)}])


def test_only_that_matches_nothing_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="matches none of the 2 trials; known: analytic:ddim-2, analytic:ddim-3, ddim"):
        plan(only="nothing")


@pytest.mark.parametrize("only", ["ddim@logsnr", "analytic:ddim@logsnr-2", "ddim@logsnr(rho=5)", "logsnr"])
def test_only_that_names_a_part_of_no_trial_is_told_so(only: str) -> None:
    with pytest.raises(UsageError, match='the schedule "logsnr" exists but stands in no trial, so add it to the suite'):
        plan(only=only)


def test_only_that_names_parts_of_other_trials_is_told_the_nearest_name() -> None:
    with pytest.raises(UsageError, match='matches none of the 2 trials; did you mean "analytic:ddim-3"'):
        plan(only="analytic:ddim-7")


def test_a_row_finds_the_baseline_of_its_evaluations() -> None:
    trials = plan(trials=[{"steps": [2, 3, 4]}, {"steps": [2, 3], "solver": "heun"}]).trials
    by_name = {f"{p.trial.method} {p.trial.steps}": p for p in trials}
    assert by_name["heun 2"].row.relations.baseline_trial_id == by_name["ddim 4"].id
    assert by_name["heun 3"].row.relations.baseline_trial_id is None
    assert {p.row.relations.clock_trial_id for p in trials} == {by_name["ddim 2"].id}
    assert [p.row.relations.is_baseline for p in trials] == [True, True, True, False, False]
