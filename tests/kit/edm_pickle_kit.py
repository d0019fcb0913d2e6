"""Writes pickles in the layout of EDM's published files, from stub modules of the same names and random tensors."""

from __future__ import annotations

import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from methods.networks.edm_layers import EdmBlock, FourierNoise, ResamplingConv, SineNoise
from methods.networks.edm_unet import EdmUNet

CLASSES = {EdmBlock: "UNetBlock", ResamplingConv: "Conv2d", nn.Linear: "Linear", nn.GroupNorm: "GroupNorm"}
CLASSES |= {SineNoise: "PositionalEmbedding", FourierNoise: "FourierEmbedding"}
SOURCE = "raise SystemExit('this text must never run')\n"
HELD = ("in_channels", "out_channels", "num_groups", "eps", "num_heads", "skip_scale", "adaptive_scale", "up", "down")


class Stored:
    """An object that pickles as EDM's persistence does."""

    def __init__(self, name: str, state: Mapping[str, Any], version: int = 6, source: str = SOURCE) -> None:
        self.meta = {"type": "class", "version": version, "module_src": source, "class_name": name}
        self.meta["state"] = dict(state)

    def __reduce__(self) -> tuple[Any, ...]:
        persistence: Any = sys.modules["torch_utils.persistence"]
        return persistence._reconstruct_persistent_obj, (sys.modules["dnnlib.util"].EasyDict(self.meta),)


@contextmanager
def stub_modules() -> Iterator[None]:
    """Let pickle find `torch_utils.persistence` and `dnnlib.util` while a file is written."""
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("it is only named")

    _reconstruct_persistent_obj.__module__ = persistence.__name__
    _reconstruct_persistent_obj.__qualname__ = _reconstruct_persistent_obj.__name__
    persistence._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    util.EasyDict = type("EasyDict", (dict,), {"__module__": util.__name__})  # type: ignore[attr-defined]
    made = {"torch_utils": ModuleType("torch_utils"), "dnnlib": ModuleType("dnnlib")}
    made |= {persistence.__name__: persistence, util.__name__: util}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def stored_module(module: nn.Module, name: str = "", **more: Any) -> Any:
    """Return a module and those inside it as they are stored; our containers as torch's own."""
    inside = OrderedDict((key, stored_module(inner)) for key, inner in module.named_children())
    if isinstance(module, nn.ModuleDict):
        container = nn.ModuleDict()
        container.__dict__["_modules"] = inside
        return container
    held = {key: getattr(module, key) for key in HELD if hasattr(module, key)}
    if "skip_scale" in held:
        held["skip_scale"] = np.float64(held["skip_scale"])
    state = {"training": False, "_backward_hooks": OrderedDict(), "_non_persistent_buffers_set": set(), **held}
    state |= {"_parameters": OrderedDict(module._parameters), "_buffers": OrderedDict(module._buffers)}
    return Stored(name or CLASSES[type(module)], {**state, "_modules": inside, "_init_args": (), **more})


def stored_network(
    network: EdmUNet, options: Mapping[str, Any], wrapper: str = "EDMPrecond", **wrapper_options: Any
) -> Stored:
    """Return the wrapper of a network of ours with the options that its own constructor would have been given."""
    kind = "DhariwalUNet" if network.family == "adm-unet" else "SongUNet"
    model = stored_module(network, kind, _init_kwargs=dict(options))
    passed_on = {key: value for key, value in options.items() if key not in ("in_channels", "out_channels")}
    given = {"img_channels": options["in_channels"], "model_type": kind, "use_fp16": False, **passed_on}
    state: dict[str, Any] = {"_parameters": OrderedDict(), "_modules": OrderedDict(model=model), "_init_args": ()}
    state |= {"_buffers": OrderedDict(), "_init_kwargs": {**given, **wrapper_options}}
    state |= {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5} if wrapper == "EDMPrecond" else {}
    return Stored(wrapper, state)


def write_pickle(path: Path, content: Any) -> Path:
    """Write `content`, a stored wrapper or a whole dictionary, and return the path."""
    with stub_modules(), path.open("wb") as file:
        pickle.dump(content if isinstance(content, dict) else {"ema": content}, file)
    return path


def write_network(path: Path, network: EdmUNet, options: Mapping[str, Any], **how: Any) -> Path:
    """Write a network in the layout, and return the path."""
    return write_pickle(path, stored_network(network, options, **how))


def half_of(network: EdmUNet) -> EdmUNet:
    """Return the network with weights in bfloat16."""
    return network.to(torch.bfloat16)
