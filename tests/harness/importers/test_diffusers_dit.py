"""Folders of diffusers' DiT, and the authors' DiT against the library's module with its two differences undone."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiTTransformer2DModel
from kit.imports_kit import build_imported, change_json, draw_weights, integer_levels, noisy_images, relative_gap
from torch import Tensor, nn

from harness.errors import UsageError
from harness.importers import diffusers_dit, diffusers_unet, dit_checkpoint
from harness.importers.diffusers_dit import read, recognises
from methods.networks.base import DataShape
from methods.networks.dit import DiT, DiTParams

TINY: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 2,
    "sample_size": 8,
    "num_embeds_ada_norm": 10,
}
CLASSES = torch.tensor([3, 0, 10, 9])


def make_dit() -> DiTTransformer2DModel:
    found = DiTTransformer2DModel(**TINY)
    draw_weights(found)
    return found.eval()


def save(folder: Path, model: DiTTransformer2DModel, nested: bool = True) -> Path:
    model.save_pretrained(folder / "transformer" if nested else folder)
    DDIMScheduler().save_pretrained(folder / "scheduler" if nested else folder)
    return folder


def denoise(model: nn.Module, x: Tensor, sigma: Tensor, tau: Tensor) -> Tensor:
    """Return x - s eps(x / sqrt(1 + s²), tau), by the library's module."""
    s = sigma[:, None, None, None]
    with torch.no_grad():
        return x - s * model(x / (1 + s**2).sqrt(), timestep=tau, class_labels=CLASSES).sample[:, :4]


@pytest.mark.parametrize("nested", [False, True])
def test_d_is_that_of_the_librarys_module(tmp_path: Path, nested: bool) -> None:
    model = make_dit()
    source = save(tmp_path, model, nested)
    assert recognises(source)
    assert not diffusers_unet.recognises(source)
    found = read(source, {})
    assert found.origin["classes"] == {"count": 10, "null": True}

    network = build_imported(found)
    network.row_classes = CLASSES
    tau, sigma = integer_levels((0, 77, 500, 999))
    x = noisy_images(sigma, 4, 8)
    assert relative_gap(network(x, sigma), denoise(model.double(), x, sigma, tau)) <= 1e-10
    for field, value in {"norm_eps": 1e-3, "activation_fn": "gelu", "num_attention_heads": 4}.items():
        heads = {"attention_head_dim": 4} if field == "num_attention_heads" else {}
        other = build_imported(found, **{field: value}, **heads)
        other.row_classes = CLASSES
        assert relative_gap(other(x, sigma), denoise(model, x, sigma, tau)) > 1e-8


def test_no_class_is_the_last_row(tmp_path: Path) -> None:
    network = build_imported(read(save(tmp_path, make_dit()), {}))
    _, sigma = integer_levels((77, 500))
    x = noisy_images(sigma, 4, 8)
    without = network(x, sigma)
    network.row_classes = torch.tensor([10, 10])
    assert torch.equal(network(x, sigma), without)


def test_the_old_class_is_read_if_it_says_everything(tmp_path: Path) -> None:
    source = save(tmp_path, make_dit())
    wanted = read(source, {}).params
    old = {key: values[0] for key, values in diffusers_dit._OLD_FIELDS.items()}
    change_json(source / "transformer/config.json", _class_name="Transformer2DModel", **old)
    assert read(source, {}).params == wanted
    change_json(source / "transformer/config.json", cross_attention_dim=64)
    with pytest.raises(UsageError, match="cross_attention_dim is 64; supported is null"):
        read(source, {})
    change_json(source / "transformer/config.json", cross_attention_dim=None, norm_eps=...)
    with pytest.raises(UsageError, match='"norm_eps" is absent'):
        read(source, {})


def test_defaults_are_those_of_the_library() -> None:
    fields = inspect.signature(DiTTransformer2DModel.__init__).parameters
    assert {name: field.default for name, field in fields.items() if name != "self"} == diffusers_dit._DEFAULTS


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"upcast_attention": True}, "upcast_attention is true; supported is false"),
        ({"norm_type": "ada_norm"}, 'norm_type is "ada_norm"'),
        ({"norm_elementwise_affine": True}, "norm_elementwise_affine is true"),
        ({"depth": 2}, 'unknown key "depth"'),
        ({"num_embeds_ada_norm": None}, "num_embeds_ada_norm"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    source = save(tmp_path, make_dit())
    change_json(source / "transformer/config.json", **changes)
    with pytest.raises(UsageError, match=sentence):
        read(source, {})


# the authors' layout

AUTHORS = DiTParams(
    depth=2, width=16, heads=2, patch=2, preconditioning="vp-discrete", learn_sigma=True, classes=10, null_class=True
)
STATED = {"process": "vp-discrete", "heads": 2, "classes": 10}


def authors_weights() -> dict[str, Tensor]:
    """Return a state dict of DiT's public code, by its own names; the position code stays."""
    network = DiT(AUTHORS, DataShape(4, 8))
    positions = network.pos_embed.clone()
    draw_weights(network)
    return {**network.state_dict(), "pos_embed": positions.detach()}


def undo_differences(model: DiTTransformer2DModel) -> None:
    """Give the library's module the authors' frequencies and epsilon."""
    for block in model.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
        block.norm1.norm.eps = block.norm3.eps = 1e-6


def librarys_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the authors' tensors under the library's names, by section 3 of the specification."""
    found = {f"pos_embed.proj.{kind}": state[f"x_embedder.proj.{kind}"] for kind in ("weight", "bias")}
    for kind in ("weight", "bias"):
        found[f"proj_out_1.{kind}"] = state[f"final_layer.adaLN_modulation.1.{kind}"]
        found[f"proj_out_2.{kind}"] = state[f"final_layer.linear.{kind}"]
        for i in range(2):
            ours, theirs = f"blocks.{i}", f"transformer_blocks.{i}"
            found[f"{theirs}.norm1.linear.{kind}"] = state[f"{ours}.adaLN_modulation.1.{kind}"]
            for part, value in zip("qkv", state[f"{ours}.attn.qkv.{kind}"].chunk(3), strict=True):
                found[f"{theirs}.attn1.to_{part}.{kind}"] = value
            found[f"{theirs}.attn1.to_out.0.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            found[f"{theirs}.ff.net.0.proj.{kind}"] = state[f"{ours}.mlp.fc1.{kind}"]
            found[f"{theirs}.ff.net.2.{kind}"] = state[f"{ours}.mlp.fc2.{kind}"]
            for number, layer in ((0, 1), (2, 2)):
                name = f"{theirs}.norm1.emb.timestep_embedder.linear_{layer}.{kind}"
                found[name] = state[f"t_embedder.mlp.{number}.{kind}"]
            found[f"{theirs}.norm1.emb.class_embedder.embedding_table.weight"] = state[
                "y_embedder.embedding_table.weight"
            ]
    return found


@pytest.mark.parametrize("nested", [False, True])
def test_d_of_the_authors_file_is_that_of_the_mended_library(tmp_path: Path, nested: bool) -> None:
    state = authors_weights()
    source = tmp_path / "0050000.pt"
    training = {
        "model": {f"module.{name}": torch.zeros_like(value) for name, value in state.items()},
        "ema": state,
        "opt": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
        "args": argparse.Namespace(model="DiT-T/2", num_classes=10, vae="mse"),
    }
    torch.save(training if nested else state, source)
    assert dit_checkpoint.recognises(source)
    found = dit_checkpoint.read(source, {"process": "vp-discrete", "heads": 2} if nested else STATED)
    assert found.origin["weights"] == ("ema" if nested else "not stated")
    assert found.params["guided_channels"] == 3
    assert found.params["learn_sigma"]

    model = DiTTransformer2DModel(**TINY)
    model.load_state_dict(librarys_names(state))
    tau, sigma = integer_levels((0, 77, 500, 999))
    x = noisy_images(sigma, 4, 8)
    network = build_imported(found)
    assert isinstance(network, DiT)

    # classes of the rows, given to the raw network
    s = sigma[:, None, None, None]
    with torch.no_grad():
        noise = network.truncated(x / (1 + s**2).sqrt(), tau, CLASSES, [4])
    assert relative_gap(x - s * noise, denoise(model.double().eval(), x, sigma, tau)) > 0.01
    undo_differences(model)
    assert relative_gap(x - s * noise, denoise(model, x, sigma, tau)) <= 1e-10


def test_sit_has_the_same_shapes_so_the_process_must_be_stated(tmp_path: Path) -> None:
    source = tmp_path / "SiT-XL-2-256x256.pt"
    torch.save(authors_weights(), source)
    stated = {"heads": 2, "classes": 10}
    with pytest.raises(UsageError, match=r"does not say whether it is DiT .* or SiT .* --state process=vp-discrete"):
        dit_checkpoint.read(source, stated)
    found = dit_checkpoint.read(source, {**stated, "process": "flow"})
    process = {"preconditioning": "flow", "predicts": "velocity", "sigma_range": [0.001, 1000.0]}
    assert process.items() <= found.params.items()
    assert found.origin["process"] == process


@pytest.mark.parametrize("left_out", ["heads", "classes"])
def test_what_no_shape_says_must_be_stated(tmp_path: Path, left_out: str) -> None:
    source = tmp_path / "w.pt"
    torch.save(authors_weights(), source)
    with pytest.raises(UsageError, match=f"--state {left_out}="):
        dit_checkpoint.read(source, {key: value for key, value in STATED.items() if key != left_out})
    with pytest.raises(UsageError, match="has 11 rows of classes; expected 7"):
        dit_checkpoint.read(source, {**STATED, "classes": 7})


def test_rows_of_classes_without_one_for_none(tmp_path: Path) -> None:
    source = tmp_path / "w.pt"
    torch.save(authors_weights(), source)
    found = dit_checkpoint.read(source, {**STATED, "classes": 11})
    assert found.origin["classes"] == {"count": 11, "null": False}


def test_positions_of_another_grid_are_refused(tmp_path: Path) -> None:
    state = authors_weights()
    state["pos_embed"] = state["pos_embed"] + 5e-4
    torch.save(state, tmp_path / "drifted.pt")
    assert torch.equal(dit_checkpoint.read(tmp_path / "drifted.pt", STATED).tensors["pos_embed"], state["pos_embed"])
    state["pos_embed"] = state["pos_embed"].flip(1)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(UsageError, match=r"pos_embed differs by .* from the fixed code of a 4x4 grid"):
        dit_checkpoint.read(tmp_path / "other.pt", STATED)


def test_raw_weights_are_taken_only_if_stated(tmp_path: Path) -> None:
    source = tmp_path / "w.pt"
    torch.save({"model": authors_weights(), "opt": {}}, source)
    with pytest.raises(UsageError, match="holds no averaged weights; state weights=raw"):
        dit_checkpoint.read(source, STATED)
    assert dit_checkpoint.read(source, {**STATED, "weights": "raw"}).origin["weights"] == "raw"
