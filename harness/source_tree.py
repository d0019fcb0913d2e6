"""Whether this program runs from its source tree, which can be sent to a cluster, or from an installed package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds the packages `harness` and `methods`."""


def is_source_tree(root: Path = ROOT) -> bool:
    """Tell whether a folder is this project's source tree; site-packages is none."""
    project = root / "pyproject.toml"
    return project.is_file() and 'name = "oneclock"' in project.read_text(encoding="utf-8").splitlines()
