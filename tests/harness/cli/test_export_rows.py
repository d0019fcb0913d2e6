"""The verbs `export images` and `export timings`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kit.cli_kit import Command
from PIL import Image

from harness import api
from harness.storage.sample_grid import read_pictures

REFERENCE = Path(__file__).resolve().parents[3] / "results/reference"
QUICK = REFERENCE / "quick"


def trial_id(name: str, folder: Path = QUICK) -> str:
    trials = api.load(folder).trials
    network, _, rest = name.partition(":")
    method, _, steps = rest.rpartition("-")
    found = trials[(trials["network"] == network) & (trials["method"] == method) & (trials["steps"] == int(steps))]
    return str(found["trial_id"].iloc[0])


def test_images_are_those_of_the_grid_at_their_own_size(command: Command, tmp_path: Path) -> None:
    said = command("export", "images", "unet-16:unipc-10", "--results", QUICK, "--to", tmp_path / "new")
    assert said.code == 0
    paths = [Path(line) for line in said.out.splitlines()]
    pictures = read_pictures((QUICK / "samples" / f"{trial_id('unet-16:unipc-10')}.png").read_bytes())
    assert pictures is not None
    assert len(paths) == len(pictures) > 4
    for path, picture in zip(paths, pictures, strict=True):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image), picture.transpose(1, 2, 0))
    assert paths[0].parent.name == f"unet-16-unipc-10-{trial_id('unet-16:unipc-10')[:12]}"
    assert paths[0].name == "00000.png"


def test_a_grid_is_the_file_itself(command: Command, tmp_path: Path) -> None:
    said = command("export", "images", "unet-16:unipc-10", "--results", QUICK, "--to", tmp_path / "new", "--grid")
    (path,) = map(Path, said.out.splitlines())
    assert path.read_bytes() == (QUICK / "samples" / f"{trial_id('unet-16:unipc-10')}.png").read_bytes()


def test_of_several_trainings_all_are_written(command: Command, tmp_path: Path) -> None:
    words = ("unet-16:ddim-10", "--results", REFERENCE / "photos", "--to", tmp_path / "new", "--grid")
    said = command("export", "images", *words)
    assert len(said.out.splitlines()) == len(set(said.out.splitlines())) == 3
    every = command("export", "images", "--results", REFERENCE / "photos", "--to", tmp_path / "all", "--grid")
    assert len(every.out.splitlines()) == len(list((REFERENCE / "photos/samples").glob("*.png")))


@pytest.mark.parametrize("words", [(), ("unet-8:ddim-5",)])
def test_where_no_images_are_kept_it_is_one_sentence(command: Command, words: tuple[str, ...], tmp_path: Path) -> None:
    said = command("export", "images", *words, "--results", REFERENCE / "digits", "--to", tmp_path / "new")
    assert said.code == 2
    assert "digits keeps no images of " in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_what_is_damaged_or_a_link_is_not_exported(command: Command, tmp_path: Path) -> None:
    shutil.copytree(QUICK, tmp_path / "quick")
    picture = tmp_path / "quick/samples" / f"{trial_id('unet-16:unipc-10')}.png"
    picture.write_bytes(picture.read_bytes()[:500])
    said = command("export", "images", "unet-16:unipc-10", "--results", tmp_path / "quick", "--to", tmp_path / "new")
    assert "keeps no images of unet-16:unipc-10" in said.err
    every = command("export", "images", "--results", tmp_path / "quick", "--to", tmp_path / "new", "--grid")
    assert "no images are kept of unet-16:unipc-10" in every.err
    assert every.code == 0


def test_a_folder_with_files_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    said = command("export", "images", "--results", QUICK, "--to", tmp_path)
    assert said.code == 2
    assert "is there and not empty; expected a new folder" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_timings_are_every_call_with_its_row(command: Command, tmp_path: Path) -> None:
    said = command("export", "timings", "--results", QUICK)
    lines = pd.read_csv(io.StringIO(said.out))
    tables = api.load(QUICK)
    assert len(lines) == len(tables.timings)
    assert lines["seconds"].sum() == pytest.approx(tables.timings["seconds"].sum(), rel=1e-12)
    assert {"name", "device_name", "batch", "seconds", "round", "block", "kind", "role"} <= set(lines)
    assert set(lines["device_name"]) == set(tables.trials["device_name"])
    row = lines.iloc[0]
    assert row["name"] == f"{row['network']}:{row['method']}-{row['steps']}"
    assert (lines["seconds_per_image"] * lines["batch"]).sum() == pytest.approx(lines["seconds"].sum())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_holds_the_same_lines_and_bytes(command: Command, tmp_path: Path, ending: str) -> None:
    contents = []
    for name in ("a", "b"):
        out = tmp_path / f"{name}.{ending}"
        said = command("export", "timings", "unet-16:unipc-10", "--results", QUICK, "--out", out)
        assert (said.code, said.out) == (0, f"{out}\n")
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
    lines = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert set(lines["trial_id"]) == {trial_id("unet-16:unipc-10")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nix",), 'trial "nix" is neither an id nor a name here'),
        (("--out", "x.xlsx"), "--out is x.xlsx; expected a file that ends in .csv or .parquet"),
        (("--out", "nowhere/x.csv"), "nowhere is no folder; expected a file in a folder that exists"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(command: Command, words: tuple[str, ...], sentence: str) -> None:
    said = command("export", "timings", *words, "--results", QUICK)
    assert said.code == 2
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_no_text_begins_a_formula() -> None:
    from harness.cli.export_timings import write_timings

    text = write_timings(pd.DataFrame({"name": ["=1+1", "a:b-5"], "seconds": [-1.5, 0.1]}), None)
    assert text == "name,seconds\n'=1+1,-1.5\na:b-5,0.1"
