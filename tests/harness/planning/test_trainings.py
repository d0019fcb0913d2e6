"""Several trainings of a suite: rows, seeds, whom a row is compared with, and which of them is timed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import toys
from kit.plan_kit import ids, plan, with_train

from harness.config.zoo_card import load_zoo_card
from harness.errors import UsageError
from harness.planning.plan import Plan, PlannedTrial
from harness.planning.trainings import work_is_fixed
from harness.specs.prepare import PrepareSpec
from harness.specs.time import TimeSpec
from harness.specs.train import TrainSpec
from harness.specs.weights import WeightsSpec
from methods.executors.serial import Serial

ZOO: dict[str, Any] = {
    "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn", "n_images": 1200,
    "networks": {"unet-8": {"weights": "zoo:unet-8"}},
}  # fmt: skip


def zoo(*networks: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a suite whose networks are of the zoo, the first its own."""
    return {**ZOO, "network": networks[0], "networks": {n: {"weights": f"zoo:{n}"} for n in networks}, **changes}


def by_training(made: Plan) -> dict[tuple[str, int], PlannedTrial]:
    """Return the trials of a plan by printed name and training."""
    return {(p.trial.printed_name, p.trial.training): p for p in made.trials}


def prepared(made: Plan, one: PlannedTrial, part: str) -> PrepareSpec:
    """Return the spec of the preparation of a trial's part."""
    spec = made.tasks[one.trial.artifact_ids[part]].spec
    assert isinstance(spec, PrepareSpec)
    return spec


def test_every_trial_has_a_row_for_each_training_from_the_zoos_seeds() -> None:
    made = plan(**ZOO, trials=[{"steps": [2, 3]}], trainings=3)
    assert [(p.trial.printed_name, p.row.training) for p in made.trials] == [
        (f"unet-8:ddim-{steps}", k) for k in range(3) for steps in (2, 3)
    ]
    assert {p.row.network for p in made.trials} == {"unet-8"}
    for k, entry in enumerate(("unet-8", "unet-8-seed1", "unet-8-seed2")):
        one = by_training(made)["unet-8:ddim-2", k]
        weights = made.tasks[str(one.trial.weights_id)].spec
        assert isinstance(weights, WeightsSpec)
        assert weights.sha256 == load_zoo_card(entry).sha256
        assert one.row.weights == f"zoo:{entry}"
    assert len({p.id for p in made.trials}) == 6


def test_training_0_is_what_it_would_be_alone() -> None:
    trials = [{"steps": [2, 3]}, {"steps": 2, "schedule": "gits"}]
    alone, three = plan(**ZOO, trials=trials).trials, plan(**ZOO, trials=trials, trainings=3).trials
    assert [ids(p) for p in alone] == [ids(p) for p in three[:3]]
    assert {p.id for p in alone}.isdisjoint(p.id for p in three[3:])


def test_a_network_trained_here_takes_the_next_seeds() -> None:
    made = plan(**with_train(seed=7), trials=[{"steps": 2}], trainings=3)
    seeds = []
    for planned in made.trials:
        task = made.tasks[str(planned.trial.weights_id)]
        assert isinstance(task.spec, TrainSpec)
        seeds.append(task.spec.train.seed)
        assert task.label == f"train unet-tiny on digits (seed {seeds[-1]})"
    assert seeds == [7, 8, 9]
    assert {p.row.weights for p in made.trials} == {"trained"}


def test_an_exact_network_and_a_file_of_weights_have_one_training(tmp_path: Path) -> None:
    assert [p.row.training for p in plan(trainings=3).trials] == [0, 0]
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    given = {"unet-tiny": {"weights": str(tmp_path / "w.safetensors")}}
    settings = {**ZOO, "networks": {**ZOO["networks"], **given}}
    made = plan(**settings, trials=[{"steps": 2, "network": ["unet-8", "unet-tiny"]}], trainings=2)
    assert [p.trial.short for p in made.trials] == [
        "unet-8:ddim-2 training 0", "unet-tiny:ddim-2 training 0", "unet-8:ddim-2 training 1",
    ]  # fmt: skip


def test_a_network_may_have_fewer_trainings_than_its_suite() -> None:
    networks = {"unet-8": ZOO["networks"]["unet-8"], "slim-8": {"weights": "zoo:slim-8", "trainings": 2}}
    made = plan(**{**ZOO, "networks": networks}, trials=[{"steps": 2, "network": ["unet-8", "slim-8"]}], trainings=3)
    assert [(p.trial.network.name, p.row.training, p.trial.network.weights) for p in made.trials] == [
        ("unet-8", 0, "zoo:unet-8"), ("slim-8", 0, "zoo:slim-8"), ("unet-8", 1, "zoo:unet-8-seed1"),
        ("slim-8", 1, "zoo:slim-8-seed1"), ("unet-8", 2, "zoo:unet-8-seed2"),
    ]  # fmt: skip


def test_a_trial_may_run_in_fewer_trainings_than_its_suite() -> None:
    made = plan(**ZOO, trials=[{"steps": 2}, {"steps": 3, "trainings": 2, "control_of": "heun"}, HEUN], trainings=3)
    assert [p.trial.short for p in made.trials if p.trial.steps == 3 and p.trial.method == "ddim"] == [
        "unet-8:ddim-3 training 0", "unet-8:ddim-3 training 1",
    ]  # fmt: skip
    three = [p.row.relations for p in made.trials if "ddim-3" in p.trial.short]
    assert all(relations.control_of_trial_id for relations in three)


HEUN = {"steps": 3, "solver": "heun"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {**ZOO, "trainings": 4},
            'network "unet-8" has trainings = 4, but the zoo has no "unet-8-seed3"; expected '
            "networks.unet-8.trainings = 3, or train it: "
            "`oneclock train digits unet-8 --set train.seed=3 --into zoo`",
        ),
        (
            {**ZOO, "networks": {"unet-8": {"weights": "zoo:unet-8-seed1"}}, "trainings": 2},
            'network "unet-8" names the weights zoo:unet-8-seed1, which are one training; with trainings = 2 expected '
            "the name without its seed",
        ),
        ({**with_train(seed=399), "trainings": 3}, 'network "unet-tiny": training 2 has the seed 401'),
    ],
    ids=["absent", "one-seed", "large"],
)
def test_a_training_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        plan(**changes, trials=[{"steps": 2}])


def test_rows_are_compared_within_their_training() -> None:
    trials = [{"steps": [2, 4]}, {"steps": 2, "solver": "heun"}, {"steps": 2, "solver": "ipndm", "control_of": "heun"}]
    found = by_training(plan(**ZOO, trials=trials, trainings=3))
    clock = found["unet-8:ddim-2", 0]
    for k in range(3):
        heun, control = (found[f"unet-8:{method}-2", k].row.relations for method in ("heun", "ipndm"))
        assert heun.baseline_trial_id == found["unet-8:ddim-4", k].id
        assert found["unet-8:heun-2", k].row.baseline_score_id == found["unet-8:ddim-4", k].row.score_id
        assert control.control_of_trial_id == found["unet-8:heun-2", k].id
        assert found["unet-8:ddim-4", k].row.relations.is_baseline
        assert heun.clock_trial_id == clock.id
        assert found["unet-8:heun-2", k].row.clock_score_id == clock.row.score_id


def test_a_control_of_a_network_with_one_training_is_one_in_training_0_alone(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    settings = {**ZOO, "networks": {**ZOO["networks"], "unet-tiny": {"weights": str(tmp_path / "w.safetensors")}}}
    trials = [{"steps": 2, "control_of": "ddim @ unet-tiny"}, {"steps": 2, "network": "unet-tiny"}]
    found = by_training(plan(**settings, trials=trials, trainings=2))
    controls = [found["unet-8:ddim-2", k].row.relations.control_of_trial_id for k in range(2)]
    assert controls == [found["unet-tiny:ddim-2", 0].id, None]


@pytest.mark.parametrize("trainings", [1, 2])
@pytest.mark.parametrize("name", ["ddim", "ddim @ unet-8"])
def test_a_control_that_names_itself_is_refused_in_any_number_of_trainings(trainings: int, name: str) -> None:
    trials = [{"steps": 2, "solver": "ddim", "control_of": name}, {"steps": 2, "solver": "heun"}]
    with pytest.raises(UsageError, match=f'is a control of "{name}", which is no other trial on the same data'):
        plan(**ZOO, trials=trials, trainings=trainings)


DDSM = {"name": "ddsm", "population": 10, "generations": 2, "search_images": 80}


def test_preparations_take_other_seeds_under_the_same_name_and_parameters() -> None:
    trials = [
        {"steps": 2},
        {"steps": 2, "label": "searched", "denoiser": {**DDSM, "seed": 5}},
        {"steps": 2, "schedule": "gits"},
    ]
    made = plan(**zoo("slim-8"), trials=trials, trainings=3)
    found = by_training(made)
    for k in range(3):
        searched, levels = found["slim-8:searched-2", k], found["slim-8:ddim@gits-2", k]
        spec = prepared(made, searched, "denoiser")
        assert (spec.seed, spec.params()["seed"]) == (k, 5 + k)
        assert spec.jobs is not None
        assert (spec.jobs.seed, spec.jobs.params()["seed"]) == (k, 5 + k)
        assert searched.row.sampler.denoiser.params["seed"] == 5
        assert prepared(made, levels, "schedule").seed == k
    assert len({p.trial.params_json() for p in made.trials}) == 3
    assert len({p.trial.artifact_ids["denoiser"] for p in made.trials if p.trial.artifact_ids.get("denoiser")}) == 3


# which is timed


def timed_at(made: Plan, one: PlannedTrial) -> str | None:
    """Return the id of the weights with which a row's times are taken."""
    spec = made.tasks[one.row.time_id].spec
    assert isinstance(spec, TimeSpec)
    return spec.sampler.model.weights_id


FIXED: list[tuple[str, dict[str, Any]]] = [
    ("unet-8", {"solver": "heun"}),
    ("unet-8", {"schedule": "few-step", "denoiser": "few-step"}),
    ("unet-8", {"schedule": ["gits", "dmn", "ays", {"name": "few-step", "rounds": 2}], "denoiser": "few-step"}),
    ("uvit-8", {"denoiser": {"name": "early-exit", "schedule": "steep"}}),
    ("uvit-8", {"denoiser": {"name": "early-exit", "reverse": True}}),
    ("slim-8", {"denoiser": {"name": "ddsm", "widths": [0.5]}}),
    ("slim-8", {"denoiser": {"name": "ddsm", "widths": [0.5]}, "schedule": "gits"}),
    ("cunet-8", {"denoiser": {"name": "missing-u", "ode_solver": "midpoint"}}),
]
FREE: list[tuple[str, dict[str, Any]]] = [
    ("uvit-8", {"denoiser": "adadiff"}),
    ("uvit-8", {"denoiser": {"name": "adadiff", "rule": "mean-depth"}}),
    ("uvit-8", {"denoiser": {"name": "early-exit", "schedule": "steep"}, "schedule": "gits"}),  # depths go by the level
    ("slim-8", {"denoiser": DDSM}),
    ("cunet-8", {"denoiser": {"name": "missing-u", "ode_solver": "dopri5", "tolerance": 1e-3}}),
    ("unet-8", {"executor": ["srds", "paradigms"]}),
]


@pytest.mark.parametrize(
    ("network", "entry", "fixed"), [(*c, True) for c in FIXED] + [(*c, False) for c in FREE], ids=str
)
def test_time_is_taken_once_where_no_work_depends_on_the_weights(
    network: str, entry: dict[str, Any], fixed: bool
) -> None:
    made = plan(**zoo(network), trials=[{"steps": 2}, {"steps": 4, **entry}], trainings=2)
    found = by_training(made)
    for planned in made.trials:
        first = found[planned.trial.printed_name, 0]
        once = fixed or planned.trial.steps == 2
        assert work_is_fixed(planned.trial) is once
        assert timed_at(made, first) == first.trial.weights_id
        assert timed_at(made, planned) == (first if once else planned).trial.weights_id
        assert planned.row.relations.timed_trial_id == (first if once else planned).id
        if planned.trial.training:
            assert planned.row.timed_sample_ids == (first.row.sample_ids if once else ())
            assert set(planned.row.timed_sample_ids) <= set(planned.needs)
        else:
            assert planned.row.timed_sample_ids == ()


def test_a_plan_of_one_training_names_each_trial_as_the_timed_one() -> None:
    assert all(p.row.relations.timed_trial_id == p.id for p in plan().trials)


class Lazy(toys.Full):
    """A plug-in that prepares and says nothing of its work."""

    name = "toy-lazy"
    prepares = True


class Overlapping(Serial):
    """A plug-in that is parallel and says nothing of its work."""

    name = "toy-overlapping"
    parallel = True


@pytest.fixture
def lazy() -> Iterator[None]:
    with toys.registered(Lazy, Overlapping):
        yield


@pytest.mark.usefixtures("lazy")
@pytest.mark.parametrize("entry", [{"denoiser": "toy-lazy"}, {"executor": "toy-overlapping"}], ids=str)
def test_a_plug_in_that_prepares_or_is_parallel_is_timed_anew(entry: dict[str, Any]) -> None:
    made = plan(**ZOO, trials=[{"steps": 2}, {"steps": 3, **entry}], trainings=2)
    assert made.trials[-1].trial.training == 1
    assert made.trials[-1].row.relations.timed_trial_id == made.trials[-1].id


# what a FID is compared with


def test_the_limit_is_that_of_the_networks_own_training() -> None:
    made = by_training(plan(**ZOO, trials=[{"steps": 2}], trainings=3))
    for k, entry in enumerate(("unet-8", "unet-8-seed1", "unet-8-seed2")):
        judged, limit = load_zoo_card(entry).judged, made["unet-8:ddim-2", k].row.network_limit
        assert limit is not None
        assert (limit.fid, limit.low, limit.high) == (judged.limit_fid, judged.limit_fid_low, judged.limit_fid_high)


@pytest.mark.parametrize(
    "change",
    [{"n_images": 1199}, {"extractor": "pixels"}, {"networks": {}}, {"dataset": "digits", "network": "unet-tiny"}],
    ids=str,
)
def test_a_limit_that_does_not_compare_is_left_out(change: dict[str, Any]) -> None:
    settings = {**ZOO, **change}
    if settings["network"] == "unet-tiny":
        settings["networks"] = {}
    assert plan(**settings, trials=[{"steps": 2}]).trials[0].row.network_limit is None


def test_targets_go_to_the_rows_of_their_data_set() -> None:
    quality = {"targets": {"gaussian": [3.0, 1.5]}, "equivalence_margin": 0.5}
    made = plan(dataset=["gaussian", "gaussian-mixture"], quality=quality, trials=[{"steps": 2}])
    assert [p.row.fid_targets for p in made.trials] == [(3.0, 1.5), ()]
    assert [p.row.equivalence_margin for p in made.trials] == [0.5, 0.5]
    plain = plan(dataset=["gaussian", "gaussian-mixture"], trials=[{"steps": 2}])
    assert [p.row.equivalence_margin for p in plain.trials] == [None, None]
    assert plain.trials[0].row.time_id == made.trials[0].row.time_id
    with pytest.raises(UsageError, match=r'has targets for the data set "gausian", which .* did you mean "gaussian"'):
        plan(quality={"targets": {"gausian": [3.0, 1.5]}})
