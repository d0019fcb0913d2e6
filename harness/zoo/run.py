"""`oneclock train DATASET NETWORK --into zoo`: one training in this process.

A signal ends it between two steps.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import torch

from harness.config.network_card import load_network_card
from harness.config.settings import apply_settings
from harness.config.zoo_card import zoo_entry_name, zoo_folder
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.registry import registry
from harness.signals import graceful_shutdown
from harness.specs.limits import TRAINING_LOCK_BEAT_SECONDS
from harness.storage.lock import RunLock
from harness.storage.run_log import StderrHandler, handler_attached
from harness.zoo.recipes import find_rules
from harness.zoo.training import ZooTraining

TRAININGS = "trainings"
"""Below the results folder: a folder per training with its working state."""
PAUSED = "paused"
"""A file in that folder: no training goes on while it exists."""


def train_into_zoo(
    dataset: str, network: str, settings: list[str], results: Path, minutes: float | None = None
) -> Path:
    """Train, or continue, until a rule ends it or its minutes are over; return the folder of the zoo entry.

    That of its working state where its minutes were over before there was any entry.

    After a signal it saves the state and raises Terminated or KeyboardInterrupt. Raises UsageError
    for what cannot be trained, LockedError while another process trains it.
    """
    changes: dict[str, object] = {}
    apply_settings(changes, settings)
    card, net = load_card(dataset), load_network_card(network, changes)
    card.check_trains()
    if not registry().network(net.family).trainable:
        raise UsageError(f'network "{net.name}" is exact and is not trained')

    torch.set_num_threads(1)
    words = ["oneclock", "train", dataset, network, *(word for s in settings for word in ("--set", s)), "--into", "zoo"]
    name = zoo_entry_name(net.name, net.train.seed if net.train else 0)
    folder, paused = results / TRAININGS / name, results / TRAININGS / PAUSED

    with handler_attached(StderrHandler(logging.INFO)), graceful_shutdown() as stop:
        training = ZooTraining(
            card,
            net,
            find_rules(dataset, network),
            " ".join(shlex.join(words).split()),
            folder,
            stop_requested=lambda: stop.signal is not None,
            paused=paused.exists,
            minutes=minutes,
        )
        with RunLock(folder, TRAINING_LOCK_BEAT_SECONDS):
            entry = training.run()

    if entry is None:
        stop.raise_if_set()
    kept = zoo_folder() / name
    return kept if kept.is_dir() else folder
