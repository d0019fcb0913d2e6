"""Trains the feature network `digits-cnn` and writes digits_cnn.safetensors and digits_cnn.toml beside this file.

    python -m harness.metrics.weights.make_digits_cnn

Seeded, one thread, CPU, under a minute. Another machine may differ in the last bits, hence in the SHA-256: figures of
two trainings never share a table, so the weights are shipped and this is run only to make a new network.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from harness.data.cards import load_card
from harness.data.pixels import load_split
from harness.identity import file_sha256
from harness.metrics.digits_network import FEATURES, DigitsNetwork, blur

HERE = Path(__file__).resolve().parent
SEED, EPOCHS, BATCH, RATE = 0, 100, 100, 2e-3
NOISE, BLUR, SHIFT = 80.0, 1.0, 1  # strongest noise (sd, grey levels), blur (share) and shift (pixels) shown

FACTS = """# Written by make_digits_cnn.py. Do not edit: the loader compares the SHA-256.
name = "digits-cnn"
file = "digits_cnn.safetensors"
sha256 = "{sha256}"
layer = "hidden"
dim = {dim}
resize = "none: images must be 8x8; colours are averaged to grey"
input = "uint8 0..255, x / 127.5 - 1"

[training]
data = "scikit-learn digits, round(value / 16 * 255); first {train} train, last {test} test"
tasks = "cross-entropy of the digit (faulty images too) + squared error of the strengths of noise and blur"
augmentation = "shift by up to {shift} pixel; half of the images with noise up to sd {noise} and blur up to {blur}"
seed = {seed}
epochs = {epochs}
batch = {batch}
learning_rate = {rate}
optimizer = "AdamW, weight decay 1e-2, one cosine cycle"
test_accuracy = {accuracy:.4f}
test_fault_r2 = {r2:.4f}
parameters = {parameters}
torch_version = "{version}"
"""


def digits(split: str) -> tuple[Tensor, Tensor]:
    """Return the images of a split of the card `digits` as float32 grey levels [n, 1, 8, 8] and their digits [n]."""
    found = load_split(load_card("digits"), split)
    assert found.labels is not None  # the card says that it has ten
    return torch.from_numpy(found.images.copy()).float(), torch.from_numpy(found.labels.copy()).long()


def spoil(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return shifted, and for half of them noisy and blurred, images; and the two strengths, 0 to 1, [n, 2]."""
    n = len(images)
    corner = torch.randint(0, 2 * SHIFT + 1, (n, 2, 1, 1), generator=generator)
    rows, columns = corner[:, 0] + torch.arange(8)[:, None], corner[:, 1] + torch.arange(8)
    moved = F.pad(images, (SHIFT,) * 4)[torch.arange(n)[:, None, None], 0, rows, columns][:, None]
    strengths = torch.rand(n, 2, generator=generator) * (torch.rand(n, 1, generator=generator) < 0.5)
    faulty = blur(moved, BLUR * strengths[:, 1, None, None, None])
    faulty = faulty + NOISE * strengths[:, 0, None, None, None] * torch.randn(moved.shape, generator=generator)
    return faulty.clamp(0, 255).round(), strengths


def train(images: Tensor, labels: Tensor) -> DigitsNetwork:
    """Return the trained network."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    total = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            faulty, strengths = spoil(images[chosen], generator)
            logits, fault = network(faulty)
            loss = F.cross_entropy(logits, labels[chosen]) + 10 * F.mse_loss(fault, strengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def evaluate(network: DigitsNetwork, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the accuracy on clean images and the explained share of the faults' variance on spoilt ones."""
    accuracy = (network(images)[0].argmax(1) == labels).double().mean().item()
    faulty, strengths = spoil(images.repeat(10, 1, 1, 1), torch.Generator().manual_seed(SEED + 1))
    residual = ((network(faulty)[1] - strengths) ** 2).mean()
    return accuracy, 1 - (residual / ((strengths - strengths.mean(0)) ** 2).mean()).item()


def main() -> None:
    """Train, write both files and print the facts."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels = digits("train")
    test_images, test_labels = digits("test")
    began = time.perf_counter()
    network = train(images, labels)
    accuracy, r2 = evaluate(network, test_images, test_labels)
    path = HERE / "digits_cnn.safetensors"
    path.write_bytes(save(network.state_dict()))
    facts = FACTS.format(
        sha256=file_sha256(path), dim=FEATURES, train=len(images), test=len(test_images), shift=SHIFT, noise=NOISE,
        blur=BLUR, seed=SEED, epochs=EPOCHS, batch=BATCH, rate=RATE, accuracy=accuracy, r2=r2,
        parameters=sum(p.numel() for p in network.parameters()), version=torch.__version__,
    )  # fmt: skip
    path.with_suffix(".toml").write_text(facts, encoding="utf-8")
    print(facts + f"# trained in {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
