"""DINOv2: names and sizes of the published file, positions by the bicubic formula, and files that are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import harness.metrics.dinov2_network as dinov2_network
from harness.errors import UsageError
from harness.metrics.dinov2_network import (
    DINOV2_LARGE,
    DinoV2Network,
    VitSize,
    interpolate_positions,
    prepare_pictures,
)
from harness.metrics.extractors import extractor_spec, load_extractor

TINY = VitSize(width=16, depth=2, heads=2, patch=2, trained_patches=5)
PUBLISHED = {
    "cls_token": (1, 1, 1024), "pos_embed": (1, 1370, 1024), "mask_token": (1, 1024),
    "patch_embed.proj.weight": (1024, 3, 14, 14), "patch_embed.proj.bias": (1024,),
    "norm.weight": (1024,), "norm.bias": (1024,),
}  # fmt: skip
OF_A_BLOCK = {
    "norm1.weight": (1024,), "norm1.bias": (1024,), "attn.qkv.weight": (3072, 1024), "attn.qkv.bias": (3072,),
    "attn.proj.weight": (1024, 1024), "attn.proj.bias": (1024,), "ls1.gamma": (1024,), "norm2.weight": (1024,),
    "norm2.bias": (1024,), "mlp.fc1.weight": (4096, 1024), "mlp.fc1.bias": (4096,), "mlp.fc2.weight": (1024, 4096),
    "mlp.fc2.bias": (1024,), "ls2.gamma": (1024,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the published network be a tiny one of the same names, which sees pictures of 8x8."""
    monkeypatch.setattr(dinov2_network, "DINOV2_LARGE", TINY)
    monkeypatch.setattr("harness.metrics.feature_networks.DINOV2_LARGE", TINY)
    monkeypatch.setattr(
        "harness.metrics.feature_networks.prepare_pictures", lambda images: prepare_pictures(images, side=8)
    )


def drawn(seed: int = 0) -> dict[str, Tensor]:
    """Return weights of the tiny network, all far from zero."""
    generator = torch.Generator().manual_seed(seed)
    state = DinoV2Network(TINY).state_dict()
    return {name: 0.5 * torch.randn(value.shape, generator=generator) for name, value in state.items()}


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        found = {name: tuple(value.shape) for name, value in DinoV2Network(DINOV2_LARGE).state_dict().items()}
    blocks = {f"blocks.{n}.{name}": shape for n in range(24) for name, shape in OF_A_BLOCK.items()}
    assert found == PUBLISHED | blocks
    assert len(found) == 343


def cubic(distance: float) -> float:
    """Return the weight of a value so far away, by Keys' kernel with a = -0.75, as torch has it."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def interpolated(line: np.ndarray, count: int, scale: float) -> np.ndarray:
    """Return a line of values resampled to `count` of them, one by one."""
    found = []
    for place in range(count):
        source = (place + 0.5) / scale - 0.5
        near = range(math.floor(source) - 1, math.floor(source) + 3)
        found.append(sum(cubic(source - k) * line[min(max(k, 0), len(line) - 1)] for k in near))
    return np.array(found)


def test_positions_are_those_of_the_bicubic_formula() -> None:
    grid = np.random.default_rng(0).normal(size=(37, 37))
    tokens = torch.from_numpy(np.concatenate([[7.0], grid.ravel()]))[None, :, None]
    found = interpolate_positions(tokens, 37, 16, 16)[0, :, 0].numpy()
    scale = (16 + 0.1) / 37
    rows = np.stack([interpolated(row, 16, scale) for row in grid])
    expected = np.stack([interpolated(column, 16, scale) for column in rows.T]).T
    assert found[0] == 7.0  # the class token's own stays
    np.testing.assert_allclose(found[1:].reshape(16, 16), expected, rtol=0, atol=1e-6)
    by_size = F.interpolate(tokens[:, 1:].reshape(1, 1, 37, 37), size=(16, 16), mode="bicubic")
    assert np.abs(by_size[0, 0].numpy() - expected).max() > 1e-2  # the same shape and wrong


def test_positions_of_as_many_patches_stay() -> None:
    positions = drawn()["pos_embed"]
    assert torch.equal(interpolate_positions(positions, 5, 5, 5), positions)


def scalar_forward(weights: dict[str, Tensor], picture: np.ndarray) -> np.ndarray:
    """Return the class token of one normalised picture [3, 8, 8] by the formulas of the paper, in float64."""
    w = {name: value.double().numpy() for name, value in weights.items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    patches = [picture[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].ravel() for i in range(4) for j in range(4)]
    kernel = w["patch_embed.proj.weight"].reshape(16, -1)
    tokens = np.concatenate([w["cls_token"][0], np.stack(patches) @ kernel.T + w["patch_embed.proj.bias"]])
    grid = w["pos_embed"][0, 1:].reshape(5, 5, 16)
    rows = np.stack([[interpolated(grid[i, :, c], 4, 4.1 / 5) for c in range(16)] for i in range(5)])  # [5, 16, 4]
    whole = np.stack([[interpolated(rows[:, c, j], 4, 4.1 / 5) for c in range(16)] for j in range(4)])  # [4j, 16, 4i]
    tokens = tokens + np.concatenate([w["pos_embed"][0, :1], whole.transpose(2, 0, 1).reshape(16, 16)])

    for n in range(2):
        qkv = linear(norm(tokens, f"blocks.{n}.norm1"), f"blocks.{n}.attn.qkv")
        heads = []
        for head in range(2):
            query, key, value = (qkv[:, 16 * k + 8 * head : 16 * k + 8 * head + 8] for k in range(3))
            scores = np.exp(query @ key.T / math.sqrt(8))
            heads.append(scores / scores.sum(1, keepdims=True) @ value)
        mixed = linear(np.concatenate(heads, axis=1), f"blocks.{n}.attn.proj")
        tokens = tokens + w[f"blocks.{n}.ls1.gamma"] * mixed
        inner = linear(norm(tokens, f"blocks.{n}.norm2"), f"blocks.{n}.mlp.fc1")
        gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        tokens = tokens + w[f"blocks.{n}.ls2.gamma"] * linear(gelu, f"blocks.{n}.mlp.fc2")
    return norm(tokens[0], "norm")


def test_the_class_token_is_that_of_the_formulas() -> None:
    network, weights = DinoV2Network(TINY).double(), drawn()
    network.load_state_dict(weights)
    picture = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = network(picture)[0].detach().numpy()
    np.testing.assert_allclose(found, scalar_forward(weights, picture[0].numpy()), rtol=1e-9)


def test_pictures_are_normalised_and_not_rounded() -> None:
    images = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    same = prepare_pictures(images, side=6)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(same, ((images.float() / 255).movedim(1, 3) - mean).div(std).movedim(3, 1))
    black = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(3).expand(1, 3, 6, 6)
    assert prepare_pictures(black, side=12).min() < same.new_tensor(-0.485 / 0.229)  # overshoots black


def test_a_file_gives_features_by_its_name_and_hash(tmp_path: Path) -> None:
    file, weights = tmp_path / "dinov2_vitl14_pretrain.pth", drawn()
    torch.save(weights, file)
    spec, extractor = extractor_spec("dinov2", file), load_extractor("dinov2", file)
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = DinoV2Network(TINY)
    network.load_state_dict(weights)
    assert torch.equal(extractor(images), network(prepare_pictures(images, 8)))
    grey = images[:, :1]
    assert torch.equal(extractor(grey), extractor(grey.repeat(1, 3, 1, 1)))
    assert spec.title == "dinov2:class-token bicubic-antialias-float-224"
    assert len(spec.sha256) == 64
    torch.save(drawn(1), tmp_path / "other.pth")
    assert extractor_spec("dinov2", tmp_path / "other.pth").sha256 != spec.sha256


def with_registers(weights: dict[str, Tensor]) -> None:
    weights["register_tokens"] = torch.zeros(1, 4, 16)


def of_transformers(weights: dict[str, Tensor]) -> None:
    weights["encoder.layer.0.norm1.weight"] = weights.pop("blocks.0.norm1.weight")


def of_another_size(weights: dict[str, Tensor]) -> None:
    weights["norm.weight"] = torch.zeros(8)


def without_a_tensor(weights: dict[str, Tensor]) -> None:
    del weights["mask_token"]


def in_half_precision(weights: dict[str, Tensor]) -> None:
    weights["norm.bias"] = weights["norm.bias"].half()


def not_finite(weights: dict[str, Tensor]) -> None:
    weights["norm.bias"][3] = math.nan


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (with_registers, "found register_tokens, of the DINOv2 with registers"),
        (of_transformers, "found the names of facebook/dinov2-large"),
        (of_another_size, r"norm.weight is \[8\], where ViT-L/14 has \[16\]"),
        (without_a_tensor, "mask_token is no such tensor"),
        (in_half_precision, "norm.bias is torch.float16 or not finite"),
        (not_finite, "norm.bias is torch.float32 or not finite"),
    ],
)
def test_other_weights_are_refused_by_name(
    change: Callable[[dict[str, Tensor]], None], sentence: str, tmp_path: Path
) -> None:
    weights, file = drawn(), tmp_path / "weights.pth"
    change(weights)
    torch.save(weights, file)
    with pytest.raises(UsageError, match=sentence):
        extractor_spec("dinov2", file)


def test_programs_are_refused(tmp_path: Path) -> None:
    script = tmp_path / "inception.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    pickled = tmp_path / "inception.pkl"
    pickled.write_bytes(b"no matter")
    for name in ("dinov2", "inception-v3-compat"):
        with pytest.raises(UsageError, match="found a TorchScript program"):
            extractor_spec(name, script)
        with pytest.raises(UsageError, match=r"\.pkl files of feature networks are programs"):
            extractor_spec(name, pickled)


def test_the_inception_of_torchvision_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "inception_v3_google.pth"
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, file)
    with pytest.raises(UsageError, match="found the Inception of torchvision"):
        extractor_spec("inception-v3-compat", file)
