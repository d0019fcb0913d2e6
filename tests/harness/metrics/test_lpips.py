"""LPIPS with a given backbone, here of random weights: its formula, its file, its own head weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.models import alexnet

from harness.errors import UsageError
from harness.metrics.lpips import Lpips, _read_heads, read_backbone


@pytest.fixture(scope="module")
def features() -> torch.nn.Sequential:
    torch.manual_seed(0)
    made = alexnet(weights=None).features
    assert isinstance(made, torch.nn.Sequential)
    return made


@pytest.fixture(scope="module")
def state(features: torch.nn.Sequential) -> dict[str, torch.Tensor]:
    return {f"features.{name}": value for name, value in features.state_dict().items()}


def pictures(side: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    found = np.random.default_rng(seed).integers(0, 256, (3, channels, side, side)).astype(np.uint8)
    return torch.from_numpy(found)


@pytest.mark.parametrize("side", [64, 32, 80])
def test_it_is_the_papers_distance(features: torch.nn.Sequential, state: dict[str, torch.Tensor], side: int) -> None:
    one, other = pictures(side), pictures(side, seed=1)
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    layers = []
    for images in (one, other):
        x = ((images / 127.5 - 1) - shift[:, None, None]) / scale[:, None, None]
        x = interpolate(x, (64, 64), mode="bilinear", align_corners=False) if side < 64 else x
        layers.append([features[: last + 1](x).detach() for last in (1, 4, 7, 9, 11)])

    expected = np.zeros(3)
    for a, b, head in zip(*layers, _read_heads(), strict=True):
        unit_a, unit_b = (f / (f.square().sum(1, keepdim=True) + 1e-8).sqrt() for f in (a, b))
        expected += torch.einsum("nchw,c->nhw", (unit_a - unit_b) ** 2, head).mean((1, 2)).double().numpy()
    assert Lpips(state).by_image(one, other) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_have_none_and_grey_ones_count_as_three_channels(state: dict[str, torch.Tensor]) -> None:
    lpips, grey, other = Lpips(state), pictures(16, 1), pictures(16, 1, seed=1)
    assert lpips.by_image(grey, grey).tolist() == [0.0, 0.0, 0.0]
    coloured = lpips.by_image(grey.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
    assert lpips.by_image(grey, other).tolist() == coloured.tolist()
    assert (coloured > 0).all()


def test_heads_are_those_of_version_0_1() -> None:
    heads = _read_heads()
    assert [len(head) for head in heads] == [64, 192, 384, 256, 256]
    assert all((head >= 0).all() for head in heads)


def test_another_networks_file_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "right.pth")
    assert set(read_backbone(tmp_path / "right.pth")) == set(state)
    torch.save({name: value for name, value in state.items() if "10" not in name}, tmp_path / "wrong.pth")
    with pytest.raises(UsageError, match=r"wrong.pth: not the weights of AlexNet .*10.weight.*; give the state dict"):
        read_backbone(tmp_path / "wrong.pth")
