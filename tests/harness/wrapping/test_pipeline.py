"""Wrapped pipelines, which own their network: their noise, images, FLOPs and rows, and those that misbehave."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from kit.pipeline_kit import ddim_pipeline, pipeline_of
from kit.toy_runs import Run

import harness
from harness.measure.whole_calls import WholeCalls
from harness.sampling.call_counts import CallCounts
from harness.sampling.sampler import Sampler

KIT = os.path.relpath(Path(__file__).resolve().parents[2] / "kit" / "pipeline_kit.py")
SUITE = """
name = "toy"
title = "Wrapped pipelines"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 80
batch = 40
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 4 }}
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"

[[trials]]
steps = 4
{trials}
"""


def run(folder: Path, *names: str) -> Run:
    trials = "".join(f'[[trials]]\npipeline = "{KIT}:{name}"\nsteps = 4\n' for name in names)
    (folder / "toy.toml").write_text(SUITE.format(trials=trials))
    return Run(str(folder / "toy.toml"), folder / "results")


def test_a_pipeline_stands_in_the_leaderboard(tmp_path: Path) -> None:
    found = run(tmp_path, "ddim_pipeline", "ddim_array", "by_scheduler", "cached_pipeline", "ddpm_pipeline")
    print(found.tables.trials[["method", "network", "denoiser", "fid", "nfe", "flops_per_image", "parameters", "verdict", "reasons", "error" if "error" in found.tables.trials else "verdict"]].to_string())
    print(found.row("ddim-pipeline", 4).to_string())
    harness.api.report(tmp_path / "results" / "toy")
    print((tmp_path / "results" / "toy" / "leaderboard.md").read_text()[:6000])
    assert 0
