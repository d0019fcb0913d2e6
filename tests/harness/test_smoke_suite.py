"""Suite cifar10-smoke: every row of cifar10 runs, with tiny networks, on pictures that are made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import api
from harness.config.suite import load_suite
from harness.schema.trial_name import trial_name

CARD = """
name = "made-32"
title = "made pictures, 32x32"
reader = "image-folder"
resolution = 32
channels = 3
sigma_data = 0.5
sigma_min = 0.002
sigma_max = 80.0
reference = "train"
licence = "none"
citation = "none"
[arguments]
path = "{folder}"
[splits.train]
n = {n}
source = "."
"""
PICTURES = 300
"""More than the 128 features of cifar10-cnn."""


def _inline(value: Any) -> str:
    """Return tables, lists, texts and numbers as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_inline(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Write smooth colour pictures and the card of their data set; return the card."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (PICTURES, 4, 4, 3), dtype=np.uint8)
    for number, picture in enumerate(coarse):
        Image.fromarray(picture).resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.png")
    path = tmp_path / "made-32.toml"
    path.write_text(CARD.format(folder=folder, n=PICTURES))
    return path


def test_it_plans_every_row_of_cifar10(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many trials as cifar10 has with all its published networks imported."""
    monkeypatch.chdir(card.parent)
    smoke = load_suite("cifar10-smoke")
    stand_ins = [
        f"networks.{name}={_inline(smoke.networks[name])}"
        for name in ("edm-cifar10-32x32-uncond-vp", "ddpm-cifar10-32")
    ]
    whole = api.plan("cifar10", settings=[f"dataset={card}", "n_images=200", *stand_ins])
    small = api.plan("cifar10-smoke", settings=[f"dataset={card}"])
    assert small.suite.n_images == smoke.n_images

    def kinds(plan: object) -> list[tuple[str, ...]]:
        return [
            (one.network.name, *(one.parts[part].name for part in sorted(one.parts)), one.label or "")
            for one in plan.listed  # type: ignore[attr-defined]
        ]

    assert kinds(small) == kinds(whole)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_row_runs_on_two_devices_and_is_valid(card: Path) -> None:
    """Rows on four and eight devices are optional; they are left out where there are two."""
    command = [sys.executable, "-m", "harness", "run", "cifar10-smoke", "--set", f"dataset={card}", "--quiet"]
    command += ["--results", str(card.parent / "results")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1400)

    rows = api.load(card.parent / "results" / "cifar10-smoke").trials
    plan = api.plan("cifar10-smoke", settings=[f"dataset={card}"])
    wanted = {trial.short for trial in plan.listed if trial.devices <= 2}
    found = {trial_name(row["network"], row["method"], row["steps"]) for _, row in rows.iterrows()}
    assert wanted == found
    invalid = rows[rows["verdict"] != "VALID"]
    assert invalid.empty, invalid[["network", "method", "steps", "reasons"]].to_string()
    assert done.returncode == 0, done.stderr
