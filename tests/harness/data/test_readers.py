"""Readers of pictures in folders, of scikit-learn and of formulas: right pixels, right order, clear refusals."""

from __future__ import annotations

import os
import types
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from kit.reader_kit import encoded, first_pixels, read, refusal, target
from PIL import Image
from pydantic import ValidationError

from harness.data.readers.mixture import MixtureReader


def folder_of_four(folder: Path) -> None:
    for name, value in {"cat/b.PNG": 2, "cat/a.png": 1, "dog/x/d.png": 4, "dog/c.png": 3, ".cat/hidden.png": 9}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encoded(value))
    (folder / "cat" / "notes.txt").write_text("no picture")


def test_folder_is_sorted_and_its_sub_folders_are_classes(tmp_path: Path) -> None:
    folder_of_four(tmp_path / "train")
    pixels = read("image-folder", target(), path=str(tmp_path))
    assert first_pixels(pixels) == [1, 2, 3, 4]
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [0, 0, 1, 1]
    assert read("image-folder", target(labels=0, source="."), path=str(tmp_path)).labels is None


def test_folder_order_does_not_depend_on_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_four(tmp_path / "train")
    listing = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: sorted(listing(path), key=lambda entry: entry.name, reverse=True))
    assert first_pixels(read("image-folder", target(), path=str(tmp_path))) == [1, 2, 3, 4]


def test_folder_without_the_classes_it_should_have(tmp_path: Path) -> None:
    folder_of_four(tmp_path / "train")
    assert "one sub-folder for each of the labels = 3" in refusal("image-folder", target(labels=3), path=str(tmp_path))
    (tmp_path / "train" / "loose.png").write_bytes(encoded(1))
    assert "1 pictures outside them" in refusal("image-folder", target(5), path=str(tmp_path))


def test_folder_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1, size=(8, 6)))
    said = refusal("image-folder", target(1, labels=0, source="."), path=str(tmp_path))
    assert "a.png has 8x6 pixels; expected 4x4" in said


def test_folder_centre_crop_averages_over_boxes(tmp_path: Path) -> None:
    wide = np.zeros((8, 12, 3), dtype=np.uint8)
    wide[:, :2], wide[:, 10:] = 255, 255  # what the crop removes
    wide[::2, 2:10] = 100
    Image.fromarray(wide).save(tmp_path / "a.png")
    wanted = target(1, labels=0, source=".")
    pixels = read("image-folder", wanted, path=str(tmp_path), resize="center-crop-box")
    assert np.all(pixels.images == 50)


def test_folder_centre_crop_does_not_enlarge(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1, size=(3, 9)))
    wanted = target(1, labels=0, source=".")
    assert "small ones are not enlarged" in refusal(
        "image-folder", wanted, path=str(tmp_path), resize="center-crop-box"
    )


@pytest.mark.parametrize(("channels", "mode", "taken"), [
    (3, "RGB", True), (3, "L", True), (3, "1", True), (3, "P", True), (3, "RGBA", False), (3, "LA", False),
    (3, "I;16", False), (1, "L", True), (1, "1", True), (1, "RGB", False), (1, "P", False),
])  # fmt: skip
def test_the_rule_for_colour_modes(tmp_path: Path, channels: int, mode: str, taken: bool) -> None:
    (tmp_path / "a.png").write_bytes(encoded(255, mode=mode))
    wanted = target(1, labels=0, source=".", channels=channels)
    if taken:
        assert np.all(read("image-folder", wanted, path=str(tmp_path)).images == 255)
    else:
        said = refusal("image-folder", wanted, path=str(tmp_path))
        assert "has the colour mode" in said or "has 16 bits a channel" in said


def test_folder_takes_jpeg_and_webp(tmp_path: Path) -> None:
    for name, kind in {"a.jpg": "JPEG", "b.jpeg": "JPEG", "c.webp": "WEBP"}.items():
        (tmp_path / name).write_bytes(encoded(128, kind))
    pixels = read("image-folder", target(3, labels=0, source="."), path=str(tmp_path))
    assert np.all(np.abs(pixels.images.astype(int) - 128) <= 2)


def test_sklearn_scales_and_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(5)[:, None, None] * np.ones((5, 4, 4))
    bunch = types.SimpleNamespace(images=images, target=np.arange(5))
    monkeypatch.setattr(sklearn.datasets, "load_sample_images", lambda: bunch)
    wanted = target(2, source="3:5", channels=1)
    pixels = read("sklearn", wanted, loader="load_sample_images", maximum=4)
    assert first_pixels(pixels) == [round(3 / 4 * 255), 255]
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [3, 4]
    assert "values from 3 to 4; expected 0 to 3" in refusal("sklearn", wanted, loader="load_sample_images", maximum=3)
    short = target(2, source="4:6", channels=1)
    assert "found 1 images; expected 2" in refusal("sklearn", short, loader="load_sample_images", maximum=4)


def test_digits_are_read_as_scikit_learn_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = target(1797, source="0:1797", channels=1, resolution=8)
    bunch = sklearn.datasets.load_digits()
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: pytest.fail("asked although the file is there"))
    pixels = read("sklearn", wanted, loader="load_digits", maximum=16)
    assert np.array_equal(pixels.images, np.round(bunch.images / 16 * 255)[:, None])
    assert pixels.labels is not None
    assert np.array_equal(pixels.labels, bunch.target)
    monkeypatch.setattr("harness.data.readers.scikit_learn._shipped_digits", lambda: None)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: bunch)
    assert np.array_equal(read("sklearn", wanted, loader="load_digits", maximum=16).images, pixels.images)


def test_sklearn_sentences() -> None:
    grey = {"channels": 1, "resolution": 8}
    digits = {"loader": "load_digits", "maximum": 16}
    assert 'did you mean "load_digits"' in refusal("sklearn", target(**grey), loader="load_digit", maximum=1)
    assert "gives no images" in refusal("sklearn", target(**grey), loader="load_iris", maximum=1)
    assert "images of shape [1, 8, 8]; expected [3, 4, 4]" in refusal("sklearn", target(source="0:4"), **digits)
    for source in (None, "0:5", "4", "a:b", "4:0", "-4:0"):
        assert "spanning the n = 4 rows" in refusal("sklearn", target(source=source, **grey), **digits)


def mixture() -> MixtureReader:
    return MixtureReader(means=[[-0.5] * 16, [0.5] * 16], stds=[0.05, 0.1], weights=[0.75, 0.25], seed=3)


def test_mixture_has_its_moments() -> None:
    components, samples = mixture().draw(20_000)
    assert np.mean(components) == pytest.approx(0.25, abs=0.01)
    for index, (mean, std) in enumerate([(-0.5, 0.05), (0.5, 0.1)]):
        own = samples[components == index]
        assert own.mean() == pytest.approx(mean, abs=0.002)
        assert own.std() == pytest.approx(std, rel=0.02)


def test_mixture_rows_do_not_depend_on_how_many_are_drawn() -> None:
    whole = mixture().read(target(100, channels=1, source="0:100"))
    part = mixture().read(target(40, channels=1, source="60:100"))
    assert whole.labels is not None
    assert part.labels is not None
    assert np.array_equal(whole.images[60:], part.images)
    assert np.array_equal(whole.labels[60:], part.labels)
    other = mixture().model_copy(update={"seed": 4}).read(target(100, channels=1, source="0:100"))
    assert not np.array_equal(whole.images, other.images)


def test_folder_below_the_data_setting_may_have_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_four(tmp_path / "originals" / "train")
    monkeypatch.setenv("ONECLOCK_DATA", str(tmp_path))
    assert first_pixels(read("image-folder", target(), folder="originals")) == [1, 2, 3, 4]
    assert "set ONECLOCK_DATA to the folder that holds elsewhere/" in refusal(
        "image-folder", target(), folder="elsewhere"
    )
    for wrong in ({"folder": "../up"}, {"folder": "here", "path": "there"}):
        with pytest.raises(ValidationError, match="folder"):
            read("image-folder", target(), **wrong)
