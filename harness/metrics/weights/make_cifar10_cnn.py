"""Trains the feature network `cifar10-cnn` and writes cifar10_cnn.safetensors and cifar10_cnn.toml beside this file.

    ONECLOCK_DATA=FOLDER python -m harness.metrics.weights.make_cifar10_cnn

About ten minutes; see `cnn_training` for what it does and why it is seldom run.
"""

from __future__ import annotations

from harness.metrics.cifar10_network import Cifar10Network
from harness.metrics.weights.cnn_training import Recipe
from harness.metrics.weights.photograph_cnn import make

RECIPE = Recipe(epochs=8, batch=125, rate=2e-3, noise=50.0, blur=1.0, shift=3, border="replicate", mirror=True)


def main() -> None:
    """Train, write both files and print the facts."""
    print(make("cifar10-cnn", "cifar10", Cifar10Network, RECIPE))


if __name__ == "__main__":
    main()
