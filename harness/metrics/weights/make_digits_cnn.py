"""Trains the feature network `digits-cnn` and writes digits_cnn.safetensors and digits_cnn.toml next to this file.

    python -m harness.metrics.weights.make_digits_cnn

Under a minute; see `cnn_training` for details.
"""

from __future__ import annotations

from harness.metrics.digits_network import DigitsNetwork
from harness.metrics.weights.cnn_training import (
    CnnRecipe,
    evaluate,
    split_tensors,
    train_cnn,
    training_table,
    write_network,
)

RECIPE = CnnRecipe(epochs=100, batch=100, rate=2e-3, noise=80.0, blur=1.0, shift=1)


def main() -> None:
    """Train, write both files and print the card."""
    images, labels, _ = split_tensors("digits", "train")
    test_images, test_labels, _ = split_tensors("digits", "test")
    network = train_cnn(DigitsNetwork, images, labels, RECIPE)
    accuracy, r2 = evaluate(network, test_images, test_labels, RECIPE, copies=10)
    data = f"scikit-learn digits, round(value / 16 * 255); first {len(images)} train, last {len(test_images)} test"
    training = {"data": data, **training_table(network, RECIPE, accuracy, r2)}
    resize = "none: images must be 8x8; colours are averaged to grey"
    print(write_network("digits-cnn", network, resize, {"training": training}))


if __name__ == "__main__":
    main()
