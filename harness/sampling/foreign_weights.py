"""Refuses weights of other programs where only imported ones are read."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError

_FOREIGN = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".npz")


def check_imported(path: str) -> None:
    """Raise UsageError for a folder or a file of another program, with the command that imports it.

    Such a file may fit a card and belong to another network: shapes do not show every setting.
    """
    if path.lower().endswith(_FOREIGN) or Path(path).is_dir():
        raise UsageError(
            f"{path} holds weights of another program; import it once with `oneclock import network {path}`, and "
            "name the card that this writes"
        )
