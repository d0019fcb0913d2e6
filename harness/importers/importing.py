"""Converts a published network once into a folder: a card, its weights as safetensors, and origin.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors.torch import save, save_file

from harness.config.network_card import IMPORTED, network_names
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

    UsageError for a source that is refused, and for a folder that holds anything else; nothing is
    written then. A folder that holds this very import stays as it is.
    """
    found_name = check_name(name or _name_of(source), "name")
    if found_name in network_names():
        raise UsageError(f'"{found_name}" is the name of a shipped network; give another one with --name')
    folder = out if out is not None else IMPORTED / found_name
    check_folder(folder)

    # everything is checked before anything is written
    stated = parse_statements(statements)
    found = _with_levels(choose_format(source, form).read(source, stated))
    _check_whole(found, found_name, source)
    if folder.exists():
        _check_same(folder, found, found_name, stated)
        yield f"{folder} holds this import already"
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with swapped_folder(folder) as fresh:
            write_import(fresh, found, found_name, stated)

    # what it is
    count = sum(value.numel() for value in found.tensors.values())
    yield f"{folder / found_name}.toml: {found.family}, {len(found.tensors)} tensors, {count:,} numbers"
    yield f"weights: {found.origin['weights']}, licence: {found.origin['licence']}"
    low, high = found.origin["sigma_range"]
    yield f"state {found.channels}x{found.resolution}x{found.resolution}, noise levels {low:.6g} to {high:.6g}"
    if defaulted := found.origin["defaulted"]:
        yield f"not in the source, so a known default: {', '.join(defaulted)}"
    called = found_name if folder == IMPORTED / found_name else f"{folder / found_name}.toml"
    yield f'next: network = "{called}" in a suite'


def write_import(folder: Path, found: ImportedNetwork, name: str, stated: dict[str, Any]) -> None:
    """Write card, weights and origin of a network into a folder that exists."""
    weights = folder / f"{name}.safetensors"
    save_file(found.tensors, weights)
    (folder / f"{name}.toml").write_text(_card_text(found, name), encoding="utf-8")
    (folder / ORIGIN_FILE).write_text(_origin_text(found, stated, file_sha256(weights)), encoding="utf-8")


def _card_text(found: ImportedNetwork, name: str) -> str:
    card = {
        "name": name,
        "title": found.title,
        "family": found.family,
        "weights": f"{name}.safetensors",
        "params": found.params,
    }
    head = f"# Imported, see {ORIGIN_FILE}. Licence of the weights: {found.origin['licence']}"
    return " ".join(head.split()) + "\n" + tomli_w.dumps(card)


def _origin_text(found: ImportedNetwork, stated: dict[str, Any], sha256: str) -> str:
    """Return the record, with the SHA-256 of the weights that were written."""
    origin = found.origin | {"stated": stated, "sha256": sha256}
    return json.dumps(origin, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _check_same(folder: Path, found: ImportedNetwork, name: str, stated: dict[str, Any]) -> None:
    """Refuse a folder that is not what this import would write."""
    weights, sha256 = folder / f"{name}.safetensors", hashlib.sha256(save(found.tensors)).hexdigest()
    texts = {f"{name}.toml": _card_text(found, name), ORIGIN_FILE: _origin_text(found, stated, sha256)}
    for file, text in texts.items():
        path = folder / file
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            raise UsageError(f"{folder} exists and is not this import; expected a new folder, so name one with --out")
    if not weights.is_file() or file_sha256(weights) != sha256:
        raise UsageError(f"{weights} was changed since it was imported; remove {folder} and import again")


def _with_levels(found: ImportedNetwork) -> ImportedNetwork:
    """Return the network with the levels that it was trained on among its parameters."""
    levels = {"sigma_range": list(found.origin["sigma_range"])}
    return dataclasses.replace(found, params=levels | found.params)


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
