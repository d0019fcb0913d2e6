"""`oneclock train DATASET NETWORK --into zoo`: one training in this process.

A signal ends it between two steps.
"""

from __future__ import annotations

import logging
import shlex
import sys
from contextlib import suppress
from pathlib import Path

import torch

from harness.config.network_card import load_network_card
from harness.config.suite import apply_settings
from harness.config.zoo_card import zoo_entry_name, zoo_folder
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.registry import registry
from harness.signals import graceful_shutdown
from harness.specs.limits import TRAINING_LOCK_BEAT_SECONDS
from harness.storage.lock import RunLock
from harness.storage.run_log import handler_attached
from harness.zoo.recipes import find_rules
from harness.zoo.training import ZooTraining

TRAININGS = "trainings"
"""Below the results folder: a folder per training with its working state."""
PAUSED = "paused"
"""A file in that folder: no training goes on while it exists."""


def train_into_zoo(dataset: str, network: str, settings: list[str], results: Path) -> Path:
    """Train, or continue, until a rule ends it; return the folder of the zoo entry.

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

    with handler_attached(_StderrHandler(logging.INFO)), graceful_shutdown() as stop:
        training = ZooTraining(
            card,
            net,
            find_rules(dataset, network),
            " ".join(shlex.join(words).split()),
            folder,
            stop_requested=lambda: stop.signal is not None,
            paused=paused.exists,
        )
        with RunLock(folder, TRAINING_LOCK_BEAT_SECONDS):
            entry = training.run()

    if entry is None:
        stop.raise_if_set()
    return zoo_folder() / name


class _StderrHandler(logging.Handler):
    """Prints messages alone."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):  # a terminal that was closed ends no training
            print(record.getMessage(), file=sys.stderr, flush=True)
