"""The verb `export images`: the pictures that a results folder keeps, as PNG files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from pandas import Series

_SAFE = re.compile(r"[^A-Za-z0-9.@=+]+")
_LONGEST_NAME = 80


def export_images(folder: Path, wanted: Sequence[str], to: Path, grid: bool) -> list[Path]:
    """Write the kept pictures of rows below a new folder, and return the paths of the files.

    A folder per trial, named by the row and its id, with a picture per noise, at its own size; or with `grid` a file
    per trial, as the results folder has it. `wanted` are rows by name or id; none stands for all.
    Raises UsageError for a name that is not there, for a row whose pictures are not kept, and for a folder with files.
    """
    from harness import api
    from harness.report.export import find_trials
    from harness.storage.swap import replace_together

    # the rows
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError(f"{to} is there and not empty; expected a new folder")
    trials = api.load(folder).trials
    chosen = [row for word in wanted for row in find_trials(trials, word)] or [row for _, row in trials.iterrows()]
    rows = list({row["trial_id"]: row for row in chosen}.values())
    kept = {row["trial_id"]: data for row in rows if (data := _read_grid(folder, row)) is not None}

    # what is not kept
    absent = [_title(row) for row in rows if row["trial_id"] not in kept]
    if absent and (wanted or not kept):
        of = f"{absent[0]}{f' and {len(absent) - 1} more' if len(absent) > 1 else ''}" if absent else "any row"
        raise UsageError(
            f"{folder} keeps no images of {of}; its folder samples/ has the first ones of each row that ran"
        )
    if absent:
        typer.echo(f"oneclock: no images are kept of {', '.join(absent)}", err=True)

    files: dict[str, bytes] = {}
    for row in rows:
        if row["trial_id"] in kept:
            files |= dict(_files(row, kept[row["trial_id"]], grid))
    return replace_together(to, files)


def _read_grid(folder: Path, row: Series) -> bytes | None:
    """Return the file of a row's pictures; None where there is none, or it is no grid of pictures."""
    from harness.storage.disk import read_regular
    from harness.storage.returned_files import SAMPLES
    from harness.storage.sample_grid import read_pictures

    path = folder / SAMPLES / f"{row['trial_id']}.png"
    if path.is_symlink() or not path.is_file():
        return None
    data = read_regular(path)
    return None if read_pictures(data) is None else data


def _files(row: Series, data: bytes, grid: bool) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file of a row."""
    from harness.storage.sample_grid import read_pictures

    name = f"{_SAFE.sub('-', _title(row))[:_LONGEST_NAME].strip('-.')}-{row['trial_id'][:12]}"
    pictures = read_pictures(data)
    if grid or pictures is None:
        yield f"{name}.png", data
        return
    for number, picture in enumerate(pictures):
        yield f"{name}/{number:05d}.png", _encode(picture)


def _encode(picture: np.ndarray) -> bytes:
    """Return the PNG of a uint8 picture [channels, height, width]."""
    from PIL import Image

    stream = io.BytesIO()
    pixels = picture.transpose(1, 2, 0)
    Image.fromarray(pixels[..., 0] if len(picture) == 1 else pixels).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _title(row: Series) -> str:
    from harness.schema.trial_name import trial_name

    return trial_name(row["network"], row["method"], row["steps"])
