"""Readers that lean on torchvision and on Hugging Face: their archives and rows, and what is said without them."""

from __future__ import annotations

import pickle
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from kit.reader_kit import encoded, first_pixels, picture, read, refusal, target


@pytest.fixture
def cifar_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR-10 archive of two images per batch, as torchvision unpacks and reads it."""
    folder = tmp_path / "toy" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in ["test_batch", *[f"data_batch_{index}" for index in range(1, 6)]]:
        value = 0 if name == "test_batch" else int(name[-1])
        rows = np.repeat(np.arange(2, dtype=np.uint8)[:, None] + 2 * value, 3072, axis=1)
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": [0, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a", "b"]}))
    with tarfile.open(tmp_path / "toy" / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).is_file())
    return tmp_path


def test_torchvision_reads_its_archive(cifar_archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATA", str(cifar_archive))
    pixels = read("torchvision", target(10, resolution=32), dataset="CIFAR10")
    assert first_pixels(pixels) == list(range(2, 12))
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [0, 1] * 5
    assert first_pixels(read("torchvision", target(2, resolution=32, source="test"), dataset="CIFAR10")) == [0, 1]


def test_torchvision_passes_download_on(cifar_archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", lambda self: asked.append(self.root))
    root = str(cifar_archive / "toy")
    read("torchvision", target(10, resolution=32), dataset="CIFAR10", root=root, download=True)
    assert asked == [root]


def test_torchvision_may_download_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", lambda self: asked.append(self.root))
    root = str(tmp_path / "new")
    refusal("torchvision", target(10, resolution=32), dataset="CIFAR10", root=root, download=True)
    assert asked == [root]  # the stand-in fetched nothing, so the class then found nothing


def test_torchvision_reads_a_class_without_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "FakeData", lambda: pytest.fail("not called: only classes are data sets"))
    assert "a data set class" in refusal("torchvision", target(), dataset="FakeData")
    monkeypatch.undo()

    class Small(torchvision.datasets.FakeData):
        def __init__(self) -> None:
            super().__init__(size=3, image_size=(3, 4, 4), num_classes=2)

    monkeypatch.setattr(torchvision.datasets, "FakeData", Small)
    assert read("torchvision", target(3, source="all"), dataset="FakeData").images.shape == (3, 3, 4, 4)
    assert "FakeData has no splits" in refusal("torchvision", target(3), dataset="FakeData")
    assert "cannot be downloaded" in refusal("torchvision", target(3, source="all"), dataset="FakeData", download=True)


def test_torchvision_passes_a_split_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    class Split(torchvision.datasets.SVHN):
        def __init__(self, root: str, split: str = "train") -> None:
            asked.append(split)

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return picture(7), 1

    monkeypatch.setattr(torchvision.datasets, "SVHN", Split)
    assert first_pixels(read("torchvision", target(1, source="extra"), dataset="SVHN", root=str(tmp_path))) == [7]
    assert asked == ["extra"]


def test_torchvision_sentences(tmp_path: Path) -> None:
    where = {"root": str(tmp_path)}
    assert 'did you mean "CIFAR10"' in refusal("torchvision", target(), dataset="CIFAR1O", **where)
    assert "Dataset not found" in refusal("torchvision", target(), dataset="CIFAR10", **where)
    assert "`root` under [arguments]" in refusal("torchvision", target(), dataset="CIFAR10", **where)
    assert 'expected "train" or "test"' in refusal("torchvision", target(source="val"), dataset="CIFAR10", **where)


class Rows(list[dict[str, Any]]):
    column_names = ("image", "label")


def fake_library(rows: Rows, asked: list[Any]) -> types.ModuleType:
    def load_dataset(name: str, config: str | None, *, split: str, revision: str | None) -> Rows:
        asked.append((name, config, split, revision))
        if name == "absent":
            raise FileNotFoundError("no such data set\non the Hub")
        return rows

    library = types.ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    return library


def test_huggingface_reads_pictures_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    rows = Rows([{"image": picture(1), "label": 0}, {"image": encoded(2), "label": 1}])
    monkeypatch.setitem(sys.modules, "datasets", fake_library(rows, asked))
    arguments = {"dataset": "who/what", "config": "plain", "revision": "abc", "label": "label"}
    pixels = read("huggingface", target(2, source="validation"), **arguments)
    assert asked == [("who/what", "plain", "validation", "abc")]
    assert first_pixels(pixels) == [1, 2]
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [0, 1]


def test_huggingface_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", fake_library(Rows([{"image": 3, "label": 0}]), []))
    assert "no such data set)" in refusal("huggingface", target(1), dataset="absent")
    assert "expected a column 'img'" in refusal("huggingface", target(1), dataset="x", image="img")
    assert "image 0 of x is a int" in refusal("huggingface", target(1), dataset="x")
    assert "found 1 images; expected 2" in refusal("huggingface", target(2), dataset="x")


def test_huggingface_is_not_our_folder_of_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a folder `datasets` on the path and no library, Python would import the folder as an empty package."""
    (tmp_path / "datasets").mkdir()
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])
    said = refusal("huggingface", target(1), dataset="x")
    assert "the library `datasets` is not installed" in said
    assert "pip install datasets" in said
    assert "datasets" not in sys.modules


def test_huggingface_finds_the_library_behind_a_folder_of_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cards" / "datasets").mkdir(parents=True)
    (tmp_path / "site" / "datasets").mkdir(parents=True)
    (tmp_path / "site" / "datasets" / "__init__.py").write_text(
        "def load_dataset(*a, **k):\n    raise OSError('mark')\n"
    )
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "cards"), str(tmp_path / "site"), *sys.path])
    try:
        assert "mark" in refusal("huggingface", target(1), dataset="x")
    finally:
        sys.modules.pop("datasets", None)
