"""Trains a `SmallCnn`, evaluates it, and writes its weights and card: shared by the scripts make_*.py.

Seeded, one thread, CPU. Another machine may differ in the last bits, hence in the SHA-256. Figures of two trainings
are not comparable, so the weights are shipped and a script is run only to make a new network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from harness.data.cards import load_card
from harness.data.splits import Split, load_split
from harness.identity import file_sha256
from harness.metrics.small_cnn import SmallCnn, blur

HERE = Path(__file__).resolve().parent
EVALUATION_BATCH = 1000
Network = TypeVar("Network", bound=SmallCnn)
CardTable = Mapping[str, str | int | float]


@dataclass(frozen=True)
class CnnRecipe:
    """Training settings, and the strongest faults of the training images."""

    epochs: int
    batch: int
    rate: float
    noise: float  # standard deviation, grey levels
    blur: float  # share of the 3x3 binomial mean
    shift: int  # pixels
    border: str = "constant"  # what lies beyond the image's edge, as torch.nn.functional.pad has it
    mirror: bool = False
    seed: int = 0


def split_tensors(card: str, split: str) -> tuple[Tensor, Tensor, Split]:
    """Return the uint8 images [n, C, H, W] of a card's split, their labels [n], and the split as loaded."""
    found = load_split(load_card(card), split)
    assert found.labels is not None  # the cards trained on have ten
    return torch.from_numpy(found.images.copy()), torch.from_numpy(found.labels.copy()).long(), found


def add_faults(images: Tensor, recipe: CnnRecipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return shifted, and for half of them noisy and blurred, images; and the two strengths, 0 to 1, [n, 2]."""
    n, shift = len(images), recipe.shift
    images = images.float()
    if recipe.mirror:
        images = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, images.flip(3), images)

    # shift: a window at a random corner of the padded image
    corner = torch.randint(0, 2 * shift + 1, (n, 2, 1, 1), generator=generator)
    rows = corner[:, 0] + torch.arange(images.shape[2])[:, None]
    columns = corner[:, 1] + torch.arange(images.shape[3])
    padded = F.pad(images, (shift,) * 4, mode=recipe.border)
    moved = padded[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2).contiguous()

    # noise and blur, for half of the images
    strengths = torch.rand(n, 2, generator=generator) * (torch.rand(n, 1, generator=generator) < 0.5)
    faulty = blur(moved, recipe.blur * strengths[:, 1, None, None, None], recipe.border)
    faulty = faulty + recipe.noise * strengths[:, 0, None, None, None] * torch.randn(moved.shape, generator=generator)
    return faulty.clamp(0, 255).round(), strengths


def train_cnn(kind: type[Network], images: Tensor, labels: Tensor, recipe: CnnRecipe) -> Network:
    """Return the trained network; leaves the process single-threaded and deterministic."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)

    generator = torch.Generator().manual_seed(recipe.seed)
    network = kind()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=1e-2)
    batches = -(-len(images) // recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * batches)

    for epoch in range(recipe.epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(recipe.batch):
            faulty, strengths = add_faults(images[chosen], recipe, generator)
            logits, fault = network(faulty)
            loss = F.cross_entropy(logits, labels[chosen]) + 10 * F.mse_loss(fault, strengths)

            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"# epoch {epoch + 1} of {recipe.epochs}: mean loss {total / batches:.3f}", flush=True)
    return network.eval()


@torch.no_grad()
def evaluate(network: SmallCnn, images: Tensor, labels: Tensor, recipe: CnnRecipe, copies: int) -> tuple[float, float]:
    """Return the accuracy on clean images and the explained share of the faults' variance on faulty copies of them."""
    logits = torch.cat([network(part)[0] for part in images.split(EVALUATION_BATCH)])
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    faulty, strengths = add_faults(images.repeat(copies, 1, 1, 1), recipe, generator)
    fault = torch.cat([network(part)[1] for part in faulty.split(EVALUATION_BATCH)])
    residual = ((fault - strengths) ** 2).mean()
    return accuracy, 1 - (residual / ((strengths - strengths.mean(0)) ** 2).mean()).item()


def training_table(network: SmallCnn, recipe: CnnRecipe, accuracy: float, r2: float) -> CardTable:
    """Return the entries of a card's table [training] that do not concern its data."""
    return {
        "tasks": f"cross-entropy of the {network.label_head} (faulty images too) + squared error of the strengths of "
        "noise and blur",
        "augmentation": f"shift by up to {recipe.shift} pixel; {'mirror images; ' if recipe.mirror else ''}half of the "
        f"images with noise up to sd {recipe.noise} and blur up to {recipe.blur}",
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "learning_rate": recipe.rate,
        "optimizer": "AdamW, weight decay 1e-2, one cosine cycle",
        "test_accuracy": round(accuracy, 4),
        "test_fault_r2": round(r2, 4),
        "parameters": sum(p.numel() for p in network.parameters()),
        "torch_version": torch.__version__,
    }


def write_network(name: str, network: SmallCnn, resize: str, tables: Mapping[str, CardTable]) -> str:
    """Write weights and card next to this file, and return the card's text."""
    path = HERE / f"{name.replace('-', '_')}.safetensors"
    path.write_bytes(save(network.state_dict()))

    top: CardTable = {
        "name": name,
        "file": path.name,
        "sha256": file_sha256(path),
        "layer": "hidden",
        "dim": network.dim,
        "resize": resize,
        "input": "uint8 0..255, x / 127.5 - 1",
    }

    script = f"make_{name.replace('-', '_')}.py"
    lines = [f"# Written by {script}. Do not edit: the loader compares the SHA-256.", *_lines(top)]
    for name_of_table, table in tables.items():
        lines += ["", f"[{name_of_table}]", *_lines(table)]
    text = "\n".join(lines) + "\n"
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    return text


def _lines(table: CardTable) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
