"""Latent data sets: states of another shape than pictures, a decoder inside the clock, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit.latent_kit import (
    make_autoencoder,
    save_as_latent_diffusion,
    write_decoder,
    write_latent_data,
    write_latent_suite,
)

import harness
from harness.config.suite import Suite, load_suite
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.measure.flops import count_flops
from harness.planning.cost.flops_guess import decoder_flops
from harness.planning.cost.task_seconds import TaskEstimator
from harness.planning.cost.unfinished import KeptTasks
from harness.planning.cost.work import round_work, task_work
from harness.planning.network_checks import check_networks
from harness.planning.plan import Plan, make_plan
from harness.sampling.decoder import build_decoder
from harness.specs.time import TimeSpec
from harness.storage.run_rates import DeviceRates

LATENT_CARDS = ("dit-s-2", "dit-b-2", "dit-l-2", "dit-xl-2", "uvit-l-2", "uvit-h-2")


def plan(suite: Suite, absent: bool = False) -> Plan:
    made = make_plan(suite, "cpu:TEST", "TEST", data_may_be_absent=absent)
    check_networks(made)
    return made


def load_latents(folder: Path, *settings: str, decoder: str = "", **changes: Any) -> Suite:
    """Return the suite of latents with a decoder that fits, or the one that is given."""
    line = decoder or f'decoder = {{ weights = "{write_decoder(folder, **changes)}" }}'
    return load_suite(write_latent_suite(folder, line), list(settings))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> harness.Tables:
    folder = tmp_path_factory.mktemp("latents")
    suite = write_latent_suite(folder, f'decoder = {{ weights = "{write_decoder(folder)}", batch = 16 }}')
    return harness.run(suite, results=folder / "results", in_process=True, report=False)


def test_a_row_of_latents_is_valid_by_every_rule(tables: harness.Tables) -> None:
    assert tables.all_valid, tables.trials["reasons"].tolist()
    assert not tables.trials["not_audited"].any()
    rules = set(tables.checks["rule"])
    assert {"uncounted-flops", "work-not-done", "uncounted-time", "timed-images-differ", "leaves-the-flow"} <= rules


def test_decoding_is_counted_apart_and_is_in_the_time(tables: harness.Tables) -> None:
    rows = tables.trials
    params = {
        "latent_channels": 4, "out_channels": 1, "block_out_channels": [8, 8], "layers_per_block": 1,
        "norm_num_groups": 4, "scaling_factor": 0.5,
    }  # fmt: skip
    flops = count_flops(build_decoder(params, 8), torch.ones(1, 4, 4, 4))
    assert rows["decode_flops_per_image"].tolist() == [flops] * 2
    assert (rows["decode_seconds_per_image"] > 0).all()
    assert (1 / rows["throughput_images_per_second"] > 0.8 * rows["decode_seconds_per_image"]).all()
    assert rows["state_shape"].tolist() == ["4x4x4"] * 2
    assert rows["decode_batch"].tolist() == [16] * 2
    assert rows["decoder"].tolist() == ["tiny"] * 2
    assert rows["decoder_sha256"].str.len().tolist() == [64] * 2

    # that of the network is the steps' alone
    steps = tables.steps.groupby("trial_id")["flops_per_image"].sum()
    assert np.allclose(rows.set_index("trial_id")["flops_per_image"].sort_index(), steps.sort_index())


def test_distances_to_the_flow_are_those_of_states(tables: harness.Tables) -> None:
    assert (tables.trials["truncation_images"] == 20).all()
    assert tables.trials["truncation_error"].notna().all()


def test_shape_of_state_and_picture_are_apart(tmp_path: Path) -> None:
    card = load_card(str(write_latent_data(tmp_path)))
    data = card.spec()
    assert (data.channels, data.resolution, data.state_shape) == (1, 8, (4, 4, 4))
    assert (card.shape().channels, card.shape().resolution) == (4, 4)
    assert load_card("digits").spec().state_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("latent", "sentence"),
    [
        ("channels = 4\nresolution = 3\nscaling_factor = 0.5", "latent.resolution is 3"),
        ("channels = 4\nresolution = 16\nscaling_factor = 0.5", "latent.resolution is 16"),
        ("channels = 4\nresolution = 4\nscaling_factor = 0.0", "scaling_factor"),
        ("channels = 4\nresolution = 4", "scaling_factor"),
        ("channels = 4\nresolution = 4\nscaling_factor = 0.5\nshift = 1", "shift"),
    ],
)
def test_a_latent_table_that_is_wrong_is_refused(tmp_path: Path, latent: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load_card(str(write_latent_data(tmp_path, latent)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scaling_factor": 0.13025}, "scaling_factor = 0.13025, and the latents of"),
        ({"latent_channels": 8}, "takes 8 channels"),
        ({"out_channels": 3, "in_channels": 3}, "makes 3x8x8 pictures"),
        (
            {
                "block_out_channels": (8, 8, 8),
                "down_block_types": ("DownEncoderBlock2D",) * 3,
                "up_block_types": ("UpDecoderBlock2D",) * 3,
            },
            "makes 1x16x16 pictures",
        ),
    ],
)
def test_a_decoder_of_other_latents_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(load_latents(tmp_path, **changes))


def test_latents_without_a_decoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"set decoder = \{ weights = PATH \}"):
        plan(load_latents(tmp_path, decoder="# none"))


def test_a_decoder_for_pictures_is_refused(tmp_path: Path) -> None:
    suite = load_latents(tmp_path, "dataset=digits", "network=unet-8", "networks.unet-8.weights=zoo:unet-8")
    with pytest.raises(UsageError, match="the states of its data sets are pictures"):
        plan(suite)


def test_a_decoder_of_another_program_is_refused_with_the_command(tmp_path: Path) -> None:
    path = save_as_latent_diffusion(make_autoencoder(), tmp_path / "autoencoder_kl.pth")
    with pytest.raises(UsageError, match="oneclock import network"):
        plan(load_latents(tmp_path, decoder=f'decoder = {{ weights = "{path}" }}'))


def test_a_plan_may_lack_the_decoder_and_says_so(tmp_path: Path) -> None:
    suite = load_latents(tmp_path, decoder='decoder = { weights = "vae/vae.safetensors" }')
    with pytest.raises(UsageError, match=r"vae/vae.toml does not exist"):
        plan(suite)
    assert any("set decoder.weights to its path" in one for one in plan(suite, absent=True).absent)


def test_another_decoder_or_batch_is_another_trial(tmp_path: Path) -> None:
    weights = write_decoder(tmp_path)
    path = write_latent_suite(tmp_path, f'decoder = {{ weights = "{weights}" }}')
    first, second = (plan(load_suite(path, settings)) for settings in ([], ["decoder.batch=4"]))
    assert {one.id for one in first.trials}.isdisjoint(one.id for one in second.trials)

    # the solution of the flow has nothing to do with pictures
    solutions = [{t.id for t in made.tasks.values() if t.kind == "reference-solution"} for made in (first, second)]
    assert solutions[0] == solutions[1] != set()


def test_a_network_is_not_trained_on_latents(tmp_path: Path) -> None:
    suite = load_latents(tmp_path, "network=dit-8", "baseline.network=dit-8")
    with pytest.raises(UsageError, match="nothing here encodes its pictures"):
        plan(suite)


@pytest.mark.parametrize(
    ("part", "entry", "refused"),
    [
        ("schedule", '"ays"', True),
        ("schedule", '{ name = "ays", table = "sd-1.5" }', False),
        ("schedule", '"few-step"', True),
        ("schedule", '"gits"', False),
        ("denoiser", '"few-step"', True),
        ("denoiser", '"adadiff"', True),
        ("denoiser", '"early-exit"', True),
        ("denoiser", '{ name = "early-exit", tune_steps = 0 }', False),
    ],
)
def test_what_learns_from_images_is_refused_on_latents(tmp_path: Path, part: str, entry: str, refused: bool) -> None:
    suite = load_latents(tmp_path, f"trials.1.{part}={entry}", "extractor=pixels")
    try:
        plan(suite)
        said = ""
    except UsageError as error:
        said = str(error)
    assert ("learns from training images, and the states" in said) == refused


_WIDE = """
name = "wide"
title = "Pictures of 256x256 that are not here, and their latents"
reader = "image-folder"
arguments = { path = "pictures" }
resolution = 256
channels = 3
sigma_min = 0.03
sigma_max = 14.0
splits.train = { n = 5000, source = "." }
licence = "CC0"
latent = { channels = 4, resolution = 32, scaling_factor = 0.18215 }
"""


@pytest.mark.parametrize("name", LATENT_CARDS)
def test_networks_of_latents_can_be_planned_on_them_and_nowhere_else(tmp_path: Path, name: str) -> None:
    """The pictures, the weights, the decoder and the feature network are absent."""
    (tmp_path / "wide.toml").write_text(_WIDE)
    common = [
        f"network={name}",
        f"baseline.network={name}",
        f"networks.{name}.weights=w.safetensors",
        "classes=uniform",
    ]
    missing = 'decoder = { weights = "vae.safetensors" }'

    settings = [f"dataset={tmp_path}/wide.toml", "extractor=inception-v3-compat", "n_images=4000"]
    made = plan(load_latents(tmp_path, *common, *settings, decoder=missing), absent=True)
    assert [one.trial.data.state_shape for one in made.trials] == [(4, 32, 32)] * 2
    assert len(made.absent) == 4

    with pytest.raises(UsageError, match='is for states of 4x32x32, and those of "latent-digits" are latents of 4x4x4'):
        plan(load_latents(tmp_path, *common, decoder=missing), absent=True)
    with pytest.raises(UsageError, match='is for states of 4x32x32, and those of "digits" are pictures of 1x8x8'):
        plan(load_latents(tmp_path, *common, "dataset=digits", decoder="# none"), absent=True)


def test_a_guess_of_time_knows_the_decoder(tmp_path: Path) -> None:
    made = plan(load_latents(tmp_path))
    decoder = made.trials[0].trial.decoder
    assert decoder is not None
    counted = count_flops(build_decoder(decoder.params, 8), torch.ones(1, 4, 4, 4))
    assert decoder_flops(decoder, (4, 4, 4)) == counted

    # sampling and timing decode
    estimator = TaskEstimator(made, DeviceRates(), KeptTasks(made, tmp_path / "results"))
    for kind, images in (("sample", 80), ("time", 2 * 41)):
        task = next(task for task in made.tasks.values() if task.kind == kind)
        least = images * counted / estimator.speed.flops_in("float32")
        assert estimator.estimate(task).total.seconds > least
        work = round_work(task.spec) if isinstance(task.spec, TimeSpec) else task_work(task, made.tasks)
        assert (work.decoder, work.decoded) == (decoder, images)
