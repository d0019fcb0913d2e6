"""Compares the tensors of given weights with those of their network: names and shapes, in both directions."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from harness.errors import UsageError


def check_fit(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: str, card: str) -> None:
    """Raise UsageError for the first name or shape that differs.

    torch's strict load is not enough: it passes over tensors for modules that are None.
    """
    for name in sorted(wanted.keys() | given.keys()):
        found = list(given[name].shape) if name in given else "no such tensor"
        expected = list(wanted[name].shape) if name in wanted else "no such tensor"
        if found != expected:
            raise UsageError(f'{path}: {name} is {found}; the network "{card}" expects {expected}')
