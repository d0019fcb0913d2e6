"""Suites of published networks: planned without pictures or weights, and each missing file is named with its home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from harness.config.network_card import load_network_card
from harness.config.suite import load_suite
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.planning.network_checks import check_networks
from harness.planning.plan import Plan, make_plan
from harness.planning.unread_pictures import NOT_READ
from harness.sampling.network import build_network

MISSING = {
    "celeba64": [
        "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases; put it there, or set",
        "set ONECLOCK_DATA to the folder that holds celeba/.*img_align_celeba.zip",
    ],
    "imagenet64": [
        "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases; put it there, or set",
        "found no file VIRTUAL_imagenet64_labeled.npz.*ADM's evaluations.*set reference.statistics to its path",
        "imagenet64_uvit_mid/imagenet64_uvit_mid.safetensors do not exist.*networks.uvit-m-4.weights to its path",
    ],
    "imagenet256-latent": [
        "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases; put it there, or set",
        "found no file VIRTUAL_imagenet256_labeled.npz.*ADM's evaluations.*set reference.statistics to its path",
        "weights imported/dit-xl-2-256x256/dit-xl-2-256x256.safetensors do not exist",
        "imported/sd-vae/sd-vae.toml does not exist.*set decoder.weights to its path",
    ],
    "lsun-church256": [
        "weights-inception-2015-12-05-6726825d.pth from torch-fidelity's releases; put it there, or set",
        "set ONECLOCK_DATA to the folder that holds lsun-church/.*church_outdoor_train_lmdb",
        "weights imported/ddpm-ema-church-256/ddpm-ema-church-256.safetensors do not exist",
    ],
}
RECIPES = {
    "celeba64": ("celeba-128", "celeba", 64, 0, 162_770),
    "imagenet256-latent": ("adm", "imagenet", 256, 1000, 1_281_167),
    "imagenet64-adm": ("adm", "imagenet", 64, 1000, 1_281_167),
    "imagenet64-edm": ("edm", "imagenet", 64, 1000, 1_281_167),
    "lsun-church256": ("short-bilinear", "lsun-church", 256, 0, 126_227),
}


@pytest.fixture(autouse=True)
def _nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def plan_of(name: str, *settings: str, may_be_absent: bool = True) -> Plan:
    suite = load_suite(name, list(settings))
    return make_plan(suite, "cpu:a chip", "a chip", data_may_be_absent=may_be_absent)


@pytest.mark.parametrize("name", MISSING)
def test_a_plan_needs_no_file_and_says_what_a_run_will_need(name: str) -> None:
    made = plan_of(name)
    assert made.trials
    check_networks(made)
    assert len(made.absent) == len(MISSING[name])
    for expected in MISSING[name]:
        assert any(re.search(expected, one) for one in made.absent), expected


@pytest.mark.parametrize("name", MISSING)
def test_a_run_is_refused_for_the_first_of_them(name: str) -> None:
    with pytest.raises(UsageError, match="no such file; expected weights-inception"):
        plan_of(name, may_be_absent=False)


@pytest.mark.parametrize("name", RECIPES)
def test_cards_have_the_recipes_of_the_papers(name: str) -> None:
    card = load_card(name)
    recipe, folder, side, labels, n = RECIPES[name]
    found = card.arguments.model_dump()
    assert (found["resize"], found["folder"], card.resolution) == (recipe, folder, side)
    assert (card.labels, card.splits["train"].n, card.reference) == (labels, n, "train")
    assert card.obtain


@pytest.mark.parametrize("name", ["imagenet64", "imagenet256-latent"])
def test_imagenet_reads_no_picture(name: str) -> None:
    made = plan_of(name)
    assert {one.trial.data.pixels for one in made.trials} == {NOT_READ}
    assert not [task for task in made.tasks.values() if task.spec.images() is not None]


def test_classes_that_are_counted_read_the_training_pictures() -> None:
    made = plan_of("imagenet64", "classes=frequency")
    assert {(one.trial.data.pixels, one.trial.data.training_pixels) for one in made.trials} == {(NOT_READ, "absent")}
    assert any("ONECLOCK_DATA to the folder that holds imagenet/" in one for one in made.absent)


def test_the_two_imagenets_are_two_data_sets() -> None:
    one, other = plan_of("imagenet64"), plan_of("imagenet64", "dataset=imagenet64-edm")
    assert not set(one.listed_ids) & set(other.listed_ids)
    assert {trial.trial.dataset.name for trial in other.trials} == {"imagenet64-edm"}


def test_latents_have_the_published_shape_and_scale() -> None:
    made = plan_of("imagenet256-latent")
    data = made.trials[0].trial.data
    assert data.state_shape == (4, 32, 32)
    assert data.latent is not None
    assert data.latent.scaling_factor == 0.18215


def test_the_network_of_church_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = build_network(load_network_card("ddpm-church-256"), load_card("lsun-church256").shape())
    assert sum(one.numel() for one in network.parameters()) == 113_673_219
    assert len(network.state_dict()) == 450
