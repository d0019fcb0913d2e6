"""What a plan shares between methods, networks and controls, and which combinations it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import toys
from kit.plan_kit import plan, with_train

from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.specs.base import deciding_fields
from harness.specs.prepare import PrepareSpec

ROOT = Path(__file__).resolve().parents[3]


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


def spec_of(made: Plan, task_id: str) -> PrepareSpec:
    """Return what is told to a preparation of a plan."""
    spec = made.tasks[task_id].spec
    assert isinstance(spec, PrepareSpec)
    return spec


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
    prepared = {p.trial.steps: p.trial.sampler.artifact_ids() for p in made.trials if p.trial.sampler.artifact_ids()}
    assert (
        len({p.trial.sampler.artifact_ids() for p in made.trials if p.trial.sampler.artifact_ids()}) == 2
    )  # one a step count
    assert prepared[2] != prepared[3]
    double = plan(trials=[{"steps": 2}, {**searched, "steps": 2}], precision="float64")
    assert double.trials[-1].trial.sampler.artifact_ids() != prepared[2]


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
    trials = [{"steps": 3}, {"steps": 3, "denoiser": [*gates, *exits]}]
    made = plan(**DIGITS, trials=trials, timing={"mode": "deployed"})  # which compiled needs
    prepared = [p.trial.sampler.artifact_ids() for p in made.trials]
    assert prepared[0] == ()
    assert prepared[1] == prepared[3]
    assert prepared[2] != prepared[4]  # mean depths are those of one threshold
    for (mean_depths,) in (prepared[2], prepared[4]):
        assert spec_of(made, mean_depths).start_id == prepared[1][0]
        assert prepared[1][0] in made.tasks[mean_depths].needs
    assert prepared[5] == prepared[6] != prepared[7]


def test_mean_depths_are_taken_anew_for_every_way_of_sampling() -> None:
    static = {"name": "adadiff", "rule": "mean-depth"}
    ways = [{"steps": 3}, {"steps": 4}, {"steps": 3, "solver": "heun"}, {"steps": 3, "schedule": "logsnr"}]
    made = plan(**DIGITS, trials=[{"steps": 3}, *({**way, "denoiser": static} for way in ways)])
    prepared = [p.trial.sampler.artifact_ids()[0] for p in made.trials[1:]]
    assert len(set(prepared)) == len(ways)
    assert len({spec_of(made, task).start_id for task in prepared}) == 1
    assert len({p.row.sample_ids for p in made.trials}) == len(made.trials)


def test_exits_in_reversed_order_are_those_of_one_trial() -> None:
    control = {"name": "early-exit", "reverse": True}
    ways = [{"steps": 3}, {"steps": 4}, {"steps": 3, "solver": "heun"}, {"steps": 3, "schedule": "logsnr"}]
    made = plan(**DIGITS, trials=[{"steps": 3}, *({**way, "denoiser": control} for way in ways)])
    assert len({p.trial.sampler.artifact_ids()[0] for p in made.trials[1:]}) == len(ways)
    untuned = plan(**DIGITS, trials=[{"steps": 3}, {"steps": 3, "denoiser": {**control, "tune_steps": 0}}])
    assert len(untuned.trials[1].trial.sampler.artifact_ids()) == 1


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
    assert len({p.trial.weights_id for p in made.trials}) == 2
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
    assert control.trial.sampler.artifact_ids() == ()
    assert control.row.relations.control_of_trial_id == next(
        p.id for p in others if p.trial.method == "early-exit/ddim"
    )
    assert {p.row.relations.control_of_trial_id for p in others} == {None}
    with pytest.raises(
        UsageError, match=r'a control of "early-exit/heun", which is no other .* did you mean "early-exit/ddim"'
    ):
        plan(**DIGITS, trials=[*trials, {"steps": 3, "denoiser": untuned, "control_of": "early-exit/heun"}])


def test_a_control_may_serve_several_claims() -> None:
    claims = [{"steps": [3, 4]}, {"steps": [3, 4], "denoiser": ["early-exit", "adadiff"]}]
    tuned: dict[str, Any] = {"steps": [3, 4], "denoiser": {"name": "early-exit", "schedule": "full"}}
    names = ["early-exit/ddim", "adadiff/ddim"]
    made = plan(**DIGITS, trials=[*claims, {**tuned, "control_of": names}])
    for control in made.trials[-2:]:
        ids = {p.trial.method: p.id for p in made.trials if p.trial.steps == control.trial.steps}
        assert control.row.relations.control_of_trial_id == " ".join(ids[name] for name in names)
    alone = plan(**DIGITS, trials=[*claims, {**tuned, "control_of": names[:1]}]).trials[-1]
    assert alone.id != made.trials[-1].id  # the identity says whose control it is
    assert alone.id == plan(**DIGITS, trials=[*claims, {**tuned, "control_of": names[0]}]).trials[-1].id
    with pytest.raises(UsageError, match=r'a control of "adadif/ddim", .* did you mean "adadiff/ddim"'):
        plan(**DIGITS, trials=[*claims, {**tuned, "control_of": [names[0], "adadif/ddim"]}])
    with pytest.raises(UsageError, match='a control of "early-exit/ddim" twice; remove one of them'):
        plan(**DIGITS, trials=[*claims, {**tuned, "control_of": [names[0], names[0]]}])


def test_a_control_may_stand_on_another_network() -> None:
    trials = [{"steps": [3, 4]}, {"steps": [3, 4], "network": "cunet-8"}]
    claim = {"steps": 4, "network": "unet-8", "control_of": "ddim @ cunet-8"}
    made = plan(**DIGITS, trials=[*trials, claim])
    of = next(p for p in made.trials if p.id == made.trials[-1].row.relations.control_of_trial_id)
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
    assert set(type(spec).model_fields) - set(deciding_fields(spec)) == {"checkpoint_every"}
