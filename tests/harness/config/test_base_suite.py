"""A suite made of another: its trials are the base's, with other step counts and parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.base_suite import Changes, changed_control
from harness.config.suite import load_suite
from harness.errors import UsageError
from harness.planning.baseline import as_list, as_part

HEAD = 'name = "small"\nbase = "{base}"\ntitle = "small"\nn_images = 7\n'


def derived(folder: Path, text: str = "", base: str = "cifar10") -> str:
    """Write a suite with a base; return its path."""
    path = folder / "small.toml"
    path.write_text(HEAD.format(base=base) + text)
    return str(path)


def refusal(folder: Path, text: str = "", base: str = "cifar10") -> str:
    with pytest.raises(UsageError) as caught:
        load_suite(derived(folder, text, base))
    return str(caught.value)


def test_its_own_keys_lie_over_those_of_the_base(tmp_path: Path) -> None:
    base = load_suite("cifar10")
    small = load_suite(derived(tmp_path, "[timing]\nbatch = 3\n[networks.cunet-32]\nparams = { norm_groups = 4 }\n"))
    assert (small.name, small.n_images, small.dataset) == ("small", 7, base.dataset)
    assert (small.timing.tier, small.timing.batch) == (base.timing.tier, 3)
    assert small.networks["cunet-32"]["like"] == "cunet-64"
    assert small.networks["cunet-32"]["params"] == {"attention_levels": [2], "norm_groups": 4}
    assert small.trials == base.trials


def test_changes_are_of_stated_step_counts_and_parameters_alone(tmp_path: Path) -> None:
    text = "[changes]\nsteps = { 10 = 3 }\ndenoiser = { adadiff = { tune_steps = 2 } }\n"
    base, small = load_suite("cifar10"), load_suite(derived(tmp_path, text))
    assert len(small.trials) == len(base.trials)
    assert small.baseline.clock_steps == 3
    for one, other in zip(small.trials, base.trials, strict=True):
        steps = [3 if n == 10 else n for n in ([other.steps] if isinstance(other.steps, int) else other.steps)]
        assert ([one.steps] if isinstance(one.steps, int) else one.steps) == steps
        tuned = getattr(one.denoiser, "name", "") == "adadiff"
        assert (one.denoiser == other.denoiser) is not tuned
        if tuned:
            assert one.denoiser.params == {**other.denoiser.params, "tune_steps": 2}  # type: ignore[union-attr]


def test_settings_change_what_came_of_the_base(tmp_path: Path) -> None:
    suite = load_suite(derived(tmp_path, "[changes]\nsteps = { 10 = 3 }\n"), ["baseline.clock_steps=5"])
    assert suite.baseline.clock_steps == 5


@pytest.mark.parametrize(
    ("text", "base", "words"),
    [
        ("", "nothing", "base is 'nothing'; expected the name of a suite that ships"),
        ("", "cifar10-smoke", 'base is "cifar10-smoke", which has a base itself; expected "cifar10"'),
        ("[changes]\nstep = { 10 = 3 }\n", "cifar10", 'unknown key "step"'),
        ("[changes]\nsteps = { 11 = 3 }\n", "cifar10", 'changes.steps has "11", and its base has no such step count'),
        ("[changes.denoiser]\nadadiff = { tune_step = 2 }\n", "cifar10", 'adadiff has "tune_step", which its base'),
        ("[changes.solver]\nddim = { eta = 1.0 }\n", "cifar10", 'changes.solver.ddim has "eta"'),
        ("trials = []\n", "cifar10", "trials"),
    ],
)
def test_a_base_or_a_change_that_means_nothing_is_refused(tmp_path: Path, text: str, base: str, words: str) -> None:
    assert words in refusal(tmp_path, text, base)


def test_the_smoke_suite_has_every_trial_of_cifar10_but_for_sizes() -> None:
    """Each entry is there, in place, with as many combinations; no two step counts fall into one."""
    base, smoke = load_suite("cifar10"), load_suite("cifar10-smoke")
    assert len(smoke.trials) == len(base.trials)
    for one, other in zip(smoke.trials, base.trials, strict=True):
        assert (one.label, one.network, one.executor) == (other.label, other.network, other.executor)
        assert [part.name for part in map(as_part, as_list(one.solver))] == [
            part.name for part in map(as_part, as_list(other.solver))
        ]
        ours, theirs = ([steps] if isinstance(steps, int) else steps for steps in (one.steps, other.steps))
        assert len(set(ours)) == len(theirs)


def test_a_control_of_other_steps_follows_the_steps_of_what_it_controls() -> None:
    """METHOD-50 is METHOD-12 where 50 steps become 12, unless METHOD-50 is a label."""
    base = {
        "trials": [
            {"label": "cached", "steps": 50},
            {"label": "tuned-50", "steps": 50},
            {"steps": 20, "control_of": ["cached-50", "tuned-50", "other", "cached-20"]},
        ]
    }
    changes = Changes(steps={"50": 12})
    labels = {"cached", "tuned-50"}
    found = [changed_control(entry, changes, labels) for entry in base["trials"]]
    assert found[2]["control_of"] == ["cached-12", "tuned-50", "other", "cached-20"]
    assert found[:2] == base["trials"][:2]
    assert changed_control({"control_of": "cached-50"}, changes, labels) == {"control_of": "cached-12"}
