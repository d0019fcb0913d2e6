"""Trains the feature network `cifar10-cnn` and writes cifar10_cnn.safetensors and cifar10_cnn.toml beside this file.

    ONECLOCK_DATA=FOLDER python -m harness.metrics.weights.make_cifar10_cnn

About ten minutes; see `cnn_training` for what it does and why it is seldom run.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.metrics.cifar10_network import Cifar10Network
from harness.metrics.frechet import ReferenceMoments, frechet_distance
from harness.metrics.moments import Moments
from harness.metrics.weights.cnn_training import (
    EVALUATION_BATCH,
    Facts,
    Recipe,
    evaluate,
    split_tensors,
    train,
    training_facts,
    write,
)

RECIPE = Recipe(epochs=8, batch=125, rate=2e-3, noise=50.0, blur=1.0, shift=3, border="replicate", mirror=True)


@torch.no_grad()
def moments(network: Cifar10Network, images: Tensor) -> Moments:
    """Return the statistics of the images' features."""
    return Moments.of(torch.cat([network.features(part) for part in images.split(EVALUATION_BATCH)]).numpy())


def floor(network: Cifar10Network, train_images: Tensor, test_images: Tensor) -> Facts:
    """Return how far real pictures are from real pictures: what a perfect sampler cannot go below."""
    first, second = (moments(network, half) for half in train_images.chunk(2))
    reference = ReferenceMoments.of(first.merge(second))
    one, other = (moments(network, half) for half in test_images.chunk(2))
    return {
        "distance": "squared Frechet distance in the features of this network, real pictures to real pictures",
        "test_to_train": round(frechet_distance(reference, one.merge(other)), 3),
        "halves_of_train": round(frechet_distance(ReferenceMoments.of(first), second), 3),
        "halves_of_test": round(frechet_distance(ReferenceMoments.of(one), other), 3),
    }


def main() -> None:
    """Train, write both files and print the facts."""
    images, labels, found = split_tensors("cifar10", "train")
    test_images, test_labels, found_test = split_tensors("cifar10", "test")
    network = train(Cifar10Network, images, labels, RECIPE)
    accuracy, r2 = evaluate(network, test_images, test_labels, RECIPE, copies=1)
    training = {
        "data": f"the card cifar10; {len(images)} train, {len(test_images)} test",
        "variant": found.variant,
        "variant_note": found.note,
        "train_pixels_sha256": found.fingerprint,
        "test_pixels_sha256": found_test.fingerprint,
        **training_facts(network, RECIPE, accuracy, r2),
    }
    resize = "none: images must be 32x32; grey is repeated to three channels"
    print(write("cifar10-cnn", network, resize, {"training": training, "floor": floor(network, images, test_images)}))


if __name__ == "__main__":
    main()
