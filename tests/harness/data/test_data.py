"""Splits in memory: pinned fingerprints, named variants, and sentences for data that are not what the card says."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.card_kit import EIGHT_LINES, write_card
from PIL import Image

from harness.data import splits as data
from harness.data.cards import load_card
from harness.data.splits import Split, load_split, pixel_fingerprint
from harness.errors import UsageError
from harness.sampling.pixels import to_uint8, to_unit


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_loaded", {})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two 4x4 colour PNG files beside a card."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(2):
        save(folder / f"{index}.png", index)
    return folder


def save(path: Path, value: int) -> None:
    Image.fromarray(np.full((4, 4, 3), value, dtype=np.uint8)).save(path)


def load(folder: Path, text: str = EIGHT_LINES) -> Split:
    return load_split(load_card(write_card(folder, text)), "train")


def cifar10_folder() -> Path:
    """The folder that holds cifar10/: the setting, or shared/data beside the repository."""
    beside = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("ONECLOCK_DATA", beside))
    if not list(folder.glob("cifar10/**/test-*.parquet")):
        pytest.skip("no cifar10/test-*.parquet under ONECLOCK_DATA or ../shared/data")
    return folder


@pytest.mark.parametrize("name", ["digits", "gaussian", "gaussian-mixture"])
def test_shipped_data_are_the_pinned_originals(name: str) -> None:
    card = load_card(name)
    for split, facts in card.splits.items():
        loaded = load_split(card, split)
        assert loaded.images.shape == (facts.n, card.channels, card.resolution, card.resolution)
        assert loaded.fingerprint == facts.sha256
        assert (loaded.variant, loaded.note) == ("original", "")
        assert (loaded.labels is None) == (card.labels == 0)


@pytest.mark.parametrize("name", ["digits", "gaussian", "gaussian-mixture"])
def test_sigma_data_is_the_standard_deviation(name: str) -> None:
    card = load_card(name)
    values = to_unit(load_split(card, card.reference).images)
    assert values.std().item() == pytest.approx(card.sigma_data, rel=0.01)


def test_digits_are_scaled_from_sixteenths() -> None:
    images = load_split(load_card("digits"), "train").images
    assert set(np.unique(images)) == {round(value / 16 * 255) for value in range(17)}


def test_the_fingerprint_knows_every_pixel_and_the_shape() -> None:
    images = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    changed = images.copy()
    changed[1, 0, 3, 3] += 1
    prints = {pixel_fingerprint(array) for array in (images, changed, images[::-1], images.reshape(1, 2, 4, 4))}
    assert len(prints) == 4
    assert pixel_fingerprint(np.asfortranarray(images)) == pixel_fingerprint(images)
    assert pixel_fingerprint(images) == hashlib.sha256(b"uint8[2,1,4,4]\n" + bytes(range(32))).hexdigest()


def test_the_fingerprint_is_of_uint8_only() -> None:
    with pytest.raises(TypeError, match="expected uint8"):
        pixel_fingerprint(np.zeros((1, 1, 4, 4)))


def test_unpinned_data_say_so_and_change_their_fingerprint_with_a_pixel(pictures: Path, tmp_path: Path) -> None:
    first = load(tmp_path)
    assert first.variant == "unpinned"
    assert first.note
    save(pictures / "1.png", 7)  # in the same process, as between two runs of a notebook
    assert load(tmp_path).fingerprint != first.fingerprint


def test_pinned_data_that_changed_are_refused(pictures: Path, tmp_path: Path) -> None:
    good = load(tmp_path).fingerprint
    pinned = EIGHT_LINES.replace("n = 2", f'n = 2, sha256 = "{good}"')
    assert load(tmp_path, pinned).variant == "original"
    save(pictures / "1.png", 7)
    with pytest.raises(UsageError, match=f"expected {good}; the data differ") as caught:
        load(tmp_path, pinned)
    assert caught.value.exit_code == 2


def test_a_known_copy_is_named_even_beside_a_pinned_original(pictures: Path, tmp_path: Path) -> None:
    found = load(tmp_path).fingerprint
    variant = f'variants.softer = {{ note = "blurred", sha256 = {{ train = "{found}" }} }}\n'
    for text in (EIGHT_LINES, EIGHT_LINES.replace("n = 2", f'n = 2, sha256 = "{"0" * 64}"')):
        loaded = load(tmp_path, text + variant)
        assert (loaded.variant, loaded.note) == ("softer", "blurred")


def test_a_missing_picture_is_a_count_in_the_sentence(pictures: Path, tmp_path: Path) -> None:
    (pictures / "1.png").unlink()
    with pytest.raises(UsageError, match=r"found 1 images in .*; expected 2, as its card states; complete"):
        load(tmp_path)


def test_a_split_is_read_once_and_cannot_be_written(pictures: Path, tmp_path: Path) -> None:
    first = load(tmp_path)
    assert load(tmp_path) is first
    with pytest.raises(ValueError, match="read-only"):
        first.images[0] = 0


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "datasets" / "digits.toml").read_text()
    card = load_card(write_card(tmp_path, text.replace("labels = 10", "labels = 9"), "digits"))
    with pytest.raises(UsageError, match="labels run from 0 to 9; expected 0 to 8"):
        load_split(card, "train")


def test_pixels_survive_the_way_to_the_unit_range_and_back() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    unit = to_unit(images)
    assert unit.dtype == torch.float32
    assert (unit.min().item(), unit.max().item()) == (-1.0, 1.0)
    assert np.array_equal(to_uint8(unit).numpy(), images)
    assert np.array_equal(to_uint8(unit.double()).numpy(), images)


def test_values_outside_the_range_are_clamped() -> None:
    assert to_uint8(torch.tensor([-9.0, -1.0, 0.0, 0.003, 1.0, 9.0])).tolist() == [0, 0, 128, 128, 255, 255]


def test_cifar10_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATA", str(cifar10_folder()))
    check_cifar10("test", 1000)


@pytest.mark.slow
def test_cifar10_train_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATA", str(cifar10_folder()))
    check_cifar10("train", 5000)


def test_cifar10_at_16_pixels_is_the_mean_of_two_by_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATA", str(cifar10_folder()))
    small = check_cifar10("test", 1000, "cifar10-16")
    assert (small.images.shape, small.images.dtype) == ((10_000, 3, 16, 16), np.dtype(np.uint8))
    whole = load_split(load_card("cifar10"), "test")
    four = sum(whole.images[:, :, i::2, j::2].astype(int) for i in range(2) for j in range(2))
    assert np.array_equal(small.images, (four + 2) // 4)
    assert small.labels is not None
    assert np.array_equal(small.labels, whole.labels)


@pytest.mark.slow
def test_cifar10_at_16_pixels_train_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATA", str(cifar10_folder()))
    images = check_cifar10("train", 5000, "cifar10-16").images
    assert to_unit(images).std().item() == pytest.approx(load_card("cifar10-16").sigma_data, rel=1e-3)


def test_cifar10_at_16_pixels_asks_for_the_folder_of_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    with pytest.raises(UsageError, match="set ONECLOCK_DATA to the folder that holds cifar10/"):
        load_split(load_card("cifar10-16"), "test")


def check_cifar10(split: str, per_class: int, name: str = "cifar10") -> Split:
    loaded = load_split(load_card(name), split)
    assert loaded.labels is not None
    assert np.bincount(loaded.labels).tolist() == [per_class] * 10
    assert loaded.variant in {"jpeg-q75", "unpinned"}
    if loaded.variant == "jpeg-q75":
        assert "published" in loaded.note
    return loaded


def test_cifar10_without_data_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    with pytest.raises(UsageError, match="set ONECLOCK_DATA to the folder that holds cifar10/") as caught:
        load_split(load_card("cifar10"), "test")
    assert "huggingface.co/datasets/uoft-cs/cifar10" in str(caught.value)
    assert "torchvision" in str(caught.value)
