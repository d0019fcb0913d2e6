"""The verb `reference`: statistics of a data set's reference split, in a file that suites take in place of pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch

from harness.cli.new.feature_network import describe_no_feature_network, fitting_feature_network
from harness.data.cards import DatasetCard, load_card
from harness.data.disk_array import disk_array, fits_memory, release_pages
from harness.data.splits import Split, load_split
from harness.errors import UsageError, check_folder
from harness.fetching.lookup import find_extractor_weights
from harness.measure.usable_cores import count_worker_cores
from harness.metrics.extractors import Extractor, extractor_spec, load_extractor
from harness.metrics.feature_stream import Features
from harness.metrics.statistics_file import write_statistics
from harness.planning.quality_checks import check_picture_size
from harness.sampling.numerics import fixed_numerics
from harness.tasks.reference import feature_blocks


def write_reference(dataset: str, out: Path, extractor: str | None) -> Path:
    """Write features, their mean and covariance, and how they were made; return the file. Blocks until it is there.

    `extractor` is a feature network by name, or NAME:PATH with its weights; None takes the shipped one that fits.
    UsageError, before anything is computed, for a name that exists, another ending than .npz, absent pictures and
    what the feature network does not take.
    """
    check_out(out)
    card = load_card(dataset)
    name, _, given = choose_extractor(card, extractor).partition(":")
    weights = find_extractor_weights(name, Path(given) if given else None)
    spec = extractor_spec(name, weights)
    check_picture_size(card, spec)
    split = load_split(card, card.reference)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with fixed_numerics(device, count_worker_cores()):
        features = _all_features(load_extractor(name, weights, device), split)

    stated = {
        "extractor": spec.name,
        "layer": spec.layer,
        "resize": spec.resize,
        "extractor_sha256": spec.sha256,
        "dataset": card.name,
        "split": card.reference,
        "pixels_sha256": split.fingerprint,
    }
    write_statistics(out, features, stated)
    return out


def _all_features(network: Extractor, split: Split) -> Features:
    """Return the features of all images [n, d], on disk where memory does not hold them."""
    features: Features | None = None
    start = 0
    for stop, block in feature_blocks(network, split.images):
        if features is None:
            features = _room((len(split.images), block.shape[1]))
        features[start:stop] = block
        start = stop
        release_pages(split.images)
    assert features is not None  # no split is empty
    return features


def _room(shape: tuple[int, int]) -> Features:
    size = 4 * shape[0] * shape[1]
    if fits_memory(size):
        return np.empty(shape, dtype=np.float32)
    try:
        return disk_array(shape, np.float32)
    except OSError as error:
        raise UsageError(
            f"the features take {size / 1e9:.1f} GB, which neither memory nor {tempfile.gettempdir()} holds "
            f"({error.strerror}); expected room for them, so set TMPDIR to a folder that has it"
        ) from None


def check_out(out: Path) -> None:
    """Raise UsageError for a file that exists, another ending than .npz, or a folder that is none."""
    if out.suffix != ".npz":
        raise UsageError(f"--out is {out}; expected a name that ends in .npz")
    if out.exists():
        raise UsageError(f"{out} exists and is left as it is; expected a new name, or remove it first")
    check_folder(out.parent)
    if not out.parent.is_dir():
        raise UsageError(f"found no folder {out.parent}; expected the one that {out.name} goes to, so make it first")


def choose_extractor(card: DatasetCard, extractor: str | None) -> str:
    """Return a feature network as given, else the shipped one that fits; UsageError where there is none."""
    if extractor is not None:
        return extractor
    fitting = fitting_feature_network(card.channels, card.resolution)
    if fitting is None:
        raise UsageError(describe_no_feature_network(card.resolution))
    return fitting.name
