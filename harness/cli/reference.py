"""The verb `reference`: statistics of a data set's reference split, in a file that suites take in place of pictures."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from harness.cli.new.feature_network import describe_no_feature_network, fitting_feature_network
from harness.data.cards import DatasetCard, load_card
from harness.data.disk_array import disk_array, fits_memory, release_pages
from harness.data.shipped_reference import ShippedReference, reference_command, write_shipped_reference
from harness.data.splits import Split, load_split
from harness.errors import UsageError, check_folder
from harness.fetching.lookup import find_extractor_weights
from harness.measure.usable_cores import count_worker_cores
from harness.metrics.authenticity import Neighbours
from harness.metrics.extractors import Extractor, extractor_spec, load_extractor
from harness.metrics.feature_stream import Features
from harness.metrics.kernel_distance import pair_mean
from harness.metrics.reference import reference_of
from harness.metrics.statistics_file import write_statistics
from harness.planning.quality_checks import check_picture_size
from harness.sampling.numerics import fixed_numerics
from harness.sources import library_versions
from harness.specs.sampler import ExtractorSpec
from harness.tasks.reference import feature_blocks


def write_reference(dataset: str, out: Path, extractor: str | None) -> Path:
    """Write features, their mean and covariance, and how they were made; return the file. Blocks until it is there.

    `extractor` is a feature network by name, or NAME:PATH with its weights; None takes the shipped one that fits.
    UsageError, before anything is computed, for a name that exists, another ending than .npz, absent pictures and
    what the feature network does not take.
    """
    check_out(out)
    card, spec, split, features = _measure_features(dataset, extractor)
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


def write_shipped(dataset: str, extractor: str | None) -> Path:
    """Write what runs take in place of a data set's reference pictures into datasets/references; return the file.

    Features of evenly spaced pictures are kept in half precision. UsageError as `write_reference` raises it, and for
    pictures that the card does not pin.
    """
    card, spec, split, features = _measure_features(dataset, extractor)
    training = load_split(card, card.training_split)
    if split.variant in ("unpinned", ""):
        raise UsageError(
            f'the pixels of "{card.name}" {card.reference} are pinned nowhere in its card; expected their SHA-256 '
            "there, so that runs know what the file stands for"
        )

    # as a reference task has it, the kept features rounded
    whole = reference_of(features)
    rounded = whole.kernel_features.astype(np.float16)
    kept = rounded.astype(np.float32)
    neighbours = Neighbours.none() if whole.codes else Neighbours.of(kept)
    found = replace(whole, kernel_features=kept, kernel_pair_mean=pair_mean(kept), neighbours=neighbours)
    arrays = save({**found.to_tensors(), "kernel_features": rounded})

    made = ShippedReference(
        dataset=card.name,
        split=card.reference,
        pixels=split.fingerprint,
        training_split=card.training_split,
        training_pixels=training.fingerprint,
        variant=split.variant,
        images=len(features),
        extractor=spec.name,
        layer=spec.layer,
        resize=spec.resize,
        extractor_sha256=spec.sha256,
        kept_features=len(kept),
        coded_features=len(whole.codes) if whole.codes else 0,
        # the file, and how it was made
        sha256=hashlib.sha256(arrays).hexdigest(),
        command=reference_command(card.name, spec.name),
        libraries=library_versions("harness.tasks.reference"),
    )
    return write_shipped_reference(made, arrays)


def _measure_features(dataset: str, extractor: str | None) -> tuple[DatasetCard, ExtractorSpec, Split, Features]:
    """Return a data set's card, the feature network, the reference split, and the features of all its pictures."""
    card = load_card(dataset)
    name, _, given = choose_extractor(card, extractor).partition(":")
    weights = find_extractor_weights(name, Path(given) if given else None)
    spec = extractor_spec(name, weights)
    check_picture_size(card, spec)
    split = load_split(card, card.reference)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with fixed_numerics(device, count_worker_cores()):
        features = _all_features(load_extractor(name, weights, device), split)
    return card, spec, split, features


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
