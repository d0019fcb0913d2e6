"""Files that readers must not take in silence: read rightly or refused; what is passed over is said."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision.datasets
from kit.card_kit import EIGHT_LINES, write_card
from kit.log_kit import Logged
from kit.reader_kit import encoded, first_pixels, picture, read, refusal, target
from PIL import Image

from harness.data.cards import load_card
from harness.data.readers import READERS
from harness.data.splits import load_split

WANTED = {"labels": 0, "source": "."}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def deep_png(colour_type: int = 2, value: int = 0x01FF, side: int = 4) -> bytes:
    """Return a PNG of 16 bits a channel, which PIL cannot write: RGB, or grey as type 0."""
    channels = {0: 1, 2: 3}[colour_type]
    rows = (b"\0" + struct.pack(">H", value) * channels * side) * side

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    return saved(picture(1), kind, save_all=True, append_images=[picture(99)])


def flipped(content: bytes, mark: bytes) -> bytes:
    place = content.index(mark) + len(mark)
    return content[:place] + bytes(12) + content[place + 12 :]


def deep_tiff() -> bytes:
    """Return a TIFF of RGB with 16 bits a channel, written by hand."""
    data = struct.pack("<48H", *[0x01FF] * 48)
    bits = 8 + len(data)
    tags = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
            (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, len(data))]  # fmt: skip
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", bits + 6) + data + struct.pack("<3H", 16, 16, 16) + table


BROKEN: dict[str, tuple[bytes, str]] = {
    "16 bits RGB PNG": (deep_png(), "has 16 bits a channel"),
    "16 bits grey PNG": (deep_png(0), "has 16 bits a channel"),
    "16 bits TIFF": (deep_tiff(), "has 16 bits a channel"),
    "animated PNG": (animated("PNG"), "holds 2 pictures"),
    "animated WebP": (animated("WEBP"), "holds 2 pictures"),
    "TIFF of two pages": (animated("TIFF"), "holds 2 pictures"),
    "GIF by another name": (saved(picture(1).convert("P"), "GIF"), "cannot be decoded"),
    "nothing": (b"", "cannot be decoded"),
    "text": (b"<html>not found</html>", "cannot be decoded"),
    "PNG cut in its head": (encoded(1)[:20], "cannot be decoded"),
    "PNG cut in its pixels": (encoded(1)[:50], "cannot be decoded"),
    "PNG with flipped bytes": (flipped(encoded(1), b"IDAT"), "cannot be decoded"),
    "PNG with a flipped head": (flipped(encoded(1), b"IHDR"), "cannot be decoded"),
    "JPEG cut": (encoded(1, "JPEG")[:300], "cannot be decoded"),
    "WebP cut": (encoded(1, "WEBP")[:20], "cannot be decoded"),
    "BMP cut": (encoded(1, "BMP")[:40], "cannot be decoded"),
    "TIFF cut": (encoded(1, "TIFF")[:60], "cannot be decoded"),
    "transparent": (saved(picture(1).convert("RGBA"), "PNG"), "has the colour mode RGBA"),
    "another size": (encoded(1, size=(5, 4)), "has 5x4 pixels; expected 4x4"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_of_a_folder_is_one_sentence_that_names_it(fault: str, tmp_path: Path) -> None:
    content, sentence = BROKEN[fault]
    (tmp_path / "a.png").write_bytes(encoded(1))
    (tmp_path / "b.png").write_bytes(content)
    said = refusal("image-folder", target(2, **WANTED), path=str(tmp_path))
    assert f"{tmp_path}/b.png {sentence}" in said
    assert len(said) < 600


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_cell_of_parquet_is_one_sentence_that_names_it(fault: str, tmp_path: Path) -> None:
    content, sentence = BROKEN[fault]
    file = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": pa.array([encoded(1), content], pa.binary())}), file)
    assert f"row 1 of {file} {sentence}" in refusal("parquet", target(2), path=str(tmp_path))


@pytest.mark.parametrize("cell", [bytes, lambda content: {"bytes": content, "path": None}], ids=["bytes", "struct"])
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_cell_of_the_hub_is_one_sentence_that_names_it(
    fault: str, cell: Callable[[bytes], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, sentence = BROKEN[fault]
    use_hub(monkeypatch, [{"image": cell(encoded(1))}, {"image": cell(content)}])
    assert f"image 1 of who/what {sentence}" in refusal("huggingface", target(2), dataset="who/what")


class Rows:
    """Rows of the Hub's library: what a cell raises is raised when the row is read."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self.column_names = sorted({"image", *(name for row in rows if isinstance(row, dict) for name in row)})

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        row = self._rows[index]
        if isinstance(row, Exception):
            raise row
        return row


class Encoded(Rows):
    """Rows that the library would decode, and gives encoded when it is stopped from that."""

    class Feature:
        def __init__(self, decode: bool = True) -> None:
            self.decode = decode

    def __init__(self, contents: list[bytes]) -> None:
        super().__init__([{"image": Image.open(io.BytesIO(content)).convert("RGB")} for content in contents])
        self._contents, self.features = contents, {"image": self.Feature()}

    def cast_column(self, name: str, feature: Feature) -> Rows:
        assert not feature.decode
        return Rows([{name: {"bytes": content, "path": "x.png"}} for content in self._contents])


def use_hub(monkeypatch: pytest.MonkeyPatch, rows: Any) -> None:
    library = types.ModuleType("datasets")
    found = rows if isinstance(rows, Rows) else Rows(rows)
    library.load_dataset = lambda *_, **__: found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (OSError("truncated"), "cannot be read (OSError: truncated)"),
        (struct.error("short\nand more"), "cannot be read (error: short)"),
        ({"image": None, "y": 0}, "is a NoneType"),
        ({"image": {"bytes": None, "path": None}, "y": 0}, "is a NoneType"),
        ({"image": picture(1), "y": None}, "has the label None"),
        ({"image": picture(1), "y": "cat"}, "has the label 'cat'"),
        ({"image": picture(1), "y": 0.5}, "has the label 0.5"),
    ],
)
def test_a_broken_row_of_the_hub_is_one_sentence(row: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, [{"image": picture(1), "y": 0}, row])
    assert f"image 1 of x {sentence}" in refusal("huggingface", target(2), dataset="x", label="y")


def test_the_hub_pictures_are_decoded_here_and_not_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub(monkeypatch, Encoded([encoded(1), encoded(2)]))
    assert first_pixels(read("huggingface", target(2), dataset="x")) == [1, 2]
    use_hub(monkeypatch, Encoded([encoded(1), animated("PNG")]))
    assert "image 1 of x holds 2 pictures" in refusal("huggingface", target(2), dataset="x")


def test_the_hub_may_name_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded(7))
    for name, result in {"a.png": [7], "b.png": None}.items():
        use_hub(monkeypatch, [{"image": {"bytes": None, "path": str(tmp_path / name)}}])
        if result:
            assert first_pixels(read("huggingface", target(1), dataset="x")) == result
        else:
            assert "b.png cannot be read" in refusal("huggingface", target(1), dataset="x")


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (OSError("truncated"), "cannot be read (OSError: truncated)"),
        (RuntimeError("File not found\nor corrupted"), "cannot be read (RuntimeError: File not found)"),
        ((None, 0), "is a NoneType"),
        ((picture(1),), "cannot be read (ValueError"),
        ((picture(1), "cat"), "has the label 'cat'"),
        ((picture(1), None), "has the label None"),
        ((picture(1, size=(5, 4)), 0), "has 5x4 pixels"),
        ((picture(1).convert("RGBA"), 0), "has the colour mode RGBA"),
        ((Image.open(io.BytesIO(deep_png())), 0), "has 16 bits a channel"),
        ((Image.open(io.BytesIO(animated("WEBP"))), 0), "holds 2 pictures"),
    ],
)
def test_a_broken_item_of_torchvision_is_one_sentence(
    item: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(torchvision.datasets.FakeData):
        def __init__(self) -> None:
            super().__init__(size=2)

        def __getitem__(self, index: int) -> Any:
            if index == 0:
                return picture(1), 0
            if isinstance(item, Exception):
                raise item
            return item

    monkeypatch.setattr(torchvision.datasets, "FakeData", Broken)
    assert f"image 1 of torchvision's FakeData {sentence}" in refusal(
        "torchvision", target(2, source="all"), dataset="FakeData"
    )


@pytest.mark.parametrize(
    ("archive", "content"),
    [("MNIST/raw/train-images-idx3-ubyte", b""), ("MNIST/raw/train-images-idx3-ubyte", b"\0\0\x08\3no"), ("x", b"")],
)
def test_a_broken_archive_of_torchvision_is_one_sentence(archive: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / archive).parent.mkdir(parents=True, exist_ok=True)
    for name in (archive, archive.replace("images-idx3", "labels-idx1")):
        (tmp_path / name).write_bytes(content)
    said = refusal("torchvision", target(2, channels=1), dataset="MNIST", root=str(tmp_path))
    assert "torchvision's MNIST cannot be opened (" in said


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (np.full((2, 4, 4), np.nan), [0, 1], "values from nan"),
        (np.full((2, 4, 4), -1.0), [0, 1], "values from -1"),
        (np.full((2, 4, 4), 99.0), [0, 1], "values from 99"),
        (np.zeros((2, 5, 4)), [0, 1], "images of shape [1, 5, 4]"),
        (np.zeros((2, 16)), [0, 1], "gives images that are no numbers"),
        (np.array([["a"] * 4] * 2), [0, 1], "gives images that are no numbers"),
        (np.zeros((1, 4, 4)), [0], "found 1 images; expected 2"),
        (np.zeros((2, 4, 4)), ["cat", "dog"], "gives labels that are no whole numbers"),
        (np.zeros((2, 4, 4)), [0], "gives labels that are no whole numbers"),
    ],
)
def test_a_broken_set_of_scikit_learn_is_one_sentence(
    images: np.ndarray, labels: list[Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bunch = types.SimpleNamespace(images=images, target=np.array(labels))
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: bunch)
    said = refusal("sklearn", target(2, source="0:2", channels=1), loader="load_sample_images", maximum=16)
    assert sentence in said


@pytest.mark.parametrize("ending", [".bmp", ".tif", ".tiff", ".jfif", ".jpe", ".BMP"])
def test_further_endings_are_read(ending: str, tmp_path: Path) -> None:
    kind = "JPEG" if ending.startswith(".j") else {".bmp": "BMP"}.get(ending.lower(), "TIFF")
    (tmp_path / f"a{ending}").write_bytes(encoded(128, kind))
    pixels = read("image-folder", target(1, **WANTED), path=str(tmp_path))
    assert abs(first_pixels(pixels)[0] - 128) <= (2 if kind == "JPEG" else 0)
    assert pixels.passed_over == ""


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    for name, value in {"cat": 1, "dog": 2}.items():
        (tmp_path / "store" / name).mkdir(parents=True)
        (tmp_path / "store" / name / "a.png").write_bytes(encoded(value))
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "set" / "dog" / "b.png").symlink_to(tmp_path / "store" / "cat" / "a.png")
    pixels = read("image-folder", target(3, labels=2, source="."), path=str(tmp_path / "set"))
    assert first_pixels(pixels) == [1, 2, 1]
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [0, 1, 1]


def test_a_changed_file_in_a_linked_folder_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "store")
    reader, wanted = READERS["image-folder"](path=str(tmp_path / "set")), target(None, **WANTED)
    (tmp_path / "store" / "a.png").write_bytes(encoded(1))
    before = reader.file_stamp(wanted)
    (tmp_path / "store" / "b.png").write_bytes(encoded(2))
    assert len(reader.file_stamp(wanted)) == len(before) + 1 == 2


def test_what_is_passed_over_is_counted_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "cat" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "a.png").write_bytes(encoded(1))
    for name in ("notes.txt", "more.TXT", "b.gif", ".hidden.png", "README"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cat" / "deep" / "loop").symlink_to(tmp_path / "cat")
    pixels = read("image-folder", target(1, **WANTED), path=str(tmp_path))
    assert pixels.passed_over.startswith(
        f"{tmp_path}: passed over 7 of 8 files (1 a link that leads nowhere, 1 a link to a folder above it, 1 hidden, "
        "1 that end in .gif, 2 that end in .txt, 1 without an ending); pictures that are read end in .bmp, "
    )


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    for here, there in (("a", "b"), ("b", "a")):
        (tmp_path / here).mkdir()
        (tmp_path / here / "x.png").write_bytes(encoded(ord(here)))
        (tmp_path / here / "to").symlink_to(tmp_path / there)
    pixels = read("image-folder", target(None, **WANTED), path=str(tmp_path))
    assert first_pixels(pixels) == [98, 97, 97, 98]  # a/to/x, a/x, b/to/x, b/x
    assert "2 a link to a folder above it" in pixels.passed_over


def test_too_few_found_says_what_was_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1))
    (tmp_path / "b.gif").write_bytes(b"GIF89a")
    said = refusal("image-folder", target(2, **WANTED), path=str(tmp_path))
    assert "found 1 images" in said
    assert "passed over 1 of 2 files (1 that end in .gif)" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every folder")
def test_a_folder_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(1))
    (tmp_path / "shut").mkdir(mode=0)
    pixels = read("image-folder", target(1, **WANTED), path=str(tmp_path))
    assert "1 a folder that cannot be opened" in pixels.passed_over


def test_a_split_says_once_what_was_passed_over(tmp_path: Path, logged: Logged) -> None:
    (tmp_path / "pictures").mkdir()
    for index in range(2):
        (tmp_path / "pictures" / f"{index}.png").write_bytes(encoded(index))
    (tmp_path / "pictures" / "notes.txt").write_text("x")
    card = load_card(write_card(tmp_path, EIGHT_LINES))
    for _ in range(2):
        load_split(card, "train")
    (said,) = [one for one in logged.messages if "passed over" in one]
    assert said.startswith('data set "mine", split "train": ')


def struct_column(cells: list[dict[str, Any] | None]) -> pa.Array:
    return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


COLUMNS: dict[str, Callable[[], pa.Array]] = {
    "binary": lambda: pa.array([encoded(1), encoded(2), encoded(1)], pa.binary()),
    "large binary": lambda: pa.array([encoded(1), encoded(2), encoded(1)], pa.large_binary()),
    "binary view": lambda: pa.array([encoded(1), encoded(2), encoded(1)], pa.binary_view()),
    "dictionary": lambda: pa.array([encoded(1), encoded(2), encoded(1)], pa.binary()).dictionary_encode(),
    "fixed size": lambda: pa.array(
        [one.ljust(200, b"\0") for one in (encoded(1), encoded(2), encoded(1))], pa.binary(200)
    ),
    "struct": lambda: struct_column([{"bytes": encoded(value), "path": "x"} for value in (1, 2, 1)]),
    "struct of a view": lambda: pa.array(
        [{"bytes": encoded(value)} for value in (1, 2, 1)], pa.struct([("bytes", pa.binary_view())])
    ),
    "struct of a dictionary": lambda: pa.StructArray.from_arrays(
        [pa.array([encoded(1), encoded(2), encoded(1)], pa.binary()).dictionary_encode()], ["bytes"]
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_parquet_columns_of_every_kind_are_read(kind: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": COLUMNS[kind]()}), tmp_path / "train.parquet")
    assert first_pixels(read("parquet", target(3), path=str(tmp_path))) == [1, 2, 1]


def test_parquet_files_in_a_linked_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": COLUMNS["binary"]()}), tmp_path / "store" / "train-0.parquet")
    (tmp_path / "set" / "data").symlink_to(tmp_path / "store")
    assert first_pixels(read("parquet", target(3), path=str(tmp_path / "set"))) == [1, 2, 1]


def test_parquet_labels_may_be_a_dictionary(tmp_path: Path) -> None:
    columns = {
        "image": pa.array([encoded(1), encoded(2)], pa.binary()),
        "y": pa.array([7, 3], pa.int64()).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    pixels = read("parquet", target(2), path=str(tmp_path), label="y")
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [7, 3]


def test_parquet_cells_without_bytes_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(encoded(9))
    cells = [{"bytes": encoded(1), "path": "b.png"}, {"bytes": None, "path": "pictures/a.png"}]
    pq.write_table(pa.table({"image": struct_column(cells)}), tmp_path / "train.parquet")
    assert first_pixels(read("parquet", target(2), path=str(tmp_path))) == [1, 9]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (struct_column([{"bytes": None, "path": "absent.png"}]), "has no bytes and names the picture 'absent.png'"),
        (struct_column([{"bytes": None, "path": "../secret.png"}]), "names the picture '../secret.png'"),
        (struct_column([{"bytes": None, "path": "/etc/passwd"}]), "names the picture '/etc/passwd'"),
        (struct_column([{"bytes": None, "path": None}]), "row 0 of"),
        (struct_column([None]), "is empty; expected an encoded picture"),
        (pa.array([None], pa.binary()), "is empty; expected an encoded picture"),
        (pa.array(["a.png"]), "has the type string"),
        (pa.array([[1, 2]]), "has the type list<"),
        (pa.array([{"path": "a.png"}]), "has the type struct<path: string>"),
        (pa.array([{"bytes": "text"}]), "has the type struct<bytes: string>"),
        (pa.array(["a", "a"]).dictionary_encode()[:1], "has the type string"),
        (pa.array([1.5]), "has the type double"),
        (pa.array([None]), "has the type null"),
    ],
)
def test_a_column_that_holds_no_pictures_is_one_sentence(column: pa.Array, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(1))
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": column}), tmp_path / "set" / "train.parquet")
    assert sentence in refusal("parquet", target(1), path=str(tmp_path / "set"))


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + bytes(40) + b"PAR1", b"not parquet at all", b"PAR1\xff\xff\xff\x7fPAR1"],
)
def test_a_broken_parquet_file_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    assert f"{tmp_path}/train.parquet is damaged (" in refusal("parquet", target(1), path=str(tmp_path))
