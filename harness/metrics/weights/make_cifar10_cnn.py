"""Trains the feature network `cifar10-cnn` and writes cifar10_cnn.safetensors and cifar10_cnn.toml next to this file.

    ONECLOCK_DATA=FOLDER python -m harness.metrics.weights.make_cifar10_cnn

About ten minutes; see `cnn_training` for details.
"""

from __future__ import annotations

from harness.metrics.cifar10_network import Cifar10Network
from harness.metrics.weights.cnn_training import CnnRecipe
from harness.metrics.weights.photograph_cnn import make_photograph_cnn

RECIPE = CnnRecipe(epochs=8, batch=125, rate=2e-3, noise=50.0, blur=1.0, shift=3, border="replicate", mirror=True)


def main() -> None:
    """Train, write both files and print the card."""
    print(make_photograph_cnn("cifar10-cnn", "cifar10", Cifar10Network, RECIPE))


if __name__ == "__main__":
    main()
