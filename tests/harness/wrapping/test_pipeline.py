"""Wrapped pipelines, which own their network: their noise, images, FLOPs and rows, and those that misbehave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from kit.pipeline_kit import by_scheduler, cached_pipeline, pipeline_of
from kit.toy_runs import Run

import harness
from harness.cli.wrap import wrap_suite
from harness.config.suite import Timing, TrialEntry
from harness.errors import UsageError
from harness.measure.flops import count_flops
from harness.measure.whole_calls import WholeCalls
from harness.sampling.call_counts import CallCounts
from harness.specs.rules.audits import PROBE_NOISE_CHANGE_OF_PICTURES
from harness.wrapping.user_code import find_kind

KIT = os.path.relpath(Path(__file__).resolve().parents[2] / "kit" / "pipeline_kit.py")
SUITE = """
name = "toy"
title = "Wrapped pipelines"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 80
batch = 40
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 4 }}
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"

[[trials]]
steps = 4
{trials}
"""


def run(folder: Path, *names: str) -> Run:
    trials = "".join(f'[[trials]]\npipeline = "{KIT}:{name}"\nsteps = 4\n' for name in names)
    (folder / "toy.toml").write_text(SUITE.format(trials=trials))
    return Run(str(folder / "toy.toml"), folder / "results")


def test_a_pipeline_stands_in_the_leaderboard_with_reasons_for_what_is_not_seen(tmp_path: Path) -> None:
    found = run(tmp_path, "ddim_pipeline", "by_scheduler", "cached_pipeline", "ddpm_pipeline")
    rows = found.tables.trials.set_index("method")
    assert set(rows["verdict"]) == {"VALID"}, rows["reasons"].tolist()

    # the same images from noise that it draws itself and from noise that it is given; FLOPs of what ran
    drawn, given, cached = (rows.loc[name] for name in ("ddim-pipeline", "by-scheduler", "cached-pipeline"))
    assert drawn["fid"] == given["fid"] > 0
    network = pipeline_of(8).unet
    once = count_flops(network, torch.zeros(1, 1, 8, 8), 0)
    inner = count_flops(network.mid_block, torch.zeros(1, 16, 4, 4), torch.zeros(1, 32))
    assert drawn["flops_per_image"] == given["flops_per_image"] == 4 * once
    assert cached["flops_per_image"] == 4 * once - 2 * inner
    assert drawn["parameters"] == sum(one.numel() for one in network.parameters())
    assert rows.loc["ddpm-pipeline", "fid"] != drawn["fid"]

    # what is not seen
    assert (drawn["network"], drawn["denoiser"], drawn["solver"]) == ("pipeline-kit", "own", "own")
    assert (drawn["weights"], drawn["executor"]) == ("own", "serial")
    for column in ("nfe", "nfe_critical_path", "truncation_error", "flop_coverage", "prepare_seconds"):
        assert drawn.isna()[column]
    assert "no NFE, critical path, noise levels, truncation error" in drawn["not_measured"]
    for rule in ("leaves-the-flow", "ignores-the-network", "timed-evaluations-differ", "uncounted-time"):
        assert f"{rule}: a wrapped pipeline owns its network" in drawn["not_audited"]
    for rule in ("depends-on-batch", "timed-images-differ", "remembers-images", "copies-training-images"):
        assert rule not in drawn["not_audited"]
    assert drawn["fid_difference"] == pytest.approx(drawn["fid"] - rows.loc["ddim", "fid"])

    # the leaderboard
    harness.api.report(tmp_path / "results" / "toy")
    board = (tmp_path / "results" / "toy" / "leaderboard.md").read_text()
    assert "| pipeline-kit:cached-pipeline-4" in board
    assert "| unet-8:ddim-4" in board
    assert "no NFE, critical path" in board
    assert "whose evaluations are not seen stands under its steps" in board


BAD = {
    "wrong_shape": "wrong-shape",
    "fewer_images": "wrong-shape",
    "not_finite": "nan-samples",
    "other_count": "depends-on-batch",
    "draws_in_numpy": "own noise, not paired",
    "no_operators": "no-network-calls: 0 FLOPs",
    "raises": "no such thing",
    "returns_none": "returned a NoneType; expected a tensor, an array or a list of PIL pictures",
    "other_range": "expected uint8, or floats in [0, 1]",
}


def test_each_misbehaviour_is_a_row_with_its_reason(tmp_path: Path) -> None:
    rows = run(tmp_path, *BAD).tables.trials.set_index("method")
    for name, reason in BAD.items():
        row = rows.loc[name.replace("_", "-")]
        assert row["verdict"] != "VALID", name
        assert reason in row["reasons"]
    unpaired = rows.loc["draws-in-numpy"]
    assert unpaired["fid"] > 0
    assert unpaired.isna()["fid_difference"]
    assert "no difference of FID to the baseline: own noise, not paired" in unpaired["not_measured"]
    assert rows.loc["ddim", "verdict"] == "VALID"


def test_a_small_change_of_the_noise_is_one_that_pictures_of_256_levels_show(tmp_path: Path) -> None:
    rows = run(tmp_path, "nearest_kept", "ddim_pipeline").tables.trials.set_index("method")
    assert rows.loc["nearest-kept", "verdict"] == "INVALID"
    assert "answers-from-noise" in rows.loc["nearest-kept", "reasons"]

    noise = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = noise + PROBE_NOISE_CHANGE_OF_PICTURES * torch.randn(noise.shape)
    images, changed = ((by_scheduler(one, 4) * 255).round() for one in (noise, moved))
    assert (images != changed).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["kept_batches", "kept_unless_watched"])
def test_a_pipeline_that_keeps_its_images_is_invalid(name: str, tmp_path: Path) -> None:
    rows = run(tmp_path, name, "by_scheduler").tables.trials.set_index("method")
    row = rows.loc[name.replace("_", "-")]
    assert row["verdict"] == "INVALID"
    assert "remembers-images" in row["reasons"]
    assert "the same again 0" in row["reasons"] or name == "kept_unless_watched"
    assert rows.loc["by-scheduler", "verdict"] == "VALID", rows.loc["by-scheduler", "reasons"]


def test_a_patched_pipeline_counts_what_ran_and_leaves_no_hook() -> None:
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    calls, counts = WholeCalls(), CallCounts()
    with torch.no_grad(), calls.counted(counts):
        cached_pipeline(torch.zeros(2, 1, 8, 8), 4)
    whole = count_flops(pipeline_of(8).unet, torch.zeros(2, 1, 8, 8), 0)
    assert 0 < counts.operations < 4 * whole
    assert counts.to_counts().operations == counts.operations
    assert not hooks


def test_the_verb_tells_both_kinds_apart_by_the_parameters(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def a(network, noise, steps): ...\ndef b(noise, steps): ...\ndef c(noise, steps, eta=0.0): ...\n"
        "def d(network, noise, steps=4): ...\ndef e(noise): ...\ndef f(noise, steps, *, eta): ...\ng = b\n"
        "def h(x, y, z=1): ...\n"
    )
    kinds = {name: find_kind(f"{file}:{name}") for name in "abcd"}
    assert kinds == {"a": "sampler", "b": "pipeline", "c": "pipeline", "d": "sampler"}
    for name, said in {
        "e": r"has e\(noise\)",
        "f": "expected def f",
        "g": "by no def",
        "h": r"has h\(x, y, z\)",
    }.items():
        with pytest.raises(ValueError, match=said) as caught:
            find_kind(f"{file}:{name}")
        assert "\n" not in str(caught.value)


def test_a_pipeline_by_itself_is_its_own_baseline(tmp_path: Path) -> None:
    suite = wrap_suite(f"{KIT}:by_scheduler", None, [2, 3], "edm", 80, "digits")
    smoke = suite.model_copy(update={"timing": Timing(tier="smoke")})
    tables = harness.run(smoke, in_process=True, results=tmp_path)
    assert tables.all_valid, tables.trials["reasons"].tolist()
    rows = tables.trials.set_index("steps")
    assert rows["is_baseline"].tolist() == [True, True]
    assert rows.loc[3, "flops_per_image"] == 1.5 * rows.loc[2, "flops_per_image"]
    assert (tmp_path / "wrap-by-scheduler" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "network", "dataset", "said"),
    [
        ("by_scheduler", "zoo:unet-8", "digits", "expected one of them"),
        ("pipeline_of", None, None, "expected def pipeline_of"),
        ("by_scheduler", "unet-8", None, "expected one of the zoo"),
    ],
)
def test_a_suite_that_cannot_be_is_one_sentence(name: str, network: str | None, dataset: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        wrap_suite(f"{KIT}:{name}", network, [3], "edm", None, dataset)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("owned", [{"network": "unet-8"}, {"solver": "ddim"}, {"sampler": f"{KIT}:by_scheduler"}])
def test_a_trial_that_names_what_a_pipeline_owns_is_refused(owned: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a wrapped pipeline owns"):
        TrialEntry(pipeline=f"{KIT}:by_scheduler", steps=3, **owned)


def test_the_network_of_a_pipeline_goes_with_it_alone(tmp_path: Path) -> None:
    suite = SUITE.format(trials='[[trials]]\nnetwork = "own:mine"\nsteps = 4\n')
    (tmp_path / "toy.toml").write_text(suite)
    with pytest.raises(UsageError, match="is a wrapped pipeline's own"):
        harness.plan(str(tmp_path / "toy.toml"))
