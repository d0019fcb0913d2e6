"""The record of where a network came from, as `origin.json` holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from harness.identity import file_sha256
from methods.networks.vp_process import LinearBeta

UNSTATED = "not stated"


def describe_files(source: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of every file that was read, by its path from a source folder, or its name."""
    return {
        (path.relative_to(source).as_posix() if source.is_dir() else path.name): file_sha256(path) for path in paths
    }


def find_licence(folder: Path, stated: Mapping[str, Any]) -> str:
    """Return the licence: as stated, else that of the front matter of a README.md in the folder."""
    if "licence" in stated:
        return str(stated["licence"])
    readme = folder / "README.md"
    if readme.is_file():
        head = readme.read_text(encoding="utf-8", errors="replace").split("---")
        lines = head[1].splitlines() if len(head) > 2 and not head[0].strip() else []
        for line in lines:
            key, _, value = line.partition(":")
            if key.strip() == "license" and value.strip():
                return value.strip()
    return UNSTATED


def linear_sde_range(lowest_time: float) -> tuple[float, float]:
    """Return the levels of the linear-beta SDE at a time and at 1."""
    times = torch.tensor([lowest_time, 1.0], dtype=torch.float64)
    low, high = LinearBeta().sigma(times).tolist()
    return low, high


def table_range(betas: torch.Tensor) -> tuple[float, float]:
    """Return the first and the last level of a table of betas, float64 [steps]."""
    alphas = (1 - betas).cumprod(0)
    low, high = ((1 - alphas) / alphas).sqrt()[[0, -1]].tolist()
    return low, high
