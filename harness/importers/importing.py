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
from torch import nn

from harness.config.network_card import IMPORTED, network_names
from harness.errors import UsageError, check_folder
from harness.identity import check_name, file_sha256
from harness.importers.formats import choose_format
from harness.importers.imported import ImportedNetwork
from harness.importers.statements import parse_statements
from harness.sampling.decoder import DECODER_FAMILY, DecoderParams, build_decoder
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
    yield _describe_states(found)
    if defaulted := found.origin["defaulted"]:
        yield f"not in the source, so a known default: {', '.join(defaulted)}"
    yield f"next: {_use_in_suite(found, folder, found_name)} in a suite"


def _describe_states(found: ImportedNetwork) -> str:
    """Return a line on the states and levels of a network, or on what a decoder makes of states."""
    if found.family == DECODER_FAMILY:
        params = DecoderParams.model_validate(found.params)
        factor, wider = params.scaling_factor, params.enlargement
        return f"decodes {found.channels} channels, scaled by {factor:g}, to pictures {wider} times as wide"
    low, high = found.origin["sigma_range"]
    return f"state {found.channels}x{found.resolution}x{found.resolution}, noise levels {low:.6g} to {high:.6g}"


def _use_in_suite(found: ImportedNetwork, folder: Path, name: str) -> str:
    """Return the line of a suite that names what was imported."""
    if found.family == DECODER_FAMILY:
        return f'decoder = {{ weights = "{folder / name}.safetensors" }}'
    called = name if folder == IMPORTED / name else f"{folder / name}.toml"
    return f'network = "{called}"'


def write_import(folder: Path, found: ImportedNetwork, name: str, stated: dict[str, Any]) -> None:
    """Write card, weights and origin of a network into a folder that exists."""
    weights = folder / f"{name}.safetensors"
    save_file(found.tensors, weights)
    (folder / f"{name}.toml").write_text(_card_text(found, name), encoding="utf-8")
    (folder / ORIGIN_FILE).write_text(_origin_text(found, stated, file_sha256(weights)), encoding="utf-8")


def _card_text(found: ImportedNetwork, name: str) -> str:
    card: dict[str, Any] = {
        "name": name,
        "title": found.title,
        "family": found.family,
        "weights": f"{name}.safetensors",
        "params": found.params,
    }
    if found.family != DECODER_FAMILY:
        card["state"] = [found.channels, found.resolution, found.resolution]
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
    """Return a network with the levels that it was trained on among its parameters; a decoder has none."""
    if found.family == DECODER_FAMILY:
        return found
    levels = {"sigma_range": list(found.origin["sigma_range"])}
    return dataclasses.replace(found, params=levels | found.params)


def _check_whole(found: ImportedNetwork, name: str, source: Path) -> None:
    """Refuse tensors that are not exactly those of the network; it is built without storage."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        wanted = _build_module(found, name).state_dict()
    check_fit(found.tensors, wanted, str(source), name)


def _build_module(found: ImportedNetwork, name: str) -> nn.Module:
    if found.family == DECODER_FAMILY:
        return build_decoder(found.params, batch=1)
    return build_network(_Described(name, found.family, found.params), DataShape(found.channels, found.resolution))


def _name_of(source: Path) -> str:
    """Return a name for a card from that of a file or folder."""
    stem = source.resolve().name if source.is_dir() else source.stem
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")[:64] or "imported"
