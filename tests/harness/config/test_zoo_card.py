"""The zoo's format: what is written is read back, every damage is exit 4, every mistake of the asker exit 2."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.faulty import measure
from kit.plan_kit import SUITE
from kit.zoo_kit import own_zoo, training
from safetensors.torch import save

from harness.cli.listing import list_lines
from harness.config.network_card import NetworkCard, load_network_card
from harness.config.suite import Suite
from harness.config.zoo_card import (
    LARGEST_WEIGHTS_BYTES,
    ZooCard,
    load_zoo_card,
    weights_path,
    write_zoo_entry,
    zoo_entry_name,
    zoo_names,
)
from harness.data.cards import load_card
from harness.errors import StoreDamagedError, UsageError
from harness.planning.plan import make_plan
from harness.pools.worker import Worker
from harness.sampling.network import build_network
from harness.sampling.weights_file import read_state_dict
from harness.specs.base import Price
from harness.specs.weights import WeightsSpec
from harness.task import Result
from harness.zoo.recipes import TrainingRecipe, list_trainings, load_recipes
from methods.networks.base import DataShape

ASKS: dict[str, Any] = {
    **SUITE,
    "dataset": "digits",
    "network": "unet-tiny",
    "networks": {"unet-tiny": {"weights": "zoo:unet-tiny"}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ZooCard, bytes]:
    """The card and the weights of one short training."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        own_zoo(patch, folder / "zoo")
        card = training(folder / "work").run()
        assert card is not None
        return card, weights_path(card.name).read_bytes()


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: tuple[ZooCard, bytes]) -> Path:
    """A zoo that holds it."""
    folder = own_zoo(monkeypatch, tmp_path / "zoo")
    monkeypatch.setattr("harness.config.stored_preparation._FOLDER", tmp_path / "preparations")
    write_zoo_entry(*trained)
    return folder


def plan(**changes: Any) -> Any:
    return make_plan(Suite.model_validate({**ASKS, **changes}), "cpu:a chip", "a chip")


def test_what_is_written_is_read_back(zoo: Path, trained: tuple[ZooCard, bytes]) -> None:
    assert load_zoo_card("unet-tiny") == trained[0]
    assert (zoo / "unet-tiny" / "card.toml").read_text().startswith("# Written by `oneclock train digits unet-tiny")


def test_an_unknown_name_is_the_askers_mistake(zoo: Path) -> None:
    with pytest.raises(UsageError, match=r'zoo network "unet-tinny" is unknown; did you mean "unet-tiny"\?'):
        plan(networks={"unet-tiny": {"weights": "zoo:unet-tinny"}})
    with pytest.raises(UsageError, match="is unknown"):
        load_zoo_card("../unet-tiny")


@pytest.mark.parametrize("damage", ["flipped", "short", "gone"])
def test_weights_unlike_their_card_are_damage(damage: str, zoo: Path) -> None:
    path = weights_path("unet-tiny")
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "short" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(
        StoreDamagedError, match=r"weights\.safetensors: found .*; its card expects .*, restore the file"
    ):
        plan()


@pytest.mark.parametrize("text", ["", "name = 3", "not toml"])
def test_a_broken_card_is_damage(text: str, zoo: Path) -> None:
    (zoo / "unet-tiny" / "card.toml").write_text(text)
    with pytest.raises(StoreDamagedError, match="restore the file from the repository"):
        plan()


def test_another_architecture_is_refused_by_its_first_difference(zoo: Path) -> None:
    changed = {"unet-tiny": {"weights": "zoo:unet-tiny", "params": {"norm_groups": 2}}}
    with pytest.raises(UsageError, match="whose network has norm_groups = 4 instead of 2; expected the same"):
        plan(networks=changed)


def test_other_data_are_refused(zoo: Path) -> None:
    with pytest.raises(UsageError, match=r'"gaussian" names the weights zoo:unet-tiny, which were trained on "digits"'):
        plan(dataset="gaussian")


def test_other_pixels_of_the_same_name_are_refused(zoo: Path, trained: tuple[ZooCard, bytes]) -> None:
    card, weights = trained
    write_zoo_entry(card.model_copy(update={"data": card.data.model_copy(update={"pixels": "0" * 64})}), weights)
    with pytest.raises(UsageError, match=r"\(original, pixels 000000000000\); expected the same pixels"):
        plan()


def test_the_hash_enters_the_identity_and_the_training_settings_do_not(
    zoo: Path, trained: tuple[ZooCard, bytes]
) -> None:
    first = plan().trials[0]
    budget = {"unet-tiny": {"weights": "zoo:unet-tiny", "train": {"steps": 99}}}
    assert plan(networks=budget).trials[0].id == first.id
    other = save({"x": torch.zeros(1)})
    write_zoo_entry(trained[0].model_copy(update={"sha256": hashlib.sha256(other).hexdigest()}), other)
    assert plan().trials[0].id != first.id


def test_nothing_is_trained_and_the_price_is_the_cards(zoo: Path, tmp_path: Path) -> None:
    assert {task.kind for task in plan().tasks.values()} == {"weights", "reference", "sample", "score", "time"}
    suite = Suite.model_validate({**ASKS, "n_images": 66, "timing": {"tier": "smoke"}})
    rows = measure(suite, tmp_path / "results")
    card = load_zoo_card("unet-tiny")
    for row in rows.values():
        assert row["weights"] == "zoo:unet-tiny"
        assert row["weights_sha256"] == card.sha256
        assert row["prepare_seconds"] == card.training.seconds
        assert row["prepare_flops"] == card.training.flops


def test_half_precision_is_widened_when_read() -> None:
    card = load_network_card("unet-tiny")
    data = DataShape(1, 8)
    torch.manual_seed(0)
    state = build_network(card, data).state_dict()
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {name: value.to(dtype) for name, value in state.items()}
        spec = weights_spec(save(rounded), card)
        result = [*Worker().run(spec, {spec.path: np.frombuffer(save(rounded), np.uint8)})][-1]
        assert isinstance(result, Result)
        for name, value in result.tensors.items():
            assert value.dtype == np.float32
            assert torch.equal(torch.from_numpy(value), rounded[name].float())


def weights_spec(data: bytes, card: NetworkCard) -> WeightsSpec:
    """Return what is told to the task that checks a weights file of these bytes."""
    return WeightsSpec(
        path="w.safetensors",
        sha256=hashlib.sha256(data).hexdigest(),
        price=Price(),
        network=card.spec(),
        data=load_card("digits").spec(),
    )


def test_a_file_that_changed_since_the_plan_is_refused(zoo: Path) -> None:
    (task,) = (task for task in plan().tasks.values() if task.kind == "weights")
    changed = np.frombuffer(weights_path("unet-tiny").read_bytes() + b" ", np.uint8)
    with pytest.raises(UsageError, match="has changed since the run was planned"):
        list(Worker().run(task.spec, {str(weights_path("unet-tiny")): changed}))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (torch.tensor([1.0, float("nan")]), "x holds values that are not finite; expected trained weights"),
        (
            torch.zeros(2).to(torch.float8_e4m3fn),
            "x is of type torch.float8_e4m3fn; expected float32, float16 or bfloat16",
        ),
    ],
)
def test_values_that_are_no_weights_are_refused(value: torch.Tensor, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_state_dict(save({"x": value}), "w.safetensors")


def test_an_entry_in_another_folder_is_damage(zoo: Path) -> None:
    (zoo / "unet-tiny").rename(zoo / "mine")
    with pytest.raises(StoreDamagedError, match='name is "unet-tiny"; expected "mine"'):
        load_zoo_card("mine")


def test_what_a_kill_left_over_is_no_entry_and_goes_with_the_next(zoo: Path, trained: tuple[ZooCard, bytes]) -> None:
    left_over = zoo / ".tmp-unet-tiny-0123456789abcdef"
    left_over.mkdir()
    (left_over / "card.toml").write_text("")
    assert zoo_names() == ["unet-tiny"]
    write_zoo_entry(*trained)
    assert not left_over.exists()


def test_a_name_that_looks_like_a_seed_is_refused() -> None:
    assert [zoo_entry_name("unet-8", seed) for seed in (0, 2)] == ["unet-8", "unet-8-seed2"]
    with pytest.raises(UsageError, match="since the zoo marks seeds so"):
        zoo_entry_name("unet-8-seed1", 0)


def test_one_damaged_entry_hides_no_other(zoo: Path) -> None:
    (zoo / "damaged").mkdir()
    listed = list_lines("zoo")
    assert next(listed).startswith("unet-tiny ")
    with pytest.raises(StoreDamagedError, match="damaged"):
        next(listed)


def test_weights_too_large_for_the_zoo_are_refused(zoo: Path, trained: tuple[ZooCard, bytes]) -> None:
    with pytest.raises(UsageError, match="expected at most 2,000,000, choose a smaller network"):
        write_zoo_entry(trained[0], b"x" * (LARGEST_WEIGHTS_BYTES + 1))
    assert load_zoo_card("unet-tiny") == trained[0]


def test_ls_zoo_is_a_line_each(zoo: Path) -> None:
    (line,) = list_lines("zoo")
    assert re.fullmatch(
        r"unet-tiny +digits +\d+ images  limit +[\d.]+ \(digits-cnn\)  copies +[\d.]+ %  float16  finished", line
    )


def test_the_list_of_trainings_goes_by_seeds(zoo: Path) -> None:
    (zoo / "trainings.toml").write_text(
        '[[trainings]]\ndataset = "digits"\nnetwork = "a"\nseeds = [0, 1]\n'
        '[[trainings]]\ndataset = "digits"\nnetwork = "b"\npatience = 2\n'
    )
    assert [training.name for training in list_trainings()] == ["a", "b", "a-seed1"]
    assert load_recipes()[1].patience == 2
    (zoo / "trainings.toml").write_text('[[trainings]]\ndataset = "digits"\nnetwork = "a"\npatiense = 2\n')
    with pytest.raises(UsageError, match=r'unknown key "trainings\.0\.patiense"; did you mean "patience"\?'):
        load_recipes()


def test_the_shipped_zoo_is_whole() -> None:
    """Every committed network is read, fits its own network card and its data, and stays within its size."""
    total = 0
    for name in zoo_names():
        card = load_zoo_card(name)
        assert card.name == name
        size = weights_path(name).stat().st_size
        assert size <= LARGEST_WEIGHTS_BYTES
        total += size
        if card.data.name == "digits":
            network = {card.network.name: {"weights": f"zoo:{name}"}}
            plan(network=card.network.name, networks=network)
    assert total <= 16_000_000


def test_every_listed_training_names_a_card_and_a_data_set() -> None:
    for recipe in load_recipes():
        assert isinstance(recipe, TrainingRecipe)
        assert load_network_card(recipe.network).train is not None
        assert "test" in load_card(recipe.dataset).splits
