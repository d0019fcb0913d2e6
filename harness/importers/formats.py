"""The formats that can be imported, by name, and which of them a file or a folder has."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from harness.errors import UsageError, did_you_mean
from harness.importers import (
    autoencoder_kl,
    ddim_checkpoint,
    diffusers_dit,
    diffusers_unet,
    dit_checkpoint,
    edm_pickle,
    guided_diffusion,
    uvit_checkpoint,
)

FORMATS: dict[str, ModuleType] = {
    "diffusers-unet": diffusers_unet,
    "diffusers-dit": diffusers_dit,
    "ddim": ddim_checkpoint,
    "dit": dit_checkpoint,
    "uvit": uvit_checkpoint,
    "guided-diffusion": guided_diffusion,
    "edm": edm_pickle,
    "autoencoder-kl": autoencoder_kl,
}
"""Modules with `recognises(source)` and `read(source, stated)`."""


def choose_format(source: Path, name: str | None) -> ModuleType:
    """Return the module of a named format, or of the one that a source has; UsageError where there is none."""
    if not source.exists():
        raise UsageError(f"{source} does not exist; expected a file of weights or a folder of diffusers")
    if name is not None:
        if name not in FORMATS:
            raise UsageError(f'format "{name}" is unknown{did_you_mean(name, FORMATS)}')
        return FORMATS[name]

    for module in FORMATS.values():
        if module.recognises(source):
            return module
    raise UsageError(f"{source} has none of the formats that can be imported: {', '.join(FORMATS)}")
