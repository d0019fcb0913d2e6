"""Converts a published network once into a folder: a card, its weights as safetensors, and origin.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors.torch import save_file

from harness.errors import UsageError, check_folder
from harness.identity import check_name, file_sha256
from harness.importers.formats import choose_format
from harness.importers.imported import ImportedNetwork
from harness.importers.statements import parse_statements
from harness.sampling.network import build_network
from harness.sampling.weights_fit import check_fit
from harness.storage.disk import swapped_folder
from methods.networks.base import DataShape

ORIGIN_FILE = "origin.json"
IMPORTS = Path("imported")
"""Where imported networks lie, a folder each, unless another place is named."""


@dataclass(frozen=True)
class _Described:
    """An architecture, as networks are built from it."""

    name: str
    family: str
    params: dict[str, Any]


def import_network(
    source: Path, form: str | None, name: str | None, out: Path | None, statements: Sequence[str]
) -> Iterator[str]:
    """Write the folder of an imported network, and yield lines on it and on what to do next.

    UsageError for a source that is refused, and for a folder that exists; nothing is written then.
    """
    found_name = check_name(name or _name_of(source), "name")
    folder = out if out is not None else IMPORTS / found_name
    check_folder(folder)
    if folder.exists():
        raise UsageError(f"{folder} exists; expected a new folder, so give another one with --out")

    # everything is checked before anything is written
    stated = parse_statements(statements)
    found = choose_format(source, form).read(source, stated)
    _check_whole(found, found_name, source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with swapped_folder(folder) as fresh:
        write_import(fresh, found, found_name, stated)

    count = sum(value.numel() for value in found.tensors.values())
    yield f"{folder / found_name}.toml: {found.family}, {len(found.tensors)} tensors, {count:,} numbers"
    yield f"weights: {found.origin['weights']}, licence: {found.origin['licence']}"
    low, high = found.origin["sigma_range"]
    yield f"state {found.channels}x{found.resolution}x{found.resolution}, noise levels {low:.6g} to {high:.6g}"
    if defaulted := found.origin["defaulted"]:
        yield f"not in the source, so a known default: {', '.join(defaulted)}"
    yield f'next: network = "{folder / found_name}.toml" in a suite'


def write_import(folder: Path, found: ImportedNetwork, name: str, stated: dict[str, Any]) -> None:
    """Write card, weights and origin of a network into a folder that exists."""
    weights = folder / f"{name}.safetensors"
    save_file(found.tensors, weights)
    card = {
        "name": name,
        "title": found.title,
        "family": found.family,
        "weights": weights.name,
        "params": found.params,
    }
    head = f"# Imported, see {ORIGIN_FILE}. Licence of the weights: {found.origin['licence']}\n"
    (folder / f"{name}.toml").write_text(" ".join(head.split()) + "\n" + tomli_w.dumps(card), encoding="utf-8")

    # the record, with what was written
    origin = found.origin | {"stated": stated, "sha256": file_sha256(weights)}
    text = json.dumps(origin, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    (folder / ORIGIN_FILE).write_text(text + "\n", encoding="utf-8")


def _check_whole(found: ImportedNetwork, name: str, source: Path) -> None:
    """Refuse tensors that are not exactly those of the network; it is built without storage."""
    shape = DataShape(found.channels, found.resolution)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        network = build_network(_Described(name, found.family, found.params), shape)
    check_fit(found.tensors, network.state_dict(), str(source), name)


def _name_of(source: Path) -> str:
    """Return a name for a card from that of a file or folder."""
    stem = source.resolve().name if source.is_dir() else source.stem
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:64] or "imported"
