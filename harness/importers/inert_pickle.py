"""Reads pickles of EDM's layout as data: of what they name, nothing is imported and nothing is executed.

Such a pickle holds each module as `torch_utils.persistence._reconstruct_persistent_obj(meta)`, where
meta has the module's source as text and its state. Ordinary reading runs that text.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import torch

_WRAPPERS = ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond")
_MODELS = ("SongUNet", "DhariwalUNet")
_LAYERS = ("UNetBlock", "Conv2d", "Linear", "GroupNorm", "PositionalEmbedding", "FourierEmbedding")
_KNOWN_CLASSES = (*_WRAPPERS, *_MODELS, *_LAYERS)
_OF_EDM2 = ("Precond", "UNet", "Block", "MPConv", "MPFourier")
"""The classes of EDM2's magnitude-preserving networks (arXiv:2312.02696)."""
_VERSION = 6
"""Of the layout of `meta`."""
_PLAIN = (type(None), bool, int, float, str)
_NUMBERS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}
"""struct's letters for numpy's number formats."""


class PickleRefused(ValueError):
    """Raised for a pickle that is not of the layout; the text completes "FILE is refused: "."""


class Stored:
    """A module as it is stored: the name of its class and its state, which does nothing."""

    def __init__(self, name: str = "", state: Any = None, source: str = "") -> None:
        self.name, self.state, self.source = name, state, source


class Container(Stored):
    """torch's ModuleDict or ModuleList, as it is stored."""

    def __setstate__(self, state: Any) -> None:
        super().__init__("container", state)


class StoredDict(dict[Any, Any]):
    """EDM's dictionary with attributes, as it is stored."""


class NumberFormat:
    """numpy's dtype, as it is stored: its code, such as f8, and its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code), "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "<"


@dataclass
class FoundModule:
    """What was read below one stored module: tensors by name, numbers of layers, and what the pickle says of itself."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The plain numbers in the state of each module, by its name."""
    classes: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the constructors of wrapper and model, by module name."""
    sources: set[str] = field(default_factory=set)
    """SHA-256 of each source text."""


def read_inert(file: BinaryIO) -> FoundModule:
    """Return what the entry "ema" of a pickle holds; PickleRefused for any other layout."""
    found = InertUnpickler(file).load()
    if not isinstance(found, dict):
        raise PickleRefused("it holds no dictionary")
    network = found.get("ema")
    if not isinstance(network, Stored):
        raise PickleRefused('it has no network under "ema"')
    if network.name not in _WRAPPERS:
        raise PickleRefused(_unknown_class(network.name))

    walked = FoundModule()
    _walk(network, "", walked)
    if walked.classes.get("model") not in _MODELS:
        raise PickleRefused(f"its network is of class {walked.classes.get('model')!r}, not {' or '.join(_MODELS)}")
    return walked


class InertUnpickler(pickle.Unpickler):
    """An Unpickler for which only the names of the layout mean something; any other raises PickleRefused."""

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            raise PickleRefused(f"it names {module[:60]}.{name[:60]}, which has no place in a network")
        return found


def _stored(meta: Any) -> Stored:
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        raise PickleRefused("it holds a module in another layout")
    if meta.get("version") != _VERSION:
        raise PickleRefused(f"its modules are of layout version {meta.get('version')!r}, not {_VERSION}")
    return Stored(meta["class_name"], meta.get("state"), str(meta.get("module_src", "")))


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _number(kind: Any, data: bytes) -> Any:
    letter = _NUMBERS.get(kind.code) if isinstance(kind, NumberFormat) else None
    if letter is None:
        raise PickleRefused("it holds a number of numpy in an unknown format")
    return struct.unpack(kind.order + letter, data)[0]


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("numpy", "dtype"): NumberFormat,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("torch.nn.modules.container", "ModuleDict"): Container,
    ("torch.nn.modules.container", "ModuleList"): Container,
    ("dnnlib.util", "EasyDict"): StoredDict,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _stored,
}


def _walk(module: Stored, prefix: str, found: FoundModule) -> None:
    """Note a module and all below it, names joined with dots."""
    name, state = prefix.rstrip("."), module.state
    if not isinstance(module, Container) and module.name not in _KNOWN_CLASSES:
        raise PickleRefused(_unknown_class(module.name))
    if not isinstance(state, Mapping):
        raise PickleRefused(f'"{name}" has no state')
    found.classes[name] = module.name
    found.layers[name] = {key: value for key, value in state.items() if isinstance(value, int | float)}
    if module.source:
        found.sources.add(hashlib.sha256(module.source.encode(errors="replace")).hexdigest())
    if module.name in (*_WRAPPERS, *_MODELS):
        found.arguments[name] = _constructor_arguments(state, name)

    # tensors, then the modules inside
    for key, value in [*_entries(state, "_parameters"), *_entries(state, "_buffers")]:
        if not isinstance(value, torch.Tensor):
            raise PickleRefused(f'"{prefix}{key}" is no tensor')
        found.tensors[f"{prefix}{key}"] = value
    for key, value in _entries(state, "_modules"):
        if not isinstance(value, Stored):
            raise PickleRefused(f'"{prefix}{key}" is no module')
        _walk(value, f"{prefix}{key}.", found)


def _entries(state: Mapping[str, Any], group: str) -> list[tuple[str, Any]]:
    """Return the entries of one of torch's groups that are not None."""
    entries = state.get(group, {})
    if not isinstance(entries, Mapping):
        raise PickleRefused(f"{group} of a module is no mapping")
    return [(str(key), value) for key, value in entries.items() if value is not None]


def _constructor_arguments(state: Mapping[str, Any], name: str) -> dict[str, Any]:
    if state.get("_init_args"):
        raise PickleRefused(f'"{name}" was built from arguments without names')
    arguments = state.get("_init_kwargs")
    if not isinstance(arguments, Mapping):
        raise PickleRefused(f'"{name}" does not say which arguments it was built from')
    return {str(key): _plain(value, str(key)) for key, value in arguments.items()}


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one, key) for one in value]
    if not isinstance(value, _PLAIN):
        raise PickleRefused(f'argument "{key}" is neither a number nor a text')
    return value


def _unknown_class(name: str) -> str:
    if name in _OF_EDM2 or name.startswith("MP"):
        return f"it is a network of EDM2 (class {name}), which is another architecture"
    return f"its class {name[:60]!r} is none of {', '.join(_KNOWN_CLASSES)}"
