"""Published layouts from the file to the leaderboard: import by the command, then a smoke suite, all at tiny sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from kit.imports_kit import draw_weights
from kit.latent_kit import make_autoencoder, write_latent_data
from typer.testing import CliRunner

import harness
from harness.cli.app import app
from methods.networks.base import DataShape
from methods.networks.dit import DiT, DiTParams

SUITE = """
name = "guided-latents"
title = "A DiT on latents of digits, with classes and guidance"
dataset = "latent-digits.toml"
network = "tiny-dit"
extractor = "digits-cnn"
n_images = 80
batch = 40
classes = "balanced"
decoder = { weights = "imported/vae/vae.safetensors" }
baseline = { solver = "ddim", schedule = "ddim-uniform", denoiser = { name = "full", guidance = 1.5 }, clock_steps = 4 }
timing.tier = "smoke"
truncation = { images = 20, steps = 16 }

[[trials]]
schedule = { name = "ddim-uniform", final = "denoise" }
guidance = [1.0, 1.5, { scale = 3.0, interval = [0.3, 5.0] }]
steps = 4

[[trials]]
schedule = "ddim-uniform"
guidance = 1.5
steps = 4

[[trials]]
solver = "heun"
executor = "srds"
guidance = 1.5
steps = 4
"""


def save_training_file(path: Path) -> None:
    """Write what DiT's training writes: raw and averaged weights, optimiser and arguments, of a tiny network."""
    sizes = {"depth": 2, "width": 16, "heads": 2, "patch": 2, "classes": 10, "learn_sigma": True}
    network = DiT(DiTParams(**sizes, preconditioning="vp-discrete"), DataShape(4, 4))
    draw_weights(network)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    positions = DiT(DiTParams(**sizes, preconditioning="vp-discrete"), DataShape(4, 4)).pos_embed
    state["pos_embed"] = positions.detach().clone()
    raw = {f"module.{name}": torch.zeros_like(value) for name, value in state.items()}
    arguments = argparse.Namespace(model="DiT-T/2", num_classes=10, vae="mse")
    torch.save({"model": raw, "ema": state, "opt": {"state": {}}, "args": arguments}, path)


def command(*words: str) -> str:
    found = CliRunner().invoke(app, list(words))
    assert found.exit_code == 0, found.output
    return found.output


def test_a_dit_on_latents_is_imported_guided_decoded_and_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_training_file(tmp_path / "0050000.pt")
    make_autoencoder().save_pretrained(tmp_path / "vae")
    stated = ("--state", "process=vp-discrete", "--state", "heads=2")
    command("import", "network", "0050000.pt", "--name", "tiny-dit", *stated)
    command("import", "network", "vae", "--name", "vae")
    write_latent_data(tmp_path)
    Path("guided.toml").write_text(SUITE)

    tables = harness.run("guided.toml", results="results", in_process=True, quiet=True)
    assert tables.all_valid, tables.trials["reasons"].tolist()
    rows = tables.trials.set_index("method")
    ended = "ddim@ddim-uniform(final=denoise)"
    plain, guided = rows.loc[ended], rows.loc[f"full(guidance=1.5)/{ended}"]
    assert (plain["nfe"], guided["nfe"], plain["guidance"], guided["guidance"]) == (5, 10, 1.0, 1.5)
    assert guided["flops_per_image"] == 2 * plain["flops_per_image"]
    inside = rows.loc[f"full(guidance=3.0,guidance_interval=[0.3, 5.0])/{ended}"]
    assert 5 < inside["nfe"] < 10
    assert (rows["decode_flops_per_image"] > 0).all()
    assert set(rows["state_shape"]) == {"4x4x4"}
    leaderboard = (tables.folder / "leaderboard.md").read_text()
    assert "guidance=1.5" in leaderboard
