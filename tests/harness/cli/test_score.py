"""The verb `score`: closed forms, the rows of a run scored again, and what it refuses in one sentence."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from kit.cli_kit import Command
from kit.own_images_kit import pictures, write_npz, write_pictures
from PIL import Image

import harness
from harness.cli.reference import write_reference, write_shipped
from harness.cli.score import ImageScore, score_images
from harness.config.suite import Suite
from harness.data import shipped_reference
from harness.data.cards import load_card
from harness.data.own_images import open_own_images
from harness.data.splits import load_split
from harness.errors import UsageError
from harness.stats import GROUPS

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "methods/networks/zoo/unet-8/weights.safetensors"
N, BATCH = 80, 40
SUITE: dict[str, Any] = {
    "name": "small", "title": "t", "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn",
    "n_images": N, "batch": BATCH, "baseline": {"clock_steps": 2}, "timing": {"tier": "smoke"},
    "networks": {"unet-8": {"weights": str(WEIGHTS)}}, "trials": [{"steps": 2}],
}  # fmt: skip
FIGURES = (
    "fid", "fid_low", "fid_high", "fid_floor", "fid_least", "kid", "kid_se",
    "precision", "precision_low", "precision_high", "recall", "recall_low", "recall_high",
)  # fmt: skip


def reference_pixels(dataset: str) -> np.ndarray:
    card = load_card(dataset)
    return load_split(card, card.reference).images


def scored(place: Path, dataset: str, extractor: str | None = "pixels") -> ImageScore:
    return score_images(place, dataset, extractor, None)


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of one Gaussian of 4x4 pixels, with few images."""
    text = (ROOT / "datasets/gaussian.toml").read_text(encoding="utf-8").partition("[splits.train]")[0]
    path = tmp_path_factory.mktemp("card") / "gaussian.toml"
    path.write_text(text + '[splits.train]\nn = 2000\nsource = "0:2000"\n', encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The row of a run."""
    tables = harness.run(
        Suite.model_validate(SUITE), results=tmp_path_factory.mktemp("run"), in_process=True, quiet=True, report=False
    )
    (found,) = tables.trials.to_dict(orient="records")
    assert found["verdict"] == "VALID", found["reasons"]
    return dict(found)


@pytest.fixture(scope="module")
def made() -> np.ndarray:
    """The images of that row, uint8 [n, 1, 8, 8], by a sampler that is built by hand."""
    sampler = harness.make_sampler("zoo:unet-8", solver="ddim", schedule="edm", steps=2)
    return np.concatenate([sampler.images(range(first, first + BATCH)).numpy() for first in range(0, N, BATCH)])


@pytest.mark.parametrize("form", ["folder", "adm", "channels-first", "compressed"])
def test_images_of_a_run_have_the_figures_of_their_row_to_the_last_digit(
    form: str, row: dict[str, Any], made: np.ndarray, tmp_path: Path
) -> None:
    place = tmp_path / "images.npz"
    if form == "folder":
        place = write_pictures(tmp_path / "images", made)
    else:
        write_npz(place, made, channels_last=form == "adm", compressed=form == "compressed")
    found = scored(place, "digits", None)
    assert found.images_sha256 == row["images_sha256"]
    assert {name: found.quality.figures[name] for name in FIGURES} == {name: row[name] for name in FIGURES}
    for name in ("fid", "precision", "recall"):
        assert found.intervals()[name] == (row[f"{name}_low"], row[f"{name}_high"])


def test_another_order_or_other_pixels_are_seen(row: dict[str, Any], made: np.ndarray, tmp_path: Path) -> None:
    other = made.copy()
    other[3, 0, 4, 4] ^= 255
    write_npz(tmp_path / "other.npz", other)
    found = scored(tmp_path / "other.npz", "digits", None)
    assert found.images_sha256 != row["images_sha256"]
    assert abs(found.quality.figures["fid"] - row["fid"]) > 1e-6


def test_a_shift_of_all_pixels_has_its_closed_form(gaussian: str, tmp_path: Path) -> None:
    """Equal covariances: FID is the squared distance of the means, d (c / 127.5)^2."""
    pixels = reference_pixels(gaussian)
    shift = min(20, 255 - int(pixels.max()))
    assert shift > 3
    write_npz(tmp_path / "a.npz", pixels + np.uint8(shift))
    fid = scored(tmp_path / "a.npz", gaussian).quality.figures["fid"]
    assert fid == pytest.approx(16 * (shift / 127.5) ** 2, rel=1e-6)  # features are float32


def test_a_scaled_gaussian_has_its_closed_form(gaussian: str, tmp_path: Path) -> None:
    """Gaussians N(m, s^2 I) in d = 16: FID is |m1 - m2|^2 + d (s1 - s2)^2; here by the drawn moments, too."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 0.3, (2000, 1, 4, 4))
    pixels = np.clip(np.round((values + 1) * 127.5), 0, 255).astype(np.uint8)
    write_npz(tmp_path / "a.npz", pixels)
    found = scored(tmp_path / "a.npz", gaussian)
    fid = found.quality.figures["fid"]

    # by scipy's square root of a matrix
    ours, others = ((one.reshape(len(one), -1) / 127.5 - 1) for one in (pixels, reference_pixels(gaussian)))
    first, second = np.cov(ours.T), np.cov(others.T)
    root = scipy.linalg.sqrtm(first @ second).real
    known = ((ours.mean(0) - others.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert fid == pytest.approx(known, rel=1e-6)

    # by the law itself
    law = load_card(gaussian).arguments.distribution()
    (mean,), (std,) = law["means"], law["stds"]
    by_law = ((0.1 - np.array(mean)) ** 2).sum() + 16 * (0.3 - std) ** 2
    low, high = found.intervals()["fid"]
    assert fid == pytest.approx(by_law, rel=0.05)
    assert low < fid < high
    assert high - low < 0.2 * fid
    assert len(found.quality.replicates) == GROUPS


def test_kid_precision_and_recall_are_those_of_their_definitions(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = np.clip(reference_pixels("digits")[:300] + rng.integers(-9, 9, (300, 1, 8, 8)), 0, 255).astype(np.uint8)
    write_npz(tmp_path / "a.npz", pixels)
    figures = scored(tmp_path / "a.npz", "digits").quality.figures
    x, y = ((one.reshape(len(one), -1) / 127.5 - 1) for one in (pixels, reference_pixels("digits")))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result: np.ndarray = (a @ b.T / 64 + 1) ** 3
        return result

    def off_diagonal(k: np.ndarray) -> float:
        return float((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)))

    known = off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()
    assert figures["kid"] == pytest.approx(known, rel=1e-4, abs=1e-9)

    y = y[np.arange(300) * len(y) // 300]
    between = np.linalg.norm(x[:, None] - y[None], axis=2)
    radius = [np.sort(np.linalg.norm(one[:, None] - one[None], axis=2), axis=1)[:, 3] for one in (x, y)]
    assert figures["precision"] == pytest.approx((between <= radius[1][None]).any(1).mean(), abs=0.01)
    assert figures["recall"] == pytest.approx((between <= radius[0][:, None]).any(0).mean(), abs=0.01)


def test_the_reference_itself_is_found_out(command: Command, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", reference_pixels("digits"))
    said = command("score", tmp_path / "a.npz", "--dataset", "digits", "--json")
    found = json.loads(said.out)
    assert found["figures"]["fid"] == pytest.approx(0, abs=1e-6)
    assert (found["figures"]["precision"], found["figures"]["recall"]) == (1, 1)
    assert any("of the images are copies of reference images" in one for one in found["cautions"])
    assert any("once in a million draws" in one for one in found["cautions"])


def test_json_holds_figures_and_all_that_they_depend_on(command: Command, made: np.ndarray, tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "images", made)
    said = command("score", place, "--dataset", "digits", "--json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert set(found["figures"]) == set(FIGURES)
    assert set(found["intervals"]) == {"fid", "kid", "precision", "recall"}
    low, high = found["intervals"]["kid"]
    assert low < found["figures"]["kid"] < high
    assert found["extractor"]["name"] == "digits-cnn"
    assert found["reference"] == f"split train {load_split(load_card('digits'), 'train').fingerprint}"
    assert (found["n_images"], found["reference_n"]) == (N, len(reference_pixels("digits")))
    assert (found["cautions"], found["not_measured"]) == ([], [])


def test_lines_show_each_figure_with_its_interval(command: Command, made: np.ndarray, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", made)
    said = command("score", tmp_path / "a.npz", "--dataset", "digits")
    figures = scored(tmp_path / "a.npz", "digits", None).quality.figures
    lines = said.out.splitlines()
    assert lines[0].startswith(f"80 images of {tmp_path / 'a.npz'} against 1,500 images of digits, split train ")
    fid, low, high, floor = (f"{figures[name]:.6g}" for name in ("fid", "fid_low", "fid_high", "fid_floor"))
    assert lines[2] == f"FID        {fid}  [{low}, {high}]  floor {floor}"
    assert [line.split()[0] for line in lines[2:]] == ["FID", "KID", "precision", "recall"]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference("digits", tmp_path_factory.mktemp("reference") / "digits.npz", None)


def test_a_file_of_statistics_stands_for_the_pictures(made: np.ndarray, ours: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", made)
    with_pictures = scored(tmp_path / "a.npz", "digits", None).quality
    assert score_images(tmp_path / "a.npz", "digits", None, ours).quality.figures == with_pictures.figures

    # of the field: mean and covariance alone
    field = tmp_path / "mu-sigma.npz"
    with np.load(ours) as arrays:
        np.savez(field, mu=arrays["mu"], sigma=arrays["sigma"])
    found = score_images(tmp_path / "a.npz", "digits", "digits-cnn", field)
    assert found.quality.figures["fid"] == pytest.approx(with_pictures.figures["fid"], rel=1e-9)
    assert "kid" not in found.quality.figures
    assert any(one.startswith("no KID") for one in found.quality.reasons)
    assert found.reference.startswith("statistics ")


def test_statistics_that_do_not_say_what_made_them_want_the_extractor(
    command: Command, made: np.ndarray, ours: Path, tmp_path: Path
) -> None:
    write_npz(tmp_path / "a.npz", made)
    with np.load(ours) as arrays:
        np.savez(tmp_path / "field.npz", mu=arrays["mu"], sigma=arrays["sigma"])
    words = ("score", tmp_path / "a.npz", "--dataset", "digits", "--reference")
    for name, sentence in {
        "field.npz": "does not say which feature network made it",
        "absent.npz": "found no file",
    }.items():
        said = command(*words, tmp_path / name)
        assert (said.code, len(said.err.splitlines())) == (2, 1)
        assert sentence in said.err


def test_what_is_odd_is_said_and_the_figures_still_come(command: Command, made: np.ndarray, tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "images", made, kind="JPEG", ending=".jpg")
    (place / "log.txt").write_text("no picture")
    (place / "more.gif").write_bytes(b"GIF89a")
    said = command("score", place, "--dataset", "digits")
    assert said.code == 0
    notes = said.err.splitlines()
    assert len(notes) == 2
    assert "passed over 2 of 82 files (1 that end in .gif, 1 that end in .txt)" in notes[0]
    assert "80 of the 80 pictures" in notes[1]
    assert "FID of saved JPEGs is off" in notes[1]
    assert "FID " in said.out


@pytest.mark.parametrize(("lossless", "is_said"), [(True, False), (False, True)])
def test_only_lossy_webp_is_cautioned_of(lossless: bool, is_said: bool, made: np.ndarray, tmp_path: Path) -> None:
    place = write_pictures(tmp_path / "images", made, kind="WEBP", ending=".webp", lossless=lossless, mode="RGB")
    card = load_card("digits").model_copy(update={"channels": 3})
    assert any("lossy WebP" in one for one in open_own_images(place, card).cautions) is is_said


def _spoil(change: Callable[[Path], object]) -> Callable[[Path, np.ndarray], Path]:
    """Return what writes a folder of pictures and spoils it."""

    def write(folder: Path, images: np.ndarray) -> Path:
        place = write_pictures(folder / "images", images)
        change(place)
        return place

    return write


def _archive(content: Callable[[np.ndarray], dict[str, Any]]) -> Callable[[Path, np.ndarray], Path]:
    def write(folder: Path, images: np.ndarray) -> Path:
        np.savez(folder / "images.npz", **content(images))
        return folder / "images.npz"

    return write


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, np.ndarray], Path]:
    def write(folder: Path, images: np.ndarray) -> Path:
        place = folder / "images.npz"
        np.savez(place, images)
        place.write_bytes(change(place.read_bytes()))
        return place

    return write


def _empty(folder: Path, _: np.ndarray) -> Path:
    (folder / "images").mkdir()
    return folder / "images"


def _only_text(folder: Path, images: np.ndarray) -> Path:
    place = _empty(folder, images)
    (place / "readme.txt").write_text("none")
    return place


def _file(folder: Path, _: np.ndarray) -> Path:
    (folder / "images.pt").write_bytes(b"no npz")
    return folder / "images.pt"


FAULTS: dict[str, tuple[Callable[[Path, np.ndarray], Path], str]] = {
    "absent": (lambda folder, _: folder / "nowhere", "nowhere; expected a folder of pictures, or an npz"),
    "other file": (_file, "is neither a folder nor an npz"),
    "empty folder": (_empty, "found no picture in"),
    "no picture": (_only_text, "passed over 1 of 1 files (1 that end in .txt)"),
    "too few": (lambda folder, images: write_pictures(folder / "images", images[:64]), "found 64 images in"),
    "mixed sizes": (
        _spoil(lambda place: Image.new("L", (9, 8)).save(place / "z.png")),
        "pictures of mixed sizes (80 of 8x8, 1 of 9x8); expected all of 8x8",
    ),
    "another size": (
        lambda folder, images: write_pictures(folder / "images", np.repeat(images, 2, axis=2)),
        "pictures of other sizes (80 of 8x16); expected all of 8x8",
    ),
    "colour for grey": (
        _spoil(lambda place: Image.new("RGB", (8, 8)).save(place / "z.png")),
        "1 of the 81 pictures",
    ),
    "transparent": (_spoil(lambda place: Image.new("LA", (8, 8)).save(place / "z.png")), "the mode LA"),
    "16 bits": (_spoil(lambda place: Image.new("I;16", (8, 8)).save(place / "z.png")), "z.png has 16 bits a channel"),
    "animated": (
        _spoil(
            lambda place: Image.new("L", (8, 8)).save(
                place / "z.png", save_all=True, append_images=[Image.new("L", (8, 8), 9)]
            )
        ),
        "z.png holds 2 pictures",
    ),
    "no bytes": (_spoil(lambda place: (place / "z.png").write_bytes(b"")), "z.png cannot be decoded"),
    "text": (_spoil(lambda place: (place / "z.png").write_text("hello")), "z.png cannot be decoded"),
    "cut short": (
        _spoil(lambda place: (place / "z.png").write_bytes((place / "00003.png").read_bytes()[:60])),
        "z.png cannot be decoded",
    ),
    "npz of nothing": (_archive(lambda _: {}), "holds nothing; expected arr_0"),
    "npz of other names": (_archive(lambda images: {"samples": images}), "holds samples; expected arr_0"),
    "npz of floats": (_archive(lambda images: {"arr_0": images / 255.0}), "is float64; expected uint8"),
    "npz of objects": (
        _archive(lambda images: {"arr_0": np.array([{}, 3], dtype=object)}),
        "is object; expected uint8",
    ),
    "npz of another size": (
        _archive(lambda images: {"arr_0": np.repeat(images, 2, axis=2)}),
        "has the shape [80, 1, 16, 8]; expected [n, 8, 8, 1] or [n, 1, 8, 8]",
    ),
    "npz in colour": (_archive(lambda images: {"arr_0": np.repeat(images, 3, axis=1)}), "has the shape [80, 3, 8, 8]"),
    "npz without channels": (_archive(lambda images: {"arr_0": images[:, 0]}), "has the shape [80, 8, 8]"),
    "npz of no image": (_archive(lambda images: {"arr_0": images[:0]}), "has the shape [0, 1, 8, 8]"),
    "npz of few": (_archive(lambda images: {"arr_0": images[:64]}), "found 64 images in"),
    "npz by columns": (_archive(lambda images: {"arr_0": np.asfortranarray(images)}), "Fortran's order"),
    "npz cut short": (_bytes(lambda content: content[:-80]), "found no sound npz"),
    "npz of no bytes": (_bytes(lambda _: b""), "found no sound npz"),
    "npz with a flipped byte": (
        _bytes(lambda content: content[:2000] + bytes([content[2000] ^ 255]) + content[2001:]),
        "found no sound npz (Bad CRC-32",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_scored_is_refused_in_one_sentence(
    fault: str, command: Command, made: np.ndarray, tmp_path: Path
) -> None:
    write, sentence = FAULTS[fault]
    said = command("score", write(tmp_path, made), "--dataset", "digits")
    assert (said.code, said.out) == (2, "")
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1
    assert len(said.err) < 500


def test_grey_pictures_are_no_images_of_a_colour_data_set(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tmp_path / "colours.toml"
    write_pictures(tmp_path / "pictures", pictures(60, channels=3, side=4))
    card.write_text(
        'name = "colours"\ntitle = "t"\nreader = "image-folder"\narguments = { path = "pictures" }\nresolution = 4\n'
        'channels = 3\nsplits.train = { source = "." }\nlicence = "mine"\n'
    )
    place = write_pictures(tmp_path / "own", pictures(60, channels=3, side=4, seed=1))
    words = ("score", place, "--dataset", card, "--extractor", "pixels")
    assert command(*words).code == 0
    Image.new("L", (4, 4)).save(place / "z.png")
    said = command(*words)
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert "1 of the 61 pictures" in said.err
    assert "z.png, the mode L; expected colour (PIL's mode RGB)" in said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--dataset", "digit"), 'did you mean "digits"'),
        (("--dataset", "digits", "--extractor", "cifar10-cnn"), "was made for 32x32 pictures"),
        (("--dataset", "digits", "--extractor", "dinov2"), "needs its weights file"),
        (("--dataset", "cifar10"), "expected all of 32x32"),
        ((), "Missing option '--dataset'"),
    ],
)
def test_other_mistakes_are_one_sentence(
    words: tuple[str, ...], sentence: str, command: Command, made: np.ndarray, tmp_path: Path
) -> None:
    said = command("score", write_pictures(tmp_path / "images", made), *words)
    assert said.code == 2
    assert sentence in said.err
    assert len(said.err.splitlines()) == 1


def test_an_npz_is_never_held_whole(tmp_path: Path) -> None:
    n = 60_000
    np.savez_compressed(tmp_path / "a.npz", np.zeros((n, 8, 8, 1), dtype=np.uint8))
    card = load_card("digits")
    tracemalloc.start()
    try:
        total = sum(len(block) for block in open_own_images(tmp_path / "a.npz", card).read_blocks(512))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == n
    assert peak < n * 64 / 4


def test_a_fetched_feature_network_is_found_without_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there is no network, so it is refused by its name: it was looked at."""
    name = "weights-inception-2015-12-05-6726825d.pth"
    monkeypatch.setenv("ONECLOCK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError) as before:
        scored(write_pictures(tmp_path / "own", pictures(3)), "digits", "inception-v3-compat")
    fetched = tmp_path / "cache" / "files" / "inception" / name
    fetched.parent.mkdir(parents=True)
    fetched.write_bytes(b"no network")
    with pytest.raises(UsageError, match="cache/files/inception/"):
        scored(tmp_path / "own", "digits", "inception-v3-compat")
    assert "cache/files" not in str(before.value)


def test_a_reference_set_that_ships_is_taken_without_pictures(
    made: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_pictures(tmp_path / "images", made)
    by_pictures = score_images(place, "digits", None, None)
    monkeypatch.setattr(shipped_reference, "_FOLDER", tmp_path / "references")
    write_shipped("digits", None)
    monkeypatch.setattr("harness.cli.score.load_split", None)
    found = score_images(place, "digits", None, None)
    assert found.reference == f"{by_pictures.reference}, its features shipped"
    assert found.quality.figures["fid"] == by_pictures.quality.figures["fid"]
    assert found.quality.figures["recall"] == pytest.approx(by_pictures.quality.figures["recall"], abs=0.01)
