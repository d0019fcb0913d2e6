"""Grids of pictures: what is written can be read back, and is large enough to be looked at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from harness.storage.sample_grid import encode_grid, read_pictures, write_grid


def random_pictures(n: int, channels: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, channels, height, width), dtype=np.uint8)


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    "shape",
    [(32, 1, 8, 8), (5, 1, 28, 28), (9, 3, 32, 32), (1, 3, 64, 64), (11, 1, 5, 90), (8, 3, 100, 70), (17, 1, 1, 1)],
)
def test_pictures_are_read_back_as_they_were(tmp_path: Path, shape: tuple[int, int, int, int]) -> None:
    pictures = random_pictures(*shape)
    write_grid(tmp_path / "samples" / "a.png", pictures)
    found = read_pictures((tmp_path / "samples" / "a.png").read_bytes())
    assert found is not None
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pictures)


@pytest.mark.parametrize(("side", "shown"), [(8, 64), (28, 84), (32, 64), (64, 64), (100, 100)])
def test_pictures_are_enlarged_to_64_pixels_and_lie_apart(side: int, shown: int) -> None:
    pixels = decode(encode_grid(np.zeros((16, 1, side, side), dtype=np.uint8)))
    dark = pixels == 0
    columns = np.flatnonzero(np.diff(dark.any(axis=0).astype(int)))
    lines = np.flatnonzero(np.diff(dark.any(axis=1).astype(int)))
    gaps = columns[1::2] - columns[::2]
    assert len(gaps) == 7
    assert len(lines) == 2
    assert (gaps >= 6).all()
    assert (lines[1] - lines[0]) >= 6
    assert dark[0].sum() == 8 * shown
    assert dark[:, 0].sum() == 2 * shown


def test_an_enlarged_pixel_is_a_square_of_its_own_value() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    pixels = decode(encode_grid(picture))
    np.testing.assert_array_equal(pixels, picture[0, 0].repeat(8, 0).repeat(8, 1))


def test_color_stays_color() -> None:
    pictures = random_pictures(2, 3, 64, 64)
    np.testing.assert_array_equal(decode(encode_grid(pictures))[:, :64], pictures[0].transpose(1, 2, 0))


def write_old(pictures: np.ndarray) -> bytes:
    """Return a grid as it was written before: eight columns without gaps, sides of about 32 pixels, no geometry."""
    n, channels, height, width = pictures.shape
    factor, rows = max(1, 32 // height), -(-n // 8)
    canvas = np.zeros((rows * 8, channels, height, width), dtype=np.uint8)
    canvas[:n] = pictures
    flat = canvas.reshape(rows, 8, channels, height, width).transpose(0, 3, 1, 4, 2)
    flat = flat.reshape(rows * height, 8 * width, channels).repeat(factor, 0).repeat(factor, 1)
    stream = io.BytesIO()
    Image.fromarray(flat[..., 0] if channels == 1 else flat).save(stream, format="PNG")
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(32, 1, 8, 8), (11, 3, 32, 32), (5, 1, 28, 28), (9, 1, 64, 64)])
def test_grids_of_earlier_results_are_read_too(shape: tuple[int, int, int, int]) -> None:
    pictures = random_pictures(*shape)
    found = read_pictures(write_old(pictures))
    assert found is not None
    np.testing.assert_array_equal(found, pictures)


def with_text(text: str) -> bytes:
    info, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("grid", text)
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(stream, format="PNG", pnginfo=info)
    return stream.getvalue()


_RIGHT = '{"count": 1, "channels": 1, "height": 8, "width": 8, "factor": 8, "gap": 8, "columns": 1}'


def test_what_is_no_whole_grid_is_none() -> None:
    assert read_pictures(with_text(_RIGHT)) is not None
    whole = encode_grid(random_pictures(4, 1, 8, 8))
    assert read_pictures(whole[: len(whole) // 2]) is None
    assert read_pictures(b"") is None
    assert read_pictures(b"\x89PNG\r\n\x1a\n grid") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "7", "null", _RIGHT.replace('"count": 1', '"count": 2'),
        _RIGHT.replace('"count": 1', '"count": 0'),
        _RIGHT.replace('"factor": 8', '"factor": 0'), _RIGHT.replace('"gap": 8', '"gap": -1'),
        _RIGHT.replace('"height": 8', '"height": "8"'), _RIGHT.replace('"columns": 1', '"columns": 0'),
        _RIGHT.replace('"channels": 1', '"channels": 3'), _RIGHT.replace('"count": 1', '"count": 1e99'),
    ],
)  # fmt: skip
def test_a_geometry_that_is_not_the_pictures_is_none(text: str) -> None:
    assert read_pictures(with_text(text)) is None


@pytest.mark.parametrize("shape", [(64, 63), (8, 64), (0, 0)])
def test_a_picture_of_another_form_is_none(shape: tuple[int, int]) -> None:
    stream = io.BytesIO()
    Image.new("L", (shape[1] or 7, shape[0] or 5), 200).save(stream, format="PNG")
    assert read_pictures(stream.getvalue()) is None


def test_a_picture_with_another_mode_is_none() -> None:
    stream = io.BytesIO()
    Image.new("RGBA", (256, 32), (200, 1, 1, 1)).save(stream, format="PNG")
    assert read_pictures(stream.getvalue()) is None
