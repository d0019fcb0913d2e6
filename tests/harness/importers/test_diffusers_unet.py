"""Folders of UNet2DModel: equal outputs in float64, and a refusal of every field that is not known."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from kit.imports_kit import (
    build_imported,
    change_json,
    integer_levels,
    make_unet,
    noisy_images,
    relative_gap,
    save_unet,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import UsageError
from harness.importers import diffusers_unet
from harness.importers.diffusers_unet import read, recognises

OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def noise_in_denoised(model: UNet2DModel, x: Tensor, sigma: Tensor, tau: Tensor) -> Tensor:
    """Return x - s eps(x / sqrt(1 + s²), tau), by the library's module."""
    s = sigma[:, None, None, None]
    with torch.no_grad():
        return x - s * model(x / (1 + s**2).sqrt(), tau).sample


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_d_is_that_of_the_librarys_module(tmp_path: Path, pickled: bool, nested: bool) -> None:
    model = make_unet()
    source = save_unet(tmp_path / "ddpm", model, pickled, nested)
    assert recognises(source)
    found = read(source, {})
    assert {"preconditioning": "vp-discrete"}.items() <= found.params.items()
    assert not {"betas", "predicts"} & found.params.keys()

    tau, sigma = integer_levels()
    x = noisy_images(sigma, 1, 8)
    wanted = noise_in_denoised(model.double(), x, sigma, tau)
    assert relative_gap(build_imported(found)(x, sigma), wanted) <= 1e-10
    single = build_imported(found).float()(x.float(), sigma.float())
    assert relative_gap(single.double(), wanted) <= 2e-5


def test_old_names_of_attention_are_the_same_network(tmp_path: Path) -> None:
    model = make_unet()
    source = save_unet(tmp_path, model)
    wanted = read(source, {}).tensors
    file = source / "diffusion_pytorch_model.safetensors"
    renamed = {rename(name): square(name, value) for name, value in load_file(file).items()}
    assert renamed.keys() != load_file(file).keys()
    save_file(renamed, file)

    found = read(source, {}).tensors
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def rename(name: str) -> str:
    for new, old in OLD_NAMES.items():
        name = name.replace(f".{new}.", f".{old}.") if ".attentions." in name else name
    return name


def square(name: str, value: Tensor) -> Tensor:
    """Return a weight as a 1x1 convolution has it, where it is a linear layer of attention."""
    is_matrix = ".attentions." in name and value.ndim == 2
    return value[:, :, None, None].clone() if is_matrix else value


def test_a_mixture_of_names_in_one_layer_is_refused(tmp_path: Path) -> None:
    source = save_unet(tmp_path, make_unet())
    file = source / "diffusion_pytorch_model.safetensors"
    save_file({name.replace(".to_q.", ".query."): value for name, value in load_file(file).items()}, file)
    with pytest.raises(UsageError, match=r"attentions\.0 has old and new names of attention"):
        read(source, {})


MUTATIONS: dict[str, Any] = {
    "downsample_padding": 1,
    "center_input_sample": True,
    "norm_num_groups": 4,
    "mid_block_scale_factor": 1.5,
    "act_fn": "gelu",
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "attention_head_dim": 8,
    "attn_norm_num_groups": 4,
    "norm_eps": 1e-5,
}
"""Fields that change the output and no shape, each with another value."""


@pytest.mark.parametrize("field", MUTATIONS)
def test_each_field_of_the_same_shapes_is_seen(tmp_path: Path, field: str) -> None:
    right = make_unet()
    source = save_unet(tmp_path, right)
    found = read(source, {})
    tau, sigma = integer_levels((3, 400, 900))
    x = noisy_images(sigma, 1, 8)
    wanted = noise_in_denoised(right.double(), x, sigma, tau)
    assert relative_gap(build_imported(found, **{field: MUTATIONS[field]})(x, sigma), wanted) > 1e-8

    # the reader takes it from the file
    change_json(source / "config.json", **{field: MUTATIONS[field]})
    changed = read(source, {})
    assert changed.params[field] == MUTATIONS[field]
    wrong = UNet2DModel(**{**right.config, field: MUTATIONS[field]}).double()
    wrong.load_state_dict(right.state_dict())
    wanted = noise_in_denoised(wrong.eval(), x, sigma, tau)
    assert relative_gap(build_imported(changed)(x, sigma), wanted) <= 1e-10


def test_half_a_step_is_seen(tmp_path: Path) -> None:
    model = make_unet()
    found = read(save_unet(tmp_path, model), {})
    tau, sigma = integer_levels((3, 400, 900))
    x = noisy_images(sigma, 1, 8)
    wanted = noise_in_denoised(model.double(), x, sigma, tau + 0.5)
    assert relative_gap(build_imported(found)(x, sigma), wanted) > 1e-6


def test_a_middle_without_attention_leaves_tensors_over(tmp_path: Path) -> None:
    from harness.importers.importing import import_network

    source = save_unet(tmp_path / "ddpm", make_unet())
    change_json(source / "config.json", add_attention=False)
    with pytest.raises(UsageError, match=r"inner\.mid_block\.attentions\.0\..*expects no such tensor"):
        [*import_network(source, None, "net", tmp_path / "net", [])]
    assert not (tmp_path / "net").exists()


def test_defaults_are_those_of_the_library() -> None:
    fields = inspect.signature(UNet2DModel.__init__).parameters
    library = {name: field.default for name, field in fields.items() if name != "self"}
    ours = {name: tuple(v) if isinstance(v, list) else v for name, v in diffusers_unet._DEFAULTS.items()}
    assert ours == library


def test_a_field_that_is_absent_takes_the_librarys_default_and_is_recorded(tmp_path: Path) -> None:
    source = save_unet(tmp_path, make_unet(attention_head_dim=8))
    change_json(source / "config.json", attention_head_dim=..., dropout=..., num_class_embeds=...)
    found = read(source, {})
    assert found.params["attention_head_dim"] == 8
    assert found.origin["defaulted"][:3] == ["dropout", "attention_head_dim", "num_class_embeds"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"flip_sin_to_cosine": True}, r'config\.json: unknown key "flip_sin_to_cosine" = True; did you mean'),
        ({"time_embedding_type": "fourier"}, r'config\.json: time_embedding_type is "fourier"; supported'),
        ({"time_embedding_type": "learned"}, r'time_embedding_type is "learned"'),
        ({"class_embed_type": "timestep"}, r'class_embed_type is "timestep"'),
        ({"class_embed_type": "identity"}, r'class_embed_type is "identity"'),
        ({"num_train_timesteps": 1000}, r"num_train_timesteps is 1000"),
        ({"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, r"config\.json: .*SkipDownBlock2D"),
        ({"act_fn": "tanh"}, r'act_fn is "tanh"'),
        ({"center_input_sample": 1}, r"center_input_sample is 1; supported is false or true"),
        ({"out_channels": 2}, r"out_channels is 2"),
        ({"downsample_padding": -1}, r"config\.json: .*downsample_padding"),
        ({"sample_size": [8, 4]}, r"config\.json: .*sample_size"),
        ({"sample_size": None}, r"does not say a sample_size; expected it stated, for example --state resolution=32"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    source = save_unet(tmp_path, make_unet())
    change_json(source / "config.json", **changes)
    with pytest.raises(UsageError, match=sentence):
        read(source, {})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rescale_betas_zero_snr": True}, r"scheduler_config\.json: rescale_betas_zero_snr is true"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas is"),
        ({"beta_schedule": "sigmoid"}, 'beta_schedule is "sigmoid"'),
        ({"prediction_type": "flow"}, 'prediction_type is "flow"'),
        ({"_class_name": "HeunDiscreteScheduler"}, "_class_name is 'HeunDiscreteScheduler'"),
        ({"sigma_min": 0.1}, 'unknown key "sigma_min"'),
        ({"beta_end": "0.02"}, "beta_end is '0.02'"),
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1"),
    ],
)
def test_an_unknown_process_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    source = save_unet(tmp_path, make_unet())
    change_json(source / "scheduler_config.json", **changes)
    with pytest.raises(UsageError, match=sentence):
        read(source, {})


def test_without_a_scheduler_there_is_no_process(tmp_path: Path) -> None:
    source = save_unet(tmp_path, make_unet())
    (source / "scheduler_config.json").unlink()
    with pytest.raises(UsageError, match=r"scheduler_config\.json does not exist"):
        read(source, {})


@pytest.mark.parametrize(
    ("scheduler", "params"),
    [
        ({"prediction_type": "v_prediction"}, {"predicts": "v"}),
        ({"prediction_type": "sample"}, {"predicts": "x0"}),
        (
            {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
            {"betas": {"start": 0.00085, "end": 0.012, "schedule": "scaled-linear", "steps": 1000}},
        ),
        ({"beta_schedule": "squaredcos_cap_v2"}, {"betas": {"schedule": "cosine", "steps": 1000}}),
        ({"beta_end": 0.03}, {"betas": {"start": 1e-4, "end": 0.03, "schedule": "linear", "steps": 1000}}),
    ],
)
def test_the_scheduler_decides_the_process(tmp_path: Path, scheduler: Any, params: dict[str, Any]) -> None:
    source = save_unet(tmp_path, make_unet(), **scheduler)
    found = read(source, {})
    assert {key: found.params[key] for key in ("predicts", "betas") if key in found.params} == params
    table = DDIMScheduler.from_pretrained(source).alphas_cumprod.double()
    ends = ((1 - table) / table).sqrt()[[0, -1]].tolist()
    assert found.origin["sigma_range"] == pytest.approx(ends, rel=1e-3)


def test_classes_of_the_rows_are_read(tmp_path: Path) -> None:
    model = make_unet(num_class_embeds=5)
    found = read(save_unet(tmp_path, model), {})
    assert found.origin["classes"] == {"count": 5, "null": False}
    network = build_imported(found)
    tau, sigma = integer_levels((10, 500))
    x, classes = noisy_images(sigma, 1, 8), torch.tensor([4, 2])
    with pytest.raises(ValueError, match="2 rows have none classes"):
        network(x, sigma)

    network.row_classes = classes
    s = sigma[:, None, None, None]
    noise = model.double()(x / (1 + s**2).sqrt(), tau, class_labels=classes).sample
    assert relative_gap(network(x, sigma), x - s * noise.detach()) <= 1e-10
    with pytest.raises(ValueError, match="1 rows have 2 classes"):
        network(x[:1], sigma[:1])


def test_a_variant_is_taken_only_if_it_is_named(tmp_path: Path) -> None:
    source = save_unet(tmp_path, make_unet())
    (source / "diffusion_pytorch_model.safetensors").rename(source / "diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(UsageError, match=r"found diffusion_pytorch_model\.fp16\.safetensors: name a variant"):
        read(source, {})
    assert "diffusion_pytorch_model.fp16.safetensors" in read(source, {"variant": "fp16"}).origin["files"]
