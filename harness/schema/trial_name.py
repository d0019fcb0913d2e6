"""The printed name of a trial: network, method and steps, the same in tables, figures, files and `--only`."""

from __future__ import annotations


def trial_name(network: str, method: str, steps: float) -> str:
    """Return `network:method-steps`, which is unique within a suite and a data set; `steps` is a whole number."""
    return f"{network}:{method}-{steps:.0f}"
