"""The Parquet reader on small files written by the test: right order, and a sentence for each kind of damage."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit.reader_kit import encoded, first_pixels, read, refusal, target
from PIL import Image
from pydantic import ValidationError

from harness.data.readers import READERS


def shard(path: Path, cells: list[bytes | None], labels: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array(
        [{"bytes": cell, "path": None} for cell in cells], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pq.write_table(pa.table({"img": column, "label": pa.array(labels or [0] * len(cells), pa.int64())}), path)


def png(colours: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG")
    return stream.getvalue()


def two_shards(folder: Path) -> None:
    shard(folder / "train-00001-of-00002.parquet", [encoded(3), encoded(4, "JPEG")], [0, 1])
    shard(folder / "train-00000-of-00002.parquet", [encoded(1), encoded(2)], [1, 0])
    shard(folder / "test-00000-of-00001.parquet", [encoded(9)])


def test_parquet_shards_come_in_sorted_order(tmp_path: Path) -> None:
    two_shards(tmp_path / "plain_text")
    pixels = read("parquet", target(), path=str(tmp_path), image="img", label="label")
    assert pixels.images.shape == (4, 3, 4, 4)
    assert first_pixels(pixels) == [1, 2, 3, 4]
    assert pixels.labels is not None
    assert pixels.labels.dtype == np.int64
    assert pixels.labels.tolist() == [1, 0, 0, 1]


def test_parquet_order_does_not_depend_on_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_shards(tmp_path)
    listing = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: sorted(listing(path), key=lambda entry: entry.name, reverse=True))
    assert first_pixels(read("parquet", target(), path=str(tmp_path), image="img")) == [1, 2, 3, 4]


def test_parquet_takes_one_file_and_plain_binary_cells(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([encoded(5)], pa.binary())}), tmp_path / "some.parquet")
    pixels = read("parquet", target(1, source="some.parquet"), path=str(tmp_path))
    assert first_pixels(pixels) == [5]
    assert pixels.labels is None


def test_parquet_channels_keep_their_places(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    shard(tmp_path / "train.parquet", [png(colours)])
    pixels = read("parquet", target(1), path=str(tmp_path), image="img")
    assert np.array_equal(pixels.images[0], colours.transpose(2, 0, 1))


def test_parquet_folder_comes_from_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_shards(tmp_path / "toy")
    monkeypatch.setenv("ONECLOCK_DATA", str(tmp_path))
    assert first_pixels(read("parquet", target(), image="img")) == [1, 2, 3, 4]


def test_parquet_folder_may_have_another_name_than_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_shards(tmp_path / "some" / "shared")
    monkeypatch.setenv("ONECLOCK_DATA", str(tmp_path))
    assert first_pixels(read("parquet", target(), folder="some/shared", image="img")) == [1, 2, 3, 4]
    assert f"found no folder {tmp_path}/absent" in refusal("parquet", target(), folder="absent")
    assert "the folder that holds absent/" in refusal("parquet", target(), folder="absent")
    monkeypatch.delenv("ONECLOCK_DATA")
    assert "the folder that holds absent/" in refusal("parquet", target(), folder="absent")


@pytest.mark.parametrize("folder", ["..", "../x", "a/../../b", "/etc", "", "a\0b"])
def test_parquet_folder_stays_below_the_setting(folder: str) -> None:
    with pytest.raises(ValidationError, match="expected a relative path below ONECLOCK_DATA"):
        READERS["parquet"].model_validate({"folder": folder})


def test_parquet_takes_one_folder_only() -> None:
    with pytest.raises(ValidationError, match="folder and path are both given"):
        READERS["parquet"].model_validate({"folder": "a", "path": "/b"})


def test_parquet_area_is_the_mean_of_each_box_a_half_rounded_up(tmp_path: Path) -> None:
    red = [[0, 1, 10, 10], [0, 1, 10, 11], [255, 255, 3, 0], [255, 254, 0, 0]]  # sums 2, 41, 1019, 3
    green = [[7, 0, 1, 1], [0, 0, 1, 2], [100, 101, 0, 0], [101, 100, 0, 1]]  # sums 7, 5, 402, 1
    blue = [[9] * 4] * 4
    colours = np.array([red, green, blue], dtype=np.uint8).transpose(1, 2, 0)
    shard(tmp_path / "train.parquet", [png(colours)])
    pixels = read("parquet", target(1, resolution=2), path=str(tmp_path), image="img", resize="area")
    # .5 is 1, 10.25 is 10, 254.75 is 255, .75 is 1; 1.75 is 2, 1.25 is 1, 100.5 is 101, .25 is 0
    assert pixels.images[0].tolist() == [[[1, 10], [255, 1]], [[2, 1], [101, 0]], [[9, 9], [9, 9]]]


def test_parquet_area_takes_every_whole_multiple(tmp_path: Path) -> None:
    steps = np.arange(36, dtype=np.uint8).reshape(6, 6)
    shard(tmp_path / "train.parquet", [png(np.stack([steps] * 3, axis=2))])
    said = {"path": str(tmp_path), "image": "img", "resize": "area"}
    assert read("parquet", target(1, resolution=2), **said).images[0, 0].tolist() == [[7, 10], [25, 28]]
    assert read("parquet", target(1, resolution=1), **said).images[0, 0].tolist() == [[18]]  # 17.5
    assert np.array_equal(read("parquet", target(1, resolution=6), **said).images[0, 0], steps)


@pytest.mark.parametrize("size", [(7, 7), (8, 4), (2, 2), (6, 6)])
def test_parquet_area_refuses_what_is_no_whole_multiple(tmp_path: Path, size: tuple[int, int]) -> None:
    shard(tmp_path / "train.parquet", [encoded(1, size=size)])
    said = refusal("parquet", target(1), path=str(tmp_path), image="img", resize="area")
    assert f"has {size[0]}x{size[1]} pixels; expected a square of a whole multiple of 4 pixels a side" in said


def test_parquet_missing_data_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    assert "neither ONECLOCK_DATA nor `path` is set" in refusal("parquet", target())
    assert "(from the attic)" in refusal("parquet", target())
    assert f"found no folder {tmp_path}/absent" in refusal("parquet", target(), path=str(tmp_path / "absent"))
    assert "no file matches **/train-*.parquet" in refusal("parquet", target(), path=str(tmp_path))


@pytest.mark.parametrize("source", ["../x.parquet", "/etc/*.parquet", "a/../../b"])
def test_parquet_sources_stay_in_the_folder(tmp_path: Path, source: str) -> None:
    assert "a relative path below" in refusal("parquet", target(source=source), path=str(tmp_path))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (encoded(1, size=(4, 5)), "has 4x5 pixels; expected 4x4"),
        (encoded(1, mode="RGBA"), "colour mode RGBA"),
        (encoded(1)[:40], "row 1 of"),
        (b"no picture", "cannot be decoded"),
        (encoded(1, "GIF", "P"), "cannot be decoded"),
        (None, "is empty"),
    ],
    ids=["size", "mode", "cut", "text", "gif", "empty"],
)
def test_parquet_wrong_pictures_are_named_by_row_and_file(tmp_path: Path, cell: bytes | None, expected: str) -> None:
    file = tmp_path / "train.parquet"
    shard(file, [encoded(1), cell])
    said = refusal("parquet", target(2), path=str(tmp_path), image="img")
    assert expected in said
    assert f"row 1 of {file}" in said


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "flipped"])
def test_parquet_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "train.parquet"
    shard(file, [encoded(1), encoded(2)])
    whole = file.read_bytes()
    middle = whole.index(b"IDAT")
    flipped = whole[:middle] + bytes(40) + whole[middle + 40 :]
    file.write_bytes({"cut": whole[:-30], "empty": b"", "foreign": b"hello" * 9, "flipped": flipped}[damage])
    assert str(file) in refusal("parquet", target(2), path=str(tmp_path), image="img")


def test_parquet_wrong_columns_and_counts(tmp_path: Path) -> None:
    two_shards(tmp_path)
    where = {"path": str(tmp_path)}
    assert "has the columns img, label; expected a column 'image'" in refusal("parquet", target(), **where)
    assert "expected a column 'y'" in refusal("parquet", target(), image="img", label="y", **where)
    assert "encoded pictures" in refusal("parquet", target(), image="label", **where)
    assert "a whole number in every row" in refusal("parquet", target(), image="img", label="img", **where)
    assert f"found 4 images in {tmp_path}; expected 5, as" in refusal("parquet", target(5), image="img", **where)
