"""Format "edm": pickles of EDM (Karras et al. 2022, arXiv:2206.00364), which are read as data.

The preconditioning is that of the wrapper's class. Names of files mislead: in edm-cifar10-32x32-cond-vp.pkl
the letters vp name the architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.config.toml_files import validated
from harness.errors import UsageError
from harness.importers.imported import ImportedNetwork
from harness.importers.origins import describe_files, find_licence, linear_sde_range
from harness.importers.sealed import SealedNetwork, read_sealed
from harness.importers.statements import check_statements
from harness.importers.torch_files import widen_tensors
from harness.registry import registry
from methods.networks.base import DataShape
from methods.networks.edm_unet import EdmUNetParams
from methods.networks.vp_process import CosineBeta

_FAMILIES = {"SongUNet": "song-unet", "DhariwalUNet": "adm-unet"}
_SIZES = (
    "img_resolution", "in_channels", "out_channels", "label_dim", "augment_dim", "model_channels", "channel_mult",
    "channel_mult_emb", "num_blocks", "attn_resolutions", "dropout", "label_dropout",
)  # fmt: skip
_SIZES_OF_SONG = ("embedding_type", "channel_mult_noise", "encoder_type", "decoder_type", "resample_filter")
_PRECONDITIONINGS = {"EDMPrecond": "edm", "VPPrecond": "vp", "VEPrecond": "ve", "iDDPMPrecond": "cosine"}
_CONSTANTS: dict[str, dict[str, float]] = {
    "EDMPrecond": {"sigma_min": 0, "sigma_max": math.inf, "sigma_data": 0.5},
    "VPPrecond": {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5},
    "VEPrecond": {"sigma_min": 0.02, "sigma_max": 100},
    "iDDPMPrecond": {"C_1": 0.001, "C_2": 0.008, "M": 1000},
}
"""The one value of each constant that our preconditioning of that name has."""
_OF_WRAPPER = {"img_resolution": "img_resolution", "img_channels": "in_channels", "label_dim": "label_dim"}
_EDM_RANGE = (0.002, 80.0)
"""On which EDM samples; its process is open at both ends."""
_OF_LAYERS = ("num_groups", "eps", "num_heads", "skip_scale", "adaptive_scale", "up", "down", "fused_resample")
"""Settings of layers that no shape shows."""


def recognises(source: Path) -> bool:
    """Tell whether a file is called as pickles are; none is opened for that."""
    return source.is_file() and source.suffix in (".pkl", ".pickle")


def read(source: Path, stated: Mapping[str, Any]) -> ImportedNetwork:
    """Return the averaged network of a pickle; nothing of it is executed."""
    check_statements(stated, (), "edm")
    if stated.get("weights") == "raw":
        raise UsageError(f"{source} holds averaged weights alone; expected no weights=raw")
    sealed = read_sealed(source)
    kind, wrapper = sealed.classes["model"], sealed.classes[""]
    params, defaulted = _params(sealed, kind, source)
    _check_wrapper(sealed, wrapper, params, source)

    # weights and settings of layers
    named = (("wrapper", ""), ("model", "model"))
    config = {key: {"class_name": sealed.classes[name], **_writable(sealed.arguments[name])} for key, name in named}
    tensors, formats = widen_tensors(_tensors_of_model(sealed, wrapper, source), source)
    channels, resolution = params["in_channels"], params["img_resolution"]
    chosen = {"preconditioning": _PRECONDITIONINGS[wrapper], "sigma_range": list(_levels(wrapper))}
    _check_layers(sealed, _FAMILIES[kind], params | chosen, source)

    # the record of its origin
    origin = {
        "format": "edm",
        "files": describe_files(source, [source]),
        "config": config,
        "source_sha256": sealed.sources,
        "defaulted": defaulted,
        "weights": "ema",
        "dtype": formats,
        "licence": find_licence(source.parent, stated),
        "sigma_range": chosen["sigma_range"],
        "process": chosen,
        "classes": {"count": params["label_dim"], "null": params["label_dropout"] > 0},
    }

    return ImportedNetwork(
        family=_FAMILIES[kind],
        params=params | chosen,
        tensors=tensors,
        channels=channels,
        resolution=resolution,
        title=f"{source.stem}, {kind} of EDM",
        origin=origin,
    )


def _params(sealed: SealedNetwork, kind: str, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the model's arguments, closed, with those of its class's defaults that are absent, and which these are."""
    given = sealed.arguments["model"]
    names = (*_SIZES, *_SIZES_OF_SONG) if kind == "SongUNet" else _SIZES
    for key, value in given.items():
        if key not in names:
            raise UsageError(f"{path}: argument {key} = {value!r} of {kind} is unknown; expected {', '.join(names)}")
    family = registry().network(_FAMILIES[kind])
    checked = validated(family.Params, given, f"{path} ({kind})")
    assert isinstance(checked, EdmUNetParams)

    whole = checked.model_dump(mode="json")
    return {key: whole[key] for key in names}, [key for key in names if key not in given]


def _check_wrapper(sealed: SealedNetwork, wrapper: str, params: Mapping[str, Any], path: Path) -> None:
    """Refuse constants unlike our preconditioning's, and arguments unlike the model's."""
    given, state, constants = sealed.arguments[""], sealed.layers[""], _CONSTANTS[wrapper]
    for key, wanted in constants.items():
        for found in (given.get(key, wanted), state.get(key, wanted)):
            if found != wanted:
                raise UsageError(f"{path}: {key} of {wrapper} is {found!r}; supported is {wanted:g}")

    # what the wrapper passed on
    passed = {_OF_WRAPPER.get(key, key): value for key, value in given.items() if key not in constants}
    for key, value in passed.items():
        if key == "use_fp16" and isinstance(value, bool):
            continue
        expected = sealed.classes["model"] if key == "model_type" else params.get(key, "no such argument")
        if value != expected:
            raise UsageError(f"{path}: {key} of {wrapper} is {value!r}; the network inside it has {expected!r}")


def _tensors_of_model(sealed: SealedNetwork, wrapper: str, path: Path) -> dict[str, torch.Tensor]:
    """Return the model's tensors by its own names; the levels of iDDPM's wrapper must be ours."""
    own = {name: value for name, value in sealed.tensors.items() if not name.startswith("model.")}
    levels = own.pop("u", None) if wrapper == "iDDPMPrecond" else None
    if own:
        raise UsageError(f"{path}: {wrapper} has a tensor {min(own)}; expected tensors of its network alone")
    if levels is not None:
        ours = CosineBeta().sigma(torch.arange(1000, dtype=torch.float64).flip(0) / 1000)
        found = levels.double().flatten()[:-1]
        if found.shape != ours.shape or not torch.allclose(found, ours, rtol=1e-3, atol=1e-6):
            raise UsageError(f"{path}: the levels u of {wrapper} are not those of iDDPM's squared cosine")
    return {name.removeprefix("model."): value for name, value in sealed.tensors.items() if name.startswith("model.")}


def _levels(wrapper: str) -> tuple[float, float]:
    """Return the levels on which a wrapper's network is sampled."""
    if wrapper == "VPPrecond":
        return linear_sde_range(_CONSTANTS[wrapper]["epsilon_t"])
    if wrapper == "iDDPMPrecond":
        return CosineBeta().ends
    return (0.02, 100.0) if wrapper == "VEPrecond" else _EDM_RANGE


def _check_layers(sealed: SealedNetwork, family: str, params: dict[str, Any], path: Path) -> None:
    """Refuse settings of layers that differ from those of our layer of the same name; no shape shows them."""
    kind = registry().network(family)
    with torch.device("meta"):
        ours = dict(kind(kind.Params(**params), _shape(params)).named_modules())
    for name, settings in sealed.layers.items():
        module = ours.get(name.removeprefix("model."))
        for key in _OF_LAYERS:
            wanted = getattr(module, key, None)
            found = settings.get(key, wanted)
            if wanted is not None and not (isinstance(found, int | float) and math.isclose(found, wanted)):
                raise UsageError(f"{path}: {key} of {name} is {found!r}; supported is {wanted!r}")


def _shape(params: Mapping[str, Any]) -> DataShape:
    return DataShape(params["in_channels"], params["img_resolution"])


def _writable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON has them: an infinite one as text."""
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in arguments.items()
    }
