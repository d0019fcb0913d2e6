"""Trains and evaluates a feature network of photographs: shared by make_cifar10_cnn and make_cifar10_16_cnn."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments
from harness.metrics.small_cnn import SmallCnn
from harness.metrics.weights.cnn_training import (
    EVALUATION_BATCH,
    CardTable,
    CnnRecipe,
    evaluate,
    split_tensors,
    train_cnn,
    training_table,
    write_network,
)


def make_photograph_cnn(name: str, card: str, kind: type[SmallCnn], recipe: CnnRecipe) -> str:
    """Train on a data card's split "train", write weights and card, and return the card's text."""
    images, labels, found = split_tensors(card, "train")
    test_images, test_labels, found_test = split_tensors(card, "test")
    network = train_cnn(kind, images, labels, recipe)

    accuracy, r2 = evaluate(network, test_images, test_labels, recipe, copies=1)
    training = {
        "data": f"the card {card}; {len(images)} train, {len(test_images)} test",
        "variant": found.variant,
        "variant_note": found.note,
        "train_pixels_sha256": found.fingerprint,
        "test_pixels_sha256": found_test.fingerprint,
        **training_table(network, recipe, accuracy, r2),
    }
    resize = f"none: images must be {kind.size}x{kind.size}; grey is repeated to three channels"
    return write_network(
        name, network, resize, {"training": training, "floor": real_distances(network, images, test_images)}
    )


def real_distances(network: SmallCnn, train_images: Tensor, test_images: Tensor) -> CardTable:
    """Return the distances between sets of real pictures: what a perfect sampler cannot go below."""
    first, second = (feature_moments(network, half) for half in train_images.chunk(2))
    reference = ReferenceMoments.of(first.merge(second))
    one, other = (feature_moments(network, half) for half in test_images.chunk(2))
    return {
        "distance": "squared Frechet distance in the features of this network, real pictures to real pictures",
        "test_to_train": round(frechet_distance(reference, one.merge(other)), 3),
        "halves_of_train": round(frechet_distance(ReferenceMoments.of(first), second), 3),
        "halves_of_test": round(frechet_distance(ReferenceMoments.of(one), other), 3),
    }


@torch.no_grad()
def feature_moments(network: SmallCnn, images: Tensor) -> Moments:
    """Return the statistics of the images' features."""
    return Moments.of(torch.cat([network.features(part) for part in images.split(EVALUATION_BATCH)]).numpy())
