"""The decoder of a suite: what makes pictures of the states of its latent data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.config.suite import DecoderEntry, Suite
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.fetching.lookup import offer_import
from harness.identity import file_sha256
from harness.planning.absent import ABSENT, AbsentThings
from harness.planning.decoder_card import DecoderCard, decoder_card_path, load_decoder_card
from harness.specs.sampler import DecoderSpec
from harness.specs.weights import DecoderWeightsSpec
from methods.parts import Method

_MODULE = "harness.sampling.decoder"


def check_learning(parts: Mapping[str, Method], card: DatasetCard) -> None:
    """Raise UsageError where states are latents, for a part that learns from images and for a wrapped pipeline."""
    if card.latent is None:
        return
    if getattr(parts["executor"], "owns_network", False):
        raise UsageError(
            f'a wrapped pipeline makes pictures of noise of their size, and the states of "{card.name}" are latents; '
            "expected a data set of pixels"
        )
    for part, method in parts.items():
        if method.prepares and method.learns_from_images:
            raise UsageError(
                f'{part} "{method.name}" learns from training images, and the states of "{card.name}" are latents, '
                "which nothing here encodes; choose one that does not, or other parameters"
            )


def find_decoder(suite: Suite, card: DatasetCard, absent: AbsentThings) -> DecoderWeightsSpec | None:
    """Return the decoder of a data set, whose weights are to be checked; None where states are pictures.

    UsageError where a latent data set has none, and for one that does not fit it. Where it is absent and may be, its
    parameters are empty.
    """
    if card.latent is None:
        return None
    if suite.decoder is None:
        raise UsageError(
            f'the states of "{card.name}" are latents, and {suite.where} names nothing that makes pictures of them; '
            "set decoder = { weights = PATH } to an autoencoder that `oneclock import network` has written"
        )

    path = decoder_card_path(suite.decoder.weights)
    if not path.is_file():
        return _absent_decoder(suite.decoder, path, card, absent)
    found = load_decoder_card(path)
    check_decoder(found, card)
    if not Path(found.weights).is_file():
        return _absent_decoder(suite.decoder, Path(found.weights), card, absent)
    return DecoderWeightsSpec(
        name=found.name,
        path=found.weights,
        sha256=file_sha256(Path(found.weights)),
        params=found.params.model_dump(mode="json"),
        state_shape=card.spec().state_shape,
        module=_MODULE,
    )


def decoder_spec(checked: DecoderWeightsSpec, weights_id: str, batch: int) -> DecoderSpec:
    """Return a decoder as samplers hold it."""
    return DecoderSpec(
        name=checked.name,
        params=checked.params,
        weights_id=weights_id,
        sha256=checked.sha256,
        batch=batch,
        module=_MODULE,
    )


def check_decoder(found: DecoderCard, card: DatasetCard) -> None:
    """Raise UsageError for a decoder that takes other states than a data set has, or makes other pictures."""
    latent, params = card.latent, found.params
    assert latent is not None
    if params.scaling_factor != latent.scaling_factor:
        raise UsageError(
            f'the decoder "{found.name}" has scaling_factor = {params.scaling_factor:g}, and the latents of '
            f'"{card.name}" are scaled by {latent.scaling_factor:g}; expected the autoencoder that they were made with'
        )

    takes, states = params.latent_channels, f"{latent.channels}x{latent.resolution}x{latent.resolution}"
    side = latent.resolution * params.enlargement
    if (takes, params.out_channels, side) != (latent.channels, card.channels, card.resolution):
        raise UsageError(
            f'the decoder "{found.name}" takes {takes} channels and makes {params.out_channels}x{side}x{side} pictures '
            f'of {latent.resolution}x{latent.resolution} states; "{card.name}" has states of {states} and pictures of '
            f"{card.channels}x{card.resolution}x{card.resolution}"
        )


def check_decoder_is_used(suite: Suite, cards: Iterable[DatasetCard]) -> None:
    """Raise UsageError for a decoder that no data set of a suite needs."""
    if suite.decoder is not None and all(card.latent is None for card in cards):
        raise UsageError(f"{suite.where} has a decoder, but the states of its data sets are pictures; leave it out")


def _absent_decoder(entry: DecoderEntry, path: Path, card: DatasetCard, absent: AbsentThings) -> DecoderWeightsSpec:
    """Note that a decoder is not on this machine, and return what stands for it."""
    sentence = f'the decoder of "{card.name}": {path} does not exist; expected what `oneclock import network` writes'
    absent.add(UsageError(sentence), ", so set decoder.weights to its path", offer_import(path))
    return DecoderWeightsSpec(
        name=path.stem,
        path=entry.weights,
        sha256=ABSENT,
        params={},
        state_shape=card.spec().state_shape,
        module=_MODULE,
    )
