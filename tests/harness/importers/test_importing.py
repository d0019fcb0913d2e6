"""`oneclock import network`: once into a folder that a suite can name, or nothing at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.edm_networks import CONFIGS, small_network
from kit.edm_pickle_kit import write_network
from kit.faulty import suite
from kit.imports_kit import change_json, make_unet, save_unet
from safetensors.torch import load_file
from typer.testing import CliRunner

import harness
from harness.cli.app import app
from harness.config.network_card import load_network_card
from harness.errors import UsageError
from harness.importers import importing
from harness.importers.formats import FORMATS, choose_format
from harness.importers.importing import import_network
from harness.planning.plan import make_plan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of diffusers for 8x8 digits."""
    folder = save_unet(tmp_path / "ddpm-digits", make_unet())
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# DDPM\n")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_is_written_with_card_weights_and_origin(source: Path) -> None:
    said = [*import_network(source, None, "mine", Path("in") / "mine", ["weights=ema"])]
    folder = Path("in") / "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.safetensors", "mine.toml", "origin.json"]
    assert not [path for path in folder.parent.iterdir() if path.name != "mine"]
    assert said[0].startswith("in/mine/mine.toml: diffusers-unet, ")
    assert said[-1] == 'next: network = "in/mine/mine.toml" in a suite'

    # the record
    origin = json.loads((folder / "origin.json").read_text())
    file = source / "diffusion_pytorch_model.safetensors"
    assert origin["files"].keys() == {"config.json", "scheduler_config.json", file.name}
    assert origin["files"][file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert origin["config"]["model"] == json.loads((source / "config.json").read_text())
    assert (origin["weights"], origin["licence"], origin["dtype"]) == ("ema", "apache-2.0", ["float32"])
    assert origin["sigma_range"] == pytest.approx([0.0100005, 157.4073], rel=1e-5)
    assert origin["sha256"] == hashlib.sha256((folder / "mine.safetensors").read_bytes()).hexdigest()


def test_the_card_finds_its_weights_from_any_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [*import_network(source, None, None, None, [])]
    path = Path("imported/ddpm-digits/ddpm-digits.toml").absolute()
    monkeypatch.chdir("/")
    card = load_network_card(path)
    assert load_file(str(card.weights)).keys()
    other = load_network_card(path, {"weights": "other.safetensors"})
    assert other.weights == "other.safetensors"


def test_the_same_import_again_changes_nothing(source: Path) -> None:
    first = [*import_network(source, None, "mine", None, [])]
    assert first[-1] == 'next: network = "mine" in a suite'
    times = {path: path.stat().st_mtime_ns for path in Path("imported/mine").iterdir()}
    assert [*import_network(source, None, "mine", None, [])] == ["imported/mine holds this import already", *first]
    assert {path: path.stat().st_mtime_ns for path in Path("imported/mine").iterdir()} == times

    # another one does not take its place
    with pytest.raises(UsageError, match="imported/mine exists and is not this import"):
        [*import_network(source, None, "mine", None, ["weights=ema"])]
    Path("imported/mine/mine.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="was changed since it was imported"):
        [*import_network(source, None, "mine", None, [])]


def test_an_existing_folder_is_left_alone(source: Path) -> None:
    Path("imported/mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="imported/mine exists and is not this import"):
        [*import_network(source, None, "mine", None, [])]
    assert not [*Path("imported/mine").iterdir()]
    with pytest.raises(UsageError, match='"dit-s-2" is the name of a shipped network'):
        [*import_network(source, None, "dit-s-2", None, [])]


def test_a_failure_while_writing_leaves_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise UsageError("torn")

    monkeypatch.setattr(importing, "save_file", fail)
    with pytest.raises(UsageError, match="torn"):
        [*import_network(source, None, "mine", None, [])]
    assert not [*Path("imported").iterdir()]


@pytest.mark.parametrize(
    ("statements", "sentence"),
    [
        (["process=flow"], 'format "diffusers-unet" takes no statement "process"'),
        (["weights=best"], 'weights is stated as "best"; expected "ema" or "raw"'),
        (["weights"], '--state is "weights"; expected KEY=VALUE'),
        (["resolution=16"], "sample_size is 8, but resolution is stated as 16"),
    ],
)
def test_statements_are_a_closed_list(source: Path, statements: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        [*import_network(source, None, "mine", None, statements)]
    assert not Path("imported").exists()


def test_what_has_no_known_format_is_refused(source: Path, tmp_path: Path) -> None:
    change_json(source / "config.json", _class_name="UNet3DConditionModel")
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    for unknown in (source, tmp_path / "a.pt", tmp_path):
        with pytest.raises(UsageError, match="has none of the formats that can be imported: diffusers-unet"):
            choose_format(unknown, None)
    with pytest.raises(UsageError, match="absent does not exist"):
        choose_format(tmp_path / "absent", None)
    with pytest.raises(UsageError, match='format "sit" is unknown'):
        choose_format(source, "sit")
    assert choose_format(source, "ddim") is FORMATS["ddim"]


def test_foreign_weights_in_a_suite_are_refused_with_the_command(source: Path) -> None:
    torch.save(load_file(source / "diffusion_pytorch_model.safetensors"), "w.pth")
    for weights in ("w.pth", str(source)):
        changes = {"unet-8": {"weights": weights}}
        wanted = suite([], dataset="digits", network="unet-8", precision="float32", networks=changes)
        sentence = f"another program; import it once with `oneclock import network {weights}`"
        with pytest.raises(UsageError, match=sentence):
            make_plan(wanted, "cpu", "x")


SUITE = """
name = "imported"
title = "imported"
dataset = "digits"
network = "mine"
extractor = "pixels"
n_images = 80
batch = 40

[baseline]
clock_steps = 2

[timing]
tier = "smoke"

[[trials]]
solver = ["ddim", "dpmpp-2m"]
steps = 2
"""


def check_run(name: str) -> None:
    """Run a suite with an imported network by its name, to the leaderboard."""
    Path("imported.toml").write_text(SUITE)
    tables = harness.run("imported.toml", results="results", in_process=True, quiet=True)
    assert set(tables.trials["status"]) == {"finished"}
    assert set(tables.trials["network"]) == {name}
    leaderboard = (tables.folder / "leaderboard.md").read_text()
    assert "ddim" in leaderboard
    assert "dpmpp-2m" in leaderboard


def test_an_imported_folder_goes_through_run_and_leaderboard(source: Path) -> None:
    [*import_network(source, None, "mine", None, ["weights=ema"])]
    check_run("mine")


def test_an_imported_pickle_goes_through_run_and_leaderboard(tmp_path: Path) -> None:
    options = {**CONFIGS["vp"], "in_channels": 1, "out_channels": 1, "label_dim": 0}
    write_network(tmp_path / "edm-8x8.pkl", small_network("vp", **options), options)
    [*import_network(tmp_path / "edm-8x8.pkl", None, "mine", None, [])]
    check_run("mine")


def test_the_command_names_every_format(source: Path) -> None:
    shown = CliRunner().invoke(app, ["import", "network", "--help"]).output
    assert [name for name in FORMATS if name not in " ".join(shown.split()).replace("- ", "-")] == []
    done = CliRunner().invoke(app, ["import", "network", str(source), "--name", "mine", "--state", "licence=mit"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, 'next: network = "mine" in a suite')
