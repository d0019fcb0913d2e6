"""A run of several trainings: what is trained, what is timed, and what its rows say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from kit import toys
from kit.toy_runs import Run
from torch import Tensor

from methods.denoisers.full import Full
from methods.networks.base import Network, NetworkParams
from methods.parts import Artifact, BuiltDenoiser, Method, PrepareContext, Units

SUITE = """
name = "toy"
title = "Two trainings of a network"
dataset = "digits"
network = "unet-tiny"
extractor = "pixels"
n_images = 70
batch = 10
trainings = 2
[baseline]
clock_steps = 2
[timing]
tier = "smoke"
[quality]
targets = {{ digits = [9.0, 3.0] }}
[networks.unet-tiny.train]
steps = 3
[[trials]]
steps = 2
{trials}
"""


class Luck(Full):
    """Says that its work is fixed, and evaluates the network as often as the seed of its preparation says."""

    name = "toy-luck"
    prepares = True

    def fixed_work(self, parts: Mapping[str, Method], network: NetworkParams) -> bool:
        return True

    def prepare(self, context: PrepareContext) -> Artifact:
        return Artifact(facts={"calls": 1 + context.seed, "noise": float(context.noise(0).sum())})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert artifact is not None
        return _Repeats(network, artifact.facts["calls"])


class _Repeats(BuiltDenoiser):
    def __init__(self, network: Network, calls: int) -> None:
        self.network, self.calls = network, calls

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        for _ in range(self.calls):
            out = self.network(x, sigma)
        return out, {"network": self.calls}

    def units(self) -> Mapping[str, Network]:
        return {"network": self.network}


def suite(folder: Path, trials: str = "") -> str:
    path = folder / "toy.toml"
    path.write_text(SUITE.format(trials=trials))
    return str(path)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("two")
    return Run(suite(folder, toys.trial(steps=2, solver="heun")), folder / "results")


def test_each_training_is_trained_sampled_and_scored_and_one_is_timed(two: Run) -> None:
    kinds = {kind: count for kind, count in two.kinds.items() if kind != "sample"}
    assert kinds == {"reference": 1, "score": 4, "time": 2, "train": 2}
    assert two.tables.all_valid
    first, second = (two.row("heun", training=k) for k in range(2))
    assert first["images_sha256"] != second["images_sha256"]
    assert first["fid"] != second["fid"]
    assert [first["fid_targets"], second["fid_targets"]] == ["[9.0,3.0]"] * 2


def test_a_row_names_the_trial_that_was_timed_which_alone_has_the_repetitions(two: Run) -> None:
    first, second = (two.row("heun", training=k) for k in range(2))
    assert first["timed_trial_id"] == second["timed_trial_id"] == first["trial_id"]
    assert second["latency_seconds"] == first["latency_seconds"]
    assert len(two.of("timings", first)) > 0
    assert two.of("timings", second).empty
    assert len(two.of("steps", second)) == 2


def test_a_second_run_finds_nothing_to_do(two: Run, tmp_path: Path) -> None:
    again = Run(suite(tmp_path, toys.trial(steps=2, solver="heun")), two.tables.folder.parent)
    assert again.kinds == {}
    assert again.tables.trials["trial_id"].nunique() == 4


def test_only_finds_all_trainings_of_a_printed_name_or_one(tmp_path: Path) -> None:
    path = suite(tmp_path, toys.trial(steps=2, solver="heun"))
    run = Run(path, tmp_path / "results", only="unet-tiny:heun-2 training 1")
    assert [*run.tables.trials["training"]] == [1]
    assert run.tables.all_valid
    both = Run(path, tmp_path / "results", only="unet-tiny:heun-2")
    assert sorted(both.tables.trials["training"]) == [0, 1]


def test_a_part_whose_work_is_not_as_fixed_as_it_says_is_found_out(tmp_path: Path) -> None:
    with toys.registered(Luck):
        run = Run(suite(tmp_path, toys.trial(steps=2, denoiser="toy-luck")), tmp_path / "results")
    assert run.row("toy-luck/ddim", training=0)["verdict"] == "VALID"
    lucky = run.row("toy-luck/ddim", training=1)
    assert lucky["verdict"] == "INVALID"
    assert lucky["reasons"].startswith("timed-work-differs: an image takes ")
