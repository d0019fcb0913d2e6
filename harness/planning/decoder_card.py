"""Cards of decoders of latents, as `oneclock import network` writes them, in the folder of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from harness.config.toml_files import read_toml, validated
from harness.sampling.decoder import DecoderParams
from harness.sampling.foreign_weights import check_imported
from harness.specs.base import Closed


class DecoderCard(Closed):
    """The description of one decoder of latents."""

    name: str
    title: str
    family: Literal["autoencoder-kl"]
    weights: str
    """A safetensors file, found from the folder of the card."""
    params: DecoderParams


def decoder_card_path(weights: str) -> Path:
    """Return where the card of a decoder lies that is named by its weights, or by its card.

    UsageError for weights of other programs.
    """
    check_imported(weights)
    return Path(weights).with_suffix(".toml")


def load_decoder_card(path: Path) -> DecoderCard:
    """Return a card with its file of weights found; UsageError if it is wrong."""
    card = validated(DecoderCard, read_toml(path), str(path))
    return card.model_copy(update={"weights": str(path.parent / card.weights)})
