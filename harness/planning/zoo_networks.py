"""Networks of the zoo in a plan: whether an entry fits the suite's network, and its weights."""

from __future__ import annotations

from torch import Tensor

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import PREFIX, ZooCard, load_zoo_card, weights_path
from harness.data.cards import DatasetCard
from harness.data.splits import load_split
from harness.errors import DataAbsentError, UsageError
from harness.sampling.network import network_params
from harness.sampling.weights_file import read_state_dict
from harness.specs.row import NetworkLimit
from harness.specs.sampler import DataSpec, ExtractorSpec


def zoo_entry(weights: str, card: DatasetCard, net: NetworkCard, data: DataSpec | None = None) -> ZooCard:
    """Return the entry of "zoo:NAME"; `data` knows the pixels where a plan has read them already.

    Raises UsageError if it does not fit, StoreDamagedError if it is damaged.
    """
    found = load_zoo_card(weights.removeprefix(PREFIX))
    if found.data.name != card.name or not _same_pixels(found, card, data):
        raise UsageError(
            f'network "{net.name}" on the data set "{card.name}" names the weights {weights}, which were trained on '
            f'"{found.data.name}" ({found.data.variant}, pixels {found.data.pixels[:12]}); expected the same pixels'
        )
    difference = network_difference(found.network, net)
    if difference:
        raise UsageError(
            f'network "{net.name}" names the weights {weights}, whose network has {difference}; expected the same, '
            "so leave [networks] as the zoo has it or train it on the spot"
        )
    return found


def network_limit(card: ZooCard, extractor: ExtractorSpec, n_images: int) -> NetworkLimit | None:
    """Return the network's FID solved out, None unless it was taken by this feature network of as many images.

    FID depends on both, so another limit does not compare.
    """
    judged = card.judged
    same = (judged.extractor, judged.extractor_sha256, judged.limit_images)
    if same != (f"{extractor.name}:{extractor.layer}", extractor.sha256, n_images):
        return None
    return NetworkLimit(fid=judged.limit_fid, low=judged.limit_fid_low, high=judged.limit_fid_high)


def read_weights(name: str) -> dict[str, Tensor]:
    """Return the weights of a zoo network as float32.

    Read its card first, which checks the file.
    """
    path = weights_path(name)
    return read_state_dict(path.read_bytes(), str(path))


def network_difference(zoo: NetworkCard, wanted: NetworkCard) -> str:
    """Return the first difference of two architectures as text, or "" if they are equal.

    The zoo's value comes first.
    """
    if zoo.family != wanted.family:
        return f"family {zoo.family} instead of {wanted.family}"
    one, other = (network_params(card).model_dump(mode="json") for card in (zoo, wanted))
    names = (name for name in one if one[name] != other[name])
    return next((f"{name} = {one[name]} instead of {other[name]}" for name in names), "")


def _same_pixels(found: ZooCard, card: DatasetCard, data: DataSpec | None) -> bool:
    """Compare fingerprints if the images are on this machine, or known; a plan may lack them."""
    if data is not None and found.data.split == data.training and len(data.training_pixels) == len(found.data.pixels):
        return data.training_pixels == found.data.pixels
    try:
        return load_split(card, found.data.split).fingerprint == found.data.pixels
    except DataAbsentError:
        return found.data.split in card.splits
