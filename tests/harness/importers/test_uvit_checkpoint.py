"""Checkpoints of U-ViT: sizes from shapes, the process from the published table or a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from kit.imports_kit import build_imported, draw_weights, noisy_images, relative_gap
from torch import Tensor

from harness.errors import UsageError
from harness.importers import dit_checkpoint
from harness.importers.imported import ImportedNetwork
from harness.importers.uvit_checkpoint import read, recognises
from methods.networks.base import DataShape
from methods.networks.uvit import UViT, UViTParams
from methods.networks.vp_process import LinearBeta, ScaledLinearBeta


def make_uvit(shape: DataShape, **params: Any) -> UViT:
    sizes = {"depth": 2, "width": 16, "heads": 2, "patch": 2, "preconditioning": "vp"}
    network = UViT(UViTParams(**{**sizes, **params}), shape)
    draw_weights(network)
    return network.eval()


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, path)
    return path


def without_range(found: ImportedNetwork) -> ImportedNetwork:
    """Return a network whose parameters have no range, which changes no D."""
    params = {key: value for key, value in found.params.items() if key != "sigma_range"}
    return ImportedNetwork(**{**vars(found), "params": params})


def test_d_is_the_formula_of_the_linear_sde(tmp_path: Path) -> None:
    network = make_uvit(DataShape(3, 8))
    source = saved(tmp_path / "x.pth", network.state_dict())
    assert recognises(source)
    assert not dit_checkpoint.recognises(source)
    found = read(source, {"process": "vp", "heads": 2})
    assert found.params["sigma_range"] == pytest.approx([0.010486, 152.167], rel=1e-4)

    times = torch.tensor([0.01, 0.3, 0.77, 1.0], dtype=torch.float64)
    sigma = LinearBeta().sigma(times)
    x, s = noisy_images(sigma, 3, 8), sigma[:, None, None, None]
    with torch.no_grad():
        wanted = x - s * network.double().raw(x / (1 + s**2).sqrt(), 999 * times)
    assert relative_gap(build_imported(without_range(found))(x, sigma), wanted) <= 1e-6  # float32 angles of labels
    other = read(source, {"process": "vp-latent", "heads": 2})
    assert relative_gap(build_imported(without_range(other))(x, sigma), wanted) > 1e-3


def test_labels_of_the_latent_process_count_from_one() -> None:
    process = ScaledLinearBeta()
    steps = torch.arange(1000, dtype=torch.float64)
    labels = process.label(process.time(process.sigma(steps / 1000)))
    assert float((labels - steps - 1).abs().max()) <= 1e-6


def test_heads_change_the_output_and_no_shape(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.pth", make_uvit(DataShape(3, 8)).state_dict())
    found, other = (without_range(read(source, {"process": "vp", "heads": heads})) for heads in (2, 4))
    sigma = torch.tensor([0.5, 5.0], dtype=torch.float64)
    x = noisy_images(sigma, 3, 8)
    assert relative_gap(build_imported(other)(x, sigma), build_imported(found)(x, sigma)) > 1e-4


@pytest.mark.parametrize(
    ("depth", "width", "patch", "shape", "params", "process"),
    [
        (12, 512, 2, (3, 32), {}, "vp"),
        (20, 1024, 2, (4, 32), {"classes": 1000}, "vp"),
        (20, 1024, 4, (3, 64), {"classes": 999}, "vp"),
        (28, 1152, 2, (4, 32), {"classes": 1000, "conv": False}, "vp-latent"),
        (28, 1152, 4, (4, 64), {"classes": 1000, "conv": False}, "vp-latent"),
    ],
)
def test_the_published_sizes_decide_process_and_heads(
    depth: int, width: int, patch: int, shape: Any, params: dict[str, Any], process: str
) -> None:
    from harness.importers import uvit_checkpoint

    with torch.device("meta"):
        sizes = {"depth": depth, "width": width, "patch": patch, "preconditioning": "vp", "heads": 8}
        state = UViT(UViTParams(**sizes, **params), DataShape(*shape)).state_dict()
    found, defaulted, (channels, side) = uvit_checkpoint._params(state, Path("x.pth"), {})
    assert (channels, side) == shape
    assert found["heads"] * 64 in (width, 1024 + 128 - 128) or found["heads"] * 72 == width
    rows = params.get("classes", -1) + 1  # of 1000 none is for no class
    assert (found.get("classes", 0), found.get("null_class", True)) == (min(rows, 1000), rows != 1000)
    assert defaulted == (["heads", "classes"] if "classes" in params else ["heads"])
    assert uvit_checkpoint._PUBLISHED_PROCESSES[(depth, width, patch, channels, side)] == process


def test_what_no_shape_says_must_be_stated(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.pth", make_uvit(DataShape(3, 8), classes=10).state_dict())
    for stated, missing in (
        ({}, "heads"),
        ({"heads": 2}, "classes"),
        ({"heads": 2, "classes": 10}, "process"),
    ):
        with pytest.raises(UsageError, match=f"--state {missing}="):
            read(source, stated)
    found = read(source, {"heads": 2, "classes": 10, "process": "vp-latent"})
    assert found.origin["classes"] == {"count": 10, "null": True}
    assert found.origin["sigma_range"] == pytest.approx([0.0291672, 14.61464], rel=1e-5)


def test_raw_weights_are_known_by_their_file(tmp_path: Path) -> None:
    source = saved(tmp_path / "nnet.pth", make_uvit(DataShape(3, 8)).state_dict())
    stated = {"process": "vp", "heads": 2}
    with pytest.raises(UsageError, match=r"nnet\.pth holds the raw weights; expected nnet_ema\.pth"):
        read(source, stated)
    assert read(source, {**stated, "weights": "raw"}).origin["weights"] == "raw"


def test_captions_are_refused(tmp_path: Path) -> None:
    state = make_uvit(DataShape(3, 8)).state_dict() | {"context_embed.weight": torch.zeros(2, 2)}
    with pytest.raises(UsageError, match="a U-ViT of captions"):
        read(saved(tmp_path / "x.pth", state), {"process": "vp", "heads": 2})
