"""Printed names of trials and of their lines, the same in tables, figures, files and `--only`."""

from __future__ import annotations


def method_line_name(network: str, method: str) -> str:
    """Return `network:method`, which is a trial's name without its steps."""
    return f"{network}:{method}"


def trial_name(network: str, method: str, steps: float) -> str:
    """Return `network:method-steps`, which is unique within a suite and a data set.

    `steps` is a whole number; NaN, where a table does not say it, becomes "?".
    """
    return f"{method_line_name(network, method)}-{'?' if steps != steps else format(steps, '.0f')}"
