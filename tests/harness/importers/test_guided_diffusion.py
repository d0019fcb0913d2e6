"""State dicts of ADM's public code: equal outputs for both orders of attention, and nothing that is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from kit.guided_kit import GuidedUNet
from kit.imports_kit import build_imported, draw_weights, noisy_images, relative_gap

from harness.errors import UsageError
from harness.importers.formats import FORMATS, choose_format
from harness.importers.guided_diffusion import read
from harness.importers.imported import ImportedNetwork
from methods.networks.vp_process import CosineBeta, DiscreteBeta

FLAGS: dict[str, Any] = {
    "num_channels": 128,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (4,),
    "image_size": 8,
    "use_new_attention_order": True,
}
STATED: dict[str, Any] = {
    "image_size": 8,
    "noise_schedule": "cosine",
    "num_head_channels": 64,
    "use_new_attention_order": True,
}
TAUS = (1, 100, 500, 998)


def guided(classes: int = 0, outputs: int = 6, **flags: Any) -> GuidedUNet:
    """Return a network of the layout with drawn weights."""
    found = GuidedUNet({**FLAGS, **flags}, classes, outputs)
    draw_weights(found)
    return found.eval().requires_grad_(False)


def saved(folder: Path, network: GuidedUNet) -> Path:
    torch.save(network.state_dict(), folder / "8x8_diffusion.pt")
    return folder / "8x8_diffusion.pt"


def gap(network: GuidedUNet, found: ImportedNetwork, schedule: str, classes: torch.Tensor | None = None) -> float:
    """Return how far D is from x - s eps(x / sqrt(1 + s²), tau) by the code of the layout, float64."""
    process = CosineBeta() if schedule == "cosine" else DiscreteBeta()
    tau = torch.tensor(TAUS, dtype=torch.float64)
    sigma = process.sigma(tau / 1000)
    x, s = noisy_images(sigma, 3, 8), sigma[:, None, None, None]
    eps = network.double()(x / (1 + s**2).sqrt(), tau, classes)[:, :3]
    ours = build_imported(found)
    ours.row_classes = classes
    return relative_gap((x - ours(x, sigma)) / s, eps)


@pytest.mark.parametrize("new_order", [True, False])
@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_d_is_that_of_the_layout(tmp_path: Path, new_order: bool, schedule: str) -> None:
    network = guided(classes=5, use_new_attention_order=new_order)
    stated = {**STATED, "use_new_attention_order": new_order, "noise_schedule": schedule}
    source = saved(tmp_path, network)
    assert choose_format(source, None) is FORMATS["guided-diffusion"]
    found = read(source, stated)
    assert found.origin["classes"] == {"count": 5, "null": False}
    assert gap(network, found, schedule, torch.tensor([4, 0, 1, 3])) <= 1e-9

    # the other order has the same shapes
    other = read(source, {**stated, "use_new_attention_order": not new_order})
    assert gap(network, other, schedule, torch.tensor([4, 0, 1, 3])) > 1e-3
    betas = "linear" if schedule == "cosine" else "cosine"
    assert gap(network, read(source, {**stated, "noise_schedule": betas}), schedule) > 1e-3


def test_sizes_are_read_off_names_and_shapes(tmp_path: Path) -> None:
    flags = {"channel_mult": (1, 1, 2), "num_res_blocks": 2, "attention_resolutions": (4, 2)}
    network = guided(outputs=3, **flags)
    found = read(saved(tmp_path, network), STATED)
    assert found.params["channel_mult"] == [1, 1, 2]
    assert (found.params["num_blocks"], found.params["attn_resolutions"]) == (2, [4, 2])
    assert (found.params["out_channels"], found.params["label_dim"]) == (3, 0)
    assert found.params["sigma_range"] == list(CosineBeta().ends)
    assert gap(network, found, "cosine") <= 1e-9


@pytest.mark.parametrize("key", list(STATED))
def test_flags_that_no_shape_shows_are_needed(tmp_path: Path, key: str) -> None:
    source = saved(tmp_path, guided())
    with pytest.raises(UsageError, match=f"expected it stated, for example --state {key}="):
        read(source, {name: value for name, value in STATED.items() if name != key})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_head_channels": 32}, "heads of 32 channels; supported are 64"),
        ({"use_new_attention_order": 1}, "stated as 1; expected true or false"),
        ({"noise_schedule": "sqrt"}, "expected one of cosine, linear"),
        ({"learn_sigma": True}, 'takes no statement "learn_sigma"'),
    ],
)
def test_other_flags_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read(saved(tmp_path, guided()), STATED | changes)


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    state = guided().state_dict()
    torch.save(state | {"input_blocks.2.0.op.weight": torch.ones(3)}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match=r"input_blocks\.2\.0\.op\.weight has no place"):
        read(tmp_path / "a.pt", STATED)
    del state["input_blocks.1.0.in_layers.2.weight"]
    torch.save(state, tmp_path / "b.pt")
    with pytest.raises(UsageError, match="is no U-Net of ADM"):
        read(tmp_path / "b.pt", STATED)
