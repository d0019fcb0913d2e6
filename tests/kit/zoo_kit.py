"""A zoo of the tests' own, and a training in it that takes a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.config.network_card import load_network_card
from harness.data.cards import load_card
from harness.zoo import judge
from harness.zoo.recipes import Rules
from harness.zoo.training import ZooTraining

SMALL = {"train": {"batch": 32, "lr": 2e-3, "warmup_steps": 5, "ema_half_life_images": 500}}
RULES = Rules(images=320, check_images=96, patience=9)


def own_zoo(patch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Put an empty zoo in place of the shipped one, and judge by few images."""
    patch.setattr("harness.config.zoo_card._ZOO", folder)
    for name, value in {
        "LIMIT_IMAGES": 100,
        "LIMIT_STEPS": 3,
        "QUICK_STEPS": 2,
        "DRAWS": 2,
        "HELD_OUT_IMAGES": 50,
    }.items():
        patch.setattr(judge, name, value)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def training(
    folder: Path,
    rules: Rules = RULES,
    stop_requested: Callable[[], bool] = lambda: False,
    minutes: float | None = None,
    **train: object,
) -> ZooTraining:
    """Return a training of unet-tiny on the digits."""
    torch.set_num_threads(1)
    net = load_network_card("unet-tiny", {"train": {**SMALL["train"], **train}})
    command = "oneclock train digits unet-tiny --into zoo"
    return ZooTraining(load_card("digits"), net, rules, command, folder, stop_requested, minutes=minutes)
