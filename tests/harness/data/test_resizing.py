"""Resize recipes of papers: hand-computed pixels, and the same pixels as references written another way."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision.transforms as tv
from kit.reader_kit import read, refusal, target
from PIL import Image

from harness.data.readers.resizing import (
    PAPER_RECIPES,
    resize_adm,
    resize_celeba_128,
    resize_edm,
    resize_short_bilinear,
)

SIZES = [(8, 8), (33, 20), (21, 34), (16, 70), (47, 16), (19, 17), (5, 9), (27, 40)]


def noisy(size: tuple[int, int]) -> Image.Image:
    drawn = np.random.default_rng(size[0] * 1000 + size[1]).integers(0, 256, (size[1], size[0], 3))
    return Image.fromarray(drawn.astype(np.uint8))


def columns(*values: int, height: int) -> Image.Image:
    return Image.fromarray(np.tile(np.array(values, np.uint8), (height, 1)))


def same(found: Image.Image, expected: np.ndarray | Image.Image) -> bool:
    return np.array_equal(np.asarray(found), np.asarray(expected))


def adm_by_arrays(picture: Image.Image, side: int) -> np.ndarray:
    """ADM's rule with whole-array slices, the number of halvings counted beforehand."""
    halvings = 0
    while min(picture.size) // 2 ** (halvings + 1) >= side:
        halvings += 1
    for _ in range(halvings):
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    short = min(picture.size)
    sizes = [round(length * (side / short)) for length in picture.size]
    pixels = np.asarray(picture.resize((sizes[0], sizes[1]), Image.Resampling.BICUBIC))
    cut = [(length - side) // 2 for length in pixels.shape[:2]]
    return pixels[cut[0] : cut[0] + side, cut[1] : cut[1] + side]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [4, 8])
def test_adm_equals_the_rule_on_arrays(size: tuple[int, int], side: int) -> None:
    assert same(resize_adm(noisy(size), side), adm_by_arrays(noisy(size), side))


def test_adm_halves_by_boxes_before_it_crops() -> None:
    # 8x4 to 4x2: means of pairs; no bicubic is left to do; the crop starts at (4 - 2) // 2 = 1
    assert np.asarray(resize_adm(columns(0, 10, 20, 30, 40, 50, 60, 70, height=4), 2)).tolist() == [[25, 45]] * 2
    # offset of an odd rest is rounded down: 5 wide, 2 high, columns 1 and 2
    assert np.asarray(resize_adm(columns(0, 10, 20, 30, 40, height=2), 2)).tolist() == [[10, 20]] * 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [4, 8])
def test_edm_equals_the_rule_on_arrays(size: tuple[int, int], side: int) -> None:
    pixels = np.asarray(noisy(size))
    high, wide = pixels.shape[:2]
    short = min(high, wide)
    square = pixels[(high - short) // 2 : (high + short) // 2, (wide - short) // 2 : (wide + short) // 2]
    expected = Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)
    assert same(resize_edm(noisy(size), side), expected)


def test_edm_takes_the_centred_square() -> None:
    assert np.asarray(resize_edm(columns(0, 10, 20, 30, 40, height=2), 2)).tolist() == [[10, 20]] * 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [4, 8])
def test_short_bilinear_equals_torchvision(size: tuple[int, int], side: int) -> None:
    expected = tv.Compose([tv.Resize(side), tv.CenterCrop(side)])(noisy(size))
    assert same(resize_short_bilinear(noisy(size), side), expected)


def test_short_bilinear_rounds_the_offset_and_cuts_the_size() -> None:
    # 5 wide, 2 high: the offset of 1.5 rounds to 2, where ADM's floor takes column 1
    assert np.asarray(resize_short_bilinear(columns(0, 10, 20, 30, 40, height=2), 2)).tolist() == [[20, 30]] * 2
    # 2x2 boxes of a triangle filter of support 2: (1, 3, 3, 1) / 8, at the ends (3, 3, 1) / 7
    found = np.asarray(resize_short_bilinear(columns(0, 0, 80, 80, height=4), 2))
    assert found.tolist() == [[round(80 / 7), round(80 * 6 / 7)]] * 2


def test_celeba_128_equals_torchvision_of_ddims_crop() -> None:
    def crop(picture: Image.Image) -> Image.Image:
        return tv.functional.crop(picture, 121 - 64, 89 - 64, 128, 128)

    for side in (8, 64):
        expected = tv.Compose([crop, tv.Resize(side)])(noisy((178, 218)))
        assert same(resize_celeba_128(noisy((178, 218)), side), expected)


def test_celeba_128_takes_rows_57_to_184_and_columns_25_to_152() -> None:
    pixels = np.zeros((218, 178), np.uint8)
    pixels[57:185, 25:153] = 200
    assert np.all(np.asarray(resize_celeba_128(Image.fromarray(pixels), 4)) == 200)
    pixels[57, 25:153] = pixels[184, 25:153] = 100
    whole = np.asarray(resize_celeba_128(Image.fromarray(pixels), 128))
    assert np.all(whole[[0, 127]] == 100)
    assert np.all(whole[1:127] == 200)


def test_the_recipes_give_different_pixels() -> None:
    found = {name: np.asarray(recipe(noisy((178, 218)), 16)).tobytes() for name, recipe in PAPER_RECIPES.items()}
    assert len(set(found.values())) == len(PAPER_RECIPES) == 4


@pytest.mark.parametrize("name", sorted(PAPER_RECIPES))
def test_readers_follow_the_recipe_of_the_card(tmp_path: Path, name: str) -> None:
    noisy((178, 218)).save(tmp_path / "a.png")
    pixels = read("image-folder", target(1, labels=0, source=".", resolution=16), path=str(tmp_path), resize=name)
    expected = np.asarray(PAPER_RECIPES[name](noisy((178, 218)), 16)).transpose(2, 0, 1)
    assert np.array_equal(pixels.images[0], expected)


@pytest.mark.parametrize("name", sorted(PAPER_RECIPES))
def test_parquet_cells_follow_the_recipe_of_the_card(tmp_path: Path, name: str) -> None:
    stream = io.BytesIO()
    noisy((178, 218)).save(stream, "PNG")
    pq.write_table(pa.table({"image": pa.array([stream.getvalue()], pa.binary())}), tmp_path / "a.parquet")
    pixels = read("parquet", target(1, labels=0, source="a.parquet", resolution=16), path=str(tmp_path), resize=name)
    expected = np.asarray(PAPER_RECIPES[name](noisy((178, 218)), 16)).transpose(2, 0, 1)
    assert np.array_equal(pixels.images[0], expected)


def test_celeba_128_refuses_other_sizes(tmp_path: Path) -> None:
    noisy((178, 178)).save(tmp_path / "a.png")
    said = refusal("image-folder", target(1, labels=0, source="."), path=str(tmp_path), resize="celeba-128")
    assert 'a.png has 178x178 pixels; expected 178x218, which resize = "celeba-128" needs' in said


def test_imagenets_cmyk_pictures_are_taken_by_its_recipes_only(tmp_path: Path) -> None:
    noisy((8, 8)).convert("CMYK").save(tmp_path / "a.jpg")
    wanted = target(1, labels=0, source=".")
    expected = resize_adm(Image.open(tmp_path / "a.jpg").convert("RGB"), 4)
    pixels = read("image-folder", wanted, path=str(tmp_path), resize="adm")
    assert np.array_equal(pixels.images[0], np.asarray(expected).transpose(2, 0, 1))
    for other in ("short-bilinear", "center-crop-box"):
        assert "has the colour mode CMYK" in refusal("image-folder", wanted, path=str(tmp_path), resize=other)
