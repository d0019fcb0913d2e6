"""Format "autoencoder-kl": both published layouts decode as diffusers' module does, and what is unknown is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from kit.imports_kit import change_json, relative_gap
from kit.latent_kit import make_autoencoder, save_as_latent_diffusion
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import UsageError
from harness.importers import autoencoder_kl
from harness.importers.formats import choose_format
from harness.importers.imported import ImportedNetwork
from harness.importers.importing import import_network
from harness.planning.decoder_card import decoder_card_path, load_decoder_card
from harness.sampling.decoder import build_decoder
from harness.sampling.pixels import to_uint8

WEIGHTS = "diffusion_pytorch_model.safetensors"
OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
COMPVIS = {"block_out_channels": (32, 64), "norm_num_groups": 32, "scaling_factor": 0.18215}


def states(n: int = 3) -> Tensor:
    return torch.randn(n, 4, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def decode(found: ImportedNetwork, x: Tensor, **changes: Any) -> Tensor:
    decoder = build_decoder({**found.params, **changes}, batch=2)
    decoder.load_state_dict(found.tensors)
    with torch.no_grad():
        return decoder.double().eval()(x)


def by_diffusers(model: AutoencoderKL, x: Tensor, factor: float | None = None) -> Tensor:
    """Return the pictures of states as diffusers' pipelines make them."""
    with torch.no_grad():
        pictures: Tensor = model.double().decode(x / (factor or model.config.scaling_factor)).sample
    return pictures


def save_folder(folder: Path, **changes: Any) -> AutoencoderKL:
    model = make_autoencoder(**changes)
    model.save_pretrained(folder)
    return model


def test_defaults_are_those_of_the_library() -> None:
    fields = inspect.signature(AutoencoderKL.__init__).parameters
    defaults = {n: list(f.default) if isinstance(f.default, tuple) else f.default for n, f in fields.items()}
    del defaults["self"]
    assert defaults == autoencoder_kl._DEFAULTS


@pytest.mark.parametrize("changes", [{}, {"layers_per_block": 2}, {"use_post_quant_conv": False}, {"act_fn": "gelu"}])
def test_a_folder_decodes_as_diffusers_does(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = save_folder(tmp_path / "vae", **changes)
    found = choose_format(tmp_path, None).read(tmp_path, {})
    assert (found.family, found.channels, found.resolution) == ("autoencoder-kl", 4, 4)
    assert relative_gap(decode(found, states()), by_diffusers(model, states())) < 1e-10


def test_an_autoencoder_without_attention_decodes_as_diffusers_does(tmp_path: Path) -> None:
    model = save_folder(tmp_path, mid_block_add_attention=False)
    assert relative_gap(decode(autoencoder_kl.read(tmp_path, {}), states()), by_diffusers(model, states())) < 1e-10


def test_old_names_of_attention_mean_the_same(tmp_path: Path) -> None:
    model = save_folder(tmp_path)
    renamed = {}
    for name, value in load_file(tmp_path / WEIGHTS).items():
        for new, old in OLD_ATTENTION.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        renamed[name] = value
    save_file(renamed, tmp_path / WEIGHTS)
    assert any("proj_attn" in name for name in renamed)
    assert relative_gap(decode(autoencoder_kl.read(tmp_path, {}), states()), by_diffusers(model, states())) < 1e-10


@pytest.mark.parametrize("layers", [1, 2])
def test_a_file_of_latent_diffusion_decodes_as_diffusers_does(tmp_path: Path, layers: int) -> None:
    model = make_autoencoder(**COMPVIS, layers_per_block=layers, in_channels=3, out_channels=3)
    path = save_as_latent_diffusion(model, tmp_path / "autoencoder_kl.pth")
    found = choose_format(path, None).read(path, {})
    assert relative_gap(decode(found, states()), by_diffusers(model, states())) < 1e-10
    assert "scaling_factor" in found.origin["defaulted"]
    stated = autoencoder_kl.read(path, {"scaling_factor": 0.13025})
    assert relative_gap(decode(stated, states()), by_diffusers(model, states(), 0.13025)) < 1e-10


def test_states_scaled_twice_or_not_at_all_are_other_pictures(tmp_path: Path) -> None:
    model = save_folder(tmp_path)
    found = autoencoder_kl.read(tmp_path, {})
    for factor in (1.0, 0.25):
        assert relative_gap(decode(found, states()), by_diffusers(model, states(), factor)) > 1e-3


@pytest.mark.parametrize("change", [{"norm_num_groups": 2}, {"act_fn": "gelu"}, {"scaling_factor": 0.6}])
def test_fields_that_change_no_shape_change_the_pictures(tmp_path: Path, change: dict[str, Any]) -> None:
    model = save_folder(tmp_path)
    change_json(tmp_path / "config.json", **change)
    found = autoencoder_kl.read(tmp_path, {})
    assert relative_gap(decode(found, states()), by_diffusers(model, states())) > 1e-3


def test_a_factor_that_is_absent_takes_the_known_default_and_says_so(tmp_path: Path) -> None:
    save_folder(tmp_path)
    change_json(tmp_path / "config.json", scaling_factor=...)
    found = autoencoder_kl.read(tmp_path, {})
    assert found.params["scaling_factor"] == 0.18215
    assert found.origin["defaulted"] == ["scaling_factor"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shift_factor": 0.1}, "shift_factor is 0.1; supported is null"),
        ({"latents_mean": [0.0] * 4}, "latents_mean is"),
        ({"latents_std": [1.0] * 4}, "latents_std is"),
        ({"tiling": True}, 'unknown key "tiling"'),
        ({"act_fn": "tanh"}, "act_fn is"),
        ({"up_block_types": ["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]}, "up_block_types is"),
        ({"sample_size": None}, "sample_size is None; expected a whole number above 0"),
        ({"sample_size": [8, 8]}, "sample_size is"),
        ({"in_channels": "1"}, "in_channels is '1'"),
        ({"block_out_channels": 8}, "block_out_channels"),
        ({"block_out_channels": []}, "block_out_channels"),
        ({"scaling_factor": "large"}, "scaling_factor"),
        ({"scaling_factor": 0}, "scaling_factor"),
        ({"norm_num_groups": 3}, "expected multiples of norm_num_groups = 3"),
        ({"layers_per_block": 2}, "no such tensor"),
        ({"use_quant_conv": False}, "no such tensor"),
        ({"mid_block_add_attention": False}, "no such tensor"),
    ],
)
def test_what_is_unknown_is_refused_by_name(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    save_folder(tmp_path)
    change_json(tmp_path / "config.json", **change)
    with pytest.raises(UsageError, match=sentence.replace("[", r"\[")):
        autoencoder_kl.read(tmp_path, {})


@pytest.mark.parametrize(("value", "sentence"), [(float("nan"), "not finite"), (None, "no such tensor")])
def test_torn_weights_are_refused_those_of_the_encoder_too(tmp_path: Path, value: float | None, sentence: str) -> None:
    save_folder(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    if value is None:
        del tensors["encoder.conv_in.bias"]
    else:
        tensors["encoder.conv_in.bias"][0] = value
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(UsageError, match=sentence):
        autoencoder_kl.read(tmp_path, {})


def test_another_autoencoder_is_no_format(tmp_path: Path) -> None:
    save_folder(tmp_path)
    change_json(tmp_path / "config.json", _class_name="AutoencoderTiny")
    with pytest.raises(UsageError, match="none of the formats"):
        choose_format(tmp_path, None)


def test_a_picture_has_the_pixels_of_dits_formula() -> None:
    x = 3 * torch.rand(100_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1.5
    wanted = torch.clamp(127.5 * x + 128.0, 0, 255).to(torch.uint8)
    assert torch.equal(to_uint8(x), wanted)


def test_an_import_says_what_a_suite_takes(tmp_path: Path) -> None:
    save_folder(tmp_path / "vae")
    lines = list(import_network(tmp_path / "vae", None, None, tmp_path / "out", []))
    assert "decodes 4 channels, scaled by 0.5, to pictures 2 times as wide" in lines
    assert lines[-1] == f'next: decoder = {{ weights = "{tmp_path}/out/vae.safetensors" }} in a suite'
    card = load_decoder_card(decoder_card_path(f"{tmp_path}/out/vae.safetensors"))
    assert set(load_file(card.weights)) == set(build_decoder(card.params.model_dump(mode="json"), 1).state_dict())
