"""`new dataset`: looks at a folder of pictures, writes a card that loads, and says what it is good for."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from kit.new_kit import draw_pictures, said_by
from PIL import Image

from harness.cli.new.dataset import create_card
from harness.data.cards import CARDS_SETTING, DatasetCard, load_card
from harness.data.splits import load_split


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, in which no cards are found but the shipped ones."""
    monkeypatch.delenv(CARDS_SETTING, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def create(folder: Path, name: str | None = None, resolution: int | None = None) -> tuple[DatasetCard, list[str]]:
    """Write a card where the folder lies; return it as it loads, and what was said."""
    said = list(create_card(folder, name, resolution))
    return load_card(str(folder.parent / f"{name or folder.name}.toml")), said


def test_pictures_of_one_square_size_are_taken_as_they_are(here: Path) -> None:
    card, said = create(draw_pictures(here / "pictures", 300, (32, 32), "RGB"))
    assert said[0] == "32x32 RGB, 300 files -> pictures.toml · feature network cifar10-cnn, wants N >= 500"
    assert (card.name, card.resolution, card.channels, card.reference) == ("pictures", 32, 3, "train")
    images = load_split(card, "train").images
    assert images.shape == (300, 3, 32, 32)
    assert card.splits["train"].n is None
    assert card.sigma_data == pytest.approx((images / 127.5 - 1).std(), abs=0.001)
    assert card.sigma_max == pytest.approx(2.9 * card.sigma_data * 3072**0.5, rel=0.05)


@pytest.mark.parametrize(
    ("size", "mode", "shape", "network"),
    [
        ((8, 8), "L", (1, 8, 8), "digits-cnn"),
        ((16, 16), "RGB", (3, 16, 16), "cifar10-16-cnn"),
        ((28, 28), "L", (1, 16, 16), "cifar10-16-cnn"),
        ((120, 90), "RGB", (3, 32, 32), "cifar10-cnn"),
        ((9, 20), "1", (1, 8, 8), "digits-cnn"),
        ((33, 33), "P", (3, 32, 32), "cifar10-cnn"),
    ],
)
def test_other_sizes_are_averaged_down_to_one_that_a_feature_network_takes(
    here: Path, size: tuple[int, int], mode: str, shape: tuple[int, int, int], network: str
) -> None:
    card, said = create(draw_pictures(here / "some", 3, size, mode))
    assert load_split(card, "train").images.shape[1:] == shape
    assert f"feature network {network}," in said[0]
    assert any("centred square" in line for line in said) == (size != shape[1:])


def test_a_resolution_may_be_chosen(here: Path) -> None:
    folder = draw_pictures(here / "some", 3, (40, 30))
    assert create(folder, "one", 30)[0].resolution == 30
    card, _ = create(folder, "two", 8)
    assert load_split(card, "train").images.shape[2:] == (8, 8)
    assert "expected 1 to 30" in said_by(create_card(folder, "three", 31))
    assert "expected 1 to 30" in said_by(create_card(folder, "three", 0))


def test_a_size_without_a_feature_network_is_written_with_what_is_possible(here: Path) -> None:
    card, said = create(draw_pictures(here / "large", 3, (64, 64), "RGB"))
    assert card.resolution == 64
    assert said[0].endswith("no feature network")
    assert "--resolution 32 averages them down" in said[1]
    assert not any("next:" in line for line in said)


@pytest.mark.parametrize(
    ("n", "said"),
    [(64, "too few for FID: 64 pictures for the 64 features"), (65, "few for FID: against 65"), (500, "")],
)
def test_too_few_pictures_mean_no_fid_and_few_a_biased_one(here: Path, n: int, said: str) -> None:
    lines = create(draw_pictures(here / "some", n))[1]
    found = [line for line in lines if "few for FID" in line]
    assert [said in line for line in found] == [True] * bool(said)
    assert any("next:" in line for line in lines) == (n > 64)


def test_folders_train_and_test_become_splits(here: Path) -> None:
    draw_pictures(here / "both" / "train", 5)
    draw_pictures(here / "both" / "test", 3, seed=1)
    card, said = create(here / "both")
    assert [len(load_split(card, split).images) for split in ("train", "test")] == [5, 3]
    assert "8 files (5 train, 3 test)" in said[0]


@pytest.mark.parametrize("folders", [("train", "other"), ("train",), ("test", "train", "valid")])
def test_other_folders_are_one_split(here: Path, folders: tuple[str, ...]) -> None:
    for seed, folder in enumerate(folders):
        draw_pictures(here / "one" / folder, 2, seed=seed)
    card, _ = create(here / "one")
    assert list(card.splits) == ["train"]
    assert len(load_split(card, "train").images) == 2 * len(folders)


# Where the card lies, and what it is called.


def test_the_card_lies_where_cards_are_found_by_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = draw_pictures(here / "pictures", 3)
    (here / "datasets").mkdir()
    said = list(create_card(Path("pictures"), None, None))
    assert "-> datasets/pictures.toml" in said[0]
    assert len(load_split(load_card("pictures"), "train").images) == 3

    (here / "cards").mkdir()
    monkeypatch.setenv(CARDS_SETTING, "cards")
    said = list(create_card(pictures, "again", None))
    assert "-> cards/again.toml" in said[0]
    assert len(load_split(load_card("again"), "train").images) == 3
    assert not any("named by its path" in line for line in said)


def test_elsewhere_it_lies_with_the_folder_and_is_named_by_its_path(here: Path) -> None:
    draw_pictures(here / "there" / "pictures", 70)
    said = list(create_card(Path("there/pictures"), None, None))
    assert f"-> {here}/there/pictures.toml" in said[0]
    assert any(f"--dataset {here}/there/pictures.toml" in line for line in said)


def test_the_next_command_names_the_card_in_one_word_of_a_shell(here: Path) -> None:
    draw_pictures(here / "my photos" / "pictures", 70)
    (command,) = [line for line in create_card(Path("my photos/pictures"), None, None) if line.startswith("next:")]
    words = shlex.split(command)
    assert words[words.index("--dataset") + 1] == f"{here}/my photos/pictures.toml"


def test_card_and_pictures_may_move_together(here: Path) -> None:
    create(draw_pictures(here / "old" / "pictures", 3))
    shutil.move(here / "old", here / "new")
    assert len(load_split(load_card("new/pictures.toml"), "train").images) == 3


def test_a_folder_of_any_name_gives_a_name(here: Path) -> None:
    list(create_card(draw_pictures(here / "My Photos (2026)", 3), None, None))
    assert load_card("my-photos-2026.toml").name == "my-photos-2026"


@pytest.mark.parametrize(
    ("name", "said"),
    [("digits", 'the data set "digits" exists already'), ("../x", "data set name (give one by --name) is '../x'")],
)
def test_a_name_that_cannot_be_is_one_sentence(here: Path, name: str, said: str) -> None:
    assert said in said_by(create_card(draw_pictures(here / "some", 2), name, None))


def test_a_card_that_is_there_is_left_as_it_is(here: Path) -> None:
    folder = draw_pictures(here / "some", 2)
    (here / "some.toml").write_text("mine")
    assert "some.toml exists and is left as it is" in said_by(create_card(folder, None, None))
    assert (here / "some.toml").read_text() == "mine"


# Folders that are no data set.


def test_broken_and_transparent_pictures_are_named(here: Path) -> None:
    folder = draw_pictures(here / "some", 5)
    (folder / "0001.png").write_bytes(b"no picture")
    (folder / "0003.png").write_bytes((folder / "0002.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8, 4), dtype=np.uint8)).save(folder / "clear.png")
    said = said_by(create_card(folder, None, None))
    assert "3 of the 6 pictures" in said
    assert "0001.png cannot be decoded (UnidentifiedImageError)" in said
    assert "0003.png cannot be decoded" in said
    assert "clear.png has the colour mode RGBA" in said
    assert not (here / "some.toml").exists()


def test_a_folder_without_pictures_is_one_sentence(here: Path) -> None:
    (here / "some").mkdir()
    (here / "some" / "notes.txt").write_text("no picture")
    assert "found no picture in" in said_by(create_card(here / "some", None, None))
    assert "found no folder" in said_by(create_card(here / "absent", None, None))


def test_pictures_that_are_too_small_or_all_alike_are_refused(here: Path) -> None:
    assert "has 5 pixels on its shorter side" in said_by(
        create_card(draw_pictures(here / "small", 2, (5, 9)), None, None)
    )
    flat = here / "flat"
    flat.mkdir()
    Image.new("L", (8, 8), 7).save(flat / "a.png")
    assert "are the same" in said_by(create_card(flat, None, None))
    assert not list(here.glob("*.toml"))
