"""A data set card as a user would write it, and a file with it."""

from __future__ import annotations

from pathlib import Path

EIGHT_LINES = """\
name = "mine"
title = "My own images"
reader = "image-folder"
arguments = { path = "pictures" }
resolution = 4
channels = 3
splits.train = { n = 2, source = "." }
licence = "CC0"
"""


def write_card(folder: Path, text: str, name: str = "mine") -> str:
    """Write a card; return its path, as `load_card` takes it."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)
