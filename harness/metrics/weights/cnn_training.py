"""Trains a `SmallCnn`, measures it, and writes its weights and its facts: what the scripts make_*.py share.

Seeded, one thread, CPU. Another machine may differ in the last bits, hence in the SHA-256: figures of two trainings
never share a table, so the weights are shipped and a script is run only to make a new network.
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
Facts = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and the strongest faults that it is shown."""

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
    """Return the uint8 images [n, C, H, W] of a card's split, their labels [n], and what was found on loading."""
    found = load_split(load_card(card), split)
    assert found.labels is not None  # the cards trained on have ten
    return torch.from_numpy(found.images.copy()), torch.from_numpy(found.labels.copy()).long(), found


def spoil(images: Tensor, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return shifted, and for half of them noisy and blurred, images; and the two strengths, 0 to 1, [n, 2]."""
    n, shift = len(images), recipe.shift
    images = images.float()
    if recipe.mirror:
        images = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, images.flip(3), images)
    corner = torch.randint(0, 2 * shift + 1, (n, 2, 1, 1), generator=generator)
    rows = corner[:, 0] + torch.arange(images.shape[2])[:, None]
    columns = corner[:, 1] + torch.arange(images.shape[3])
    padded = F.pad(images, (shift,) * 4, mode=recipe.border)
    moved = padded[torch.arange(n)[:, None, None], :, rows, columns].permute(0, 3, 1, 2).contiguous()
    strengths = torch.rand(n, 2, generator=generator) * (torch.rand(n, 1, generator=generator) < 0.5)
    faulty = blur(moved, recipe.blur * strengths[:, 1, None, None, None], recipe.border)
    faulty = faulty + recipe.noise * strengths[:, 0, None, None, None] * torch.randn(moved.shape, generator=generator)
    return faulty.clamp(0, 255).round(), strengths


def train(kind: type[Network], images: Tensor, labels: Tensor, recipe: Recipe) -> Network:
    """Return the trained network; also makes the process compute on one thread and deterministically."""
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
            faulty, strengths = spoil(images[chosen], recipe, generator)
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
def evaluate(network: SmallCnn, images: Tensor, labels: Tensor, recipe: Recipe, copies: int) -> tuple[float, float]:
    """Return the accuracy on clean images and the explained share of the faults' variance on spoilt copies of them."""
    logits = torch.cat([network(part)[0] for part in images.split(EVALUATION_BATCH)])
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    faulty, strengths = spoil(images.repeat(copies, 1, 1, 1), recipe, generator)
    fault = torch.cat([network(part)[1] for part in faulty.split(EVALUATION_BATCH)])
    residual = ((fault - strengths) ** 2).mean()
    return accuracy, 1 - (residual / ((strengths - strengths.mean(0)) ** 2).mean()).item()


def training_facts(network: SmallCnn, recipe: Recipe, accuracy: float, r2: float) -> Facts:
    """Return the lines of the table [training] that every network has, after those about its data."""
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


def write(name: str, network: SmallCnn, resize: str, tables: Mapping[str, Facts]) -> str:
    """Write the weights and the facts beside this file, and return the text of the facts."""
    path = HERE / f"{name.replace('-', '_')}.safetensors"
    path.write_bytes(save(network.state_dict()))
    top: Facts = {
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
    for table, facts in tables.items():
        lines += ["", f"[{table}]", *_lines(facts)]
    text = "\n".join(lines) + "\n"
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    return text


def _lines(facts: Facts) -> list[str]:
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
