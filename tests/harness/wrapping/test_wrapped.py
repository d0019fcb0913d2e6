"""Wrapped samplers: diffusers' schedulers against our solvers, misbehaving functions, and the leaderboard."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from kit.toy_runs import Run

import harness
from harness.cli.wrap import wrap_suite
from harness.errors import UsageError
from harness.planning.by_hand import assemble_sampler
from harness.sampling.sampler import Sampler

KIT = os.path.relpath(Path(__file__).resolve().parents[2] / "kit" / "wrapped_kit.py")
SUITE = """
name = "toy"
title = "Wrapped samplers"
dataset = "digits"
network = "unet-8"
extractor = "digits-cnn"
n_images = 80
batch = 40
baseline = {{ solver = "ddim", schedule = "edm", clock_steps = 3 }}
networks.unet-8.weights = "zoo:unet-8"
timing.tier = "smoke"

[[trials]]
steps = 3
{trials}
"""


def wrapped(name: str, steps: int) -> Sampler:
    executor = {"name": "wrapped", "python": f"{KIT}:{name}"}
    return assemble_sampler("zoo:unet-8", steps=steps, schedule="own", solver="own", executor=executor)


def run(folder: Path, *names: str, more: str = "") -> Run:
    trials = more + "".join(f'[[trials]]\nsampler = "{KIT}:{name}"\nsteps = 3\n' for name in names)
    (folder / "toy.toml").write_text(SUITE.format(trials=trials))
    return Run(str(folder / "toy.toml"), folder / "results")


def test_the_same_levels_and_steps_are_the_same_images() -> None:
    ours = assemble_sampler("zoo:unet-8", steps=6).run(range(8))
    torch.testing.assert_close(wrapped("own_euler", 6).run(range(8)), ours, atol=1e-4, rtol=1e-4)


def test_noise_that_it_draws_itself_is_ours() -> None:
    given, drawn = (wrapped(name, 4).run(range(3, 7)) for name in ("own_euler", "draws_start"))
    assert torch.equal(given, drawn)
    assert torch.randn(4).std() > 0  # torch's own draws are back


def test_visited_levels_are_those_of_its_calls() -> None:
    sampler = wrapped("by_ddim", 5)
    sampler.run(range(2))
    kept = DDIMScheduler().alphas_cumprod[[800, 600, 400, 200, 0]].double()
    levels = sampler.visited_levels
    assert levels[:-1].tolist() == pytest.approx(((1 - kept) / kept).sqrt().tolist())
    assert len(levels) == 6


@pytest.mark.parametrize(("name", "solver"), [("by_ddim", "ddim"), ("by_dpmpp", "dpmpp-2m"), ("by_unipc", "unipc")])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")
def test_a_scheduler_of_diffusers_makes_the_images_of_our_solver(name: str, solver: str) -> None:
    theirs = wrapped(name, 6)
    states = theirs.run(range(8))
    levels = theirs.visited_levels[:-1]
    whole = {} if solver == "ddim" else {"lower_order_final": False}  # its last step is that to level 0
    ours = assemble_sampler("zoo:unet-8", steps=6, solver={"name": solver, **whole})
    ours = replace(ours, sigmas=levels, initial_scale=float(np.sqrt(1 + levels[0] ** 2)), denoises_last=True)
    torch.testing.assert_close(states, ours.run(range(8)), atol=1e-4, rtol=1e-4)


def test_a_wrapped_row_stands_in_the_leaderboard_beside_ddim(tmp_path: Path) -> None:
    found = run(tmp_path, "own_euler", "by_ddim", "by_dpmpp", "by_unipc")
    ours, theirs = found.row("ddim", 3), found.row("own-euler", 3)
    assert set(found.tables.trials["verdict"]) == {"VALID"}, found.tables.trials["reasons"].tolist()
    assert theirs["fid"] == pytest.approx(ours["fid"], rel=1e-3)
    assert theirs["nfe"] == ours["nfe"] == 3
    assert "no truncation error: a wrapped sampler" in theirs["not_measured"]
    assert theirs["flops_per_image"] == ours["flops_per_image"] > 0
    assert (theirs["solver"], theirs["schedule"], theirs["executor"]) == ("own", "own", "serial")

    steps = found.of("steps", theirs).sort_values("step")
    assert steps["sigma"].tolist() == pytest.approx(found.of("steps", ours).sort_values("step")["sigma"].tolist())
    harness.api.report(tmp_path / "results" / "toy")
    board = (tmp_path / "results" / "toy" / "leaderboard.md").read_text()
    lines = [line for line in board.splitlines() if line.startswith("| unet-8:")]
    assert any("own-euler" in line for line in lines)
    assert any("unet-8:ddim" in line for line in lines)
    assert "FID by steps" not in board


BAD = {
    "wrong_shape": "wrong-shape",
    "not_finite": "nan-samples",
    "other_count": "timed-evaluations-differ",
    "draws_in_numpy": "depends-on-batch",
}
FAILING = {
    "raises": "no such thing",
    "returns_list": "returned a list",
    "level_zero": "expected a finite level above 0",
}


def test_diffusers_has_the_fid_of_our_solvers_on_ddim_uniform(tmp_path: Path) -> None:
    solvers = ('"ddim"', *(f'{{ name = "{name}", lower_order_final = false }}' for name in ("dpmpp-2m", "unipc")))
    levels = '{ name = "ddim-uniform", final = "denoise" }'  # the last step is that to level 0, of first order
    more = "".join(f"[[trials]]\nsolver = {one}\nschedule = {levels}\nsteps = 2\n" for one in solvers)
    found = run(tmp_path, "by_ddim", "by_pipeline", "dpmpp_leading", "unipc_leading", more=more)
    own = found.tables.trials.query("schedule == 'ddim-uniform'").set_index("solver")
    assert own["fid"].nunique() == 3
    pairs = {"by-ddim": "ddim", "by-pipeline": "ddim", "dpmpp-leading": "dpmpp-2m", "unipc-leading": "unipc"}
    for name, solver in pairs.items():
        row, ours = found.row(name, 3), own.loc[solver]
        assert row["verdict"] == "VALID", row["reasons"]
        assert row["fid"] == pytest.approx(ours["fid"], rel=1e-3)
        assert row["nfe"] == ours["nfe"] == 3


def test_each_misbehaviour_is_a_row_with_its_reason(tmp_path: Path) -> None:
    rows = run(tmp_path, *BAD, *FAILING, "is_slow", "not_callable").tables.trials.set_index("method")
    for name, reason in BAD.items():
        assert rows.loc[name.replace("_", "-"), "verdict"] == "INVALID"
        assert reason in rows.loc[name.replace("_", "-"), "reasons"]
    assert "own noise, not paired" in rows.loc["draws-in-numpy", "reasons"]
    for name, reason in {**FAILING, "not_callable": "expected a function"}.items():
        row = rows.loc[name.replace("_", "-")]
        assert row["verdict"] != "VALID"
        assert reason in f"{row['reasons']} {row.get('error')}"
    assert rows.loc["is-slow", "verdict"] == "VALID"  # slow is no fault; its time says so
    assert rows.loc["is-slow", "latency_seconds"] > max(0.02, rows.loc["ddim", "latency_seconds"])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mine", "names no code"),
        ("nowhere.py:my_sampler", "does not exist"),
        (f"{KIT}:nothing", "has no nothing at its top"),
        (lambda network, noise, steps: noise, "FILE.py:NAME"),
    ],
)
def test_code_that_is_not_there_is_one_sentence(target: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        wrap_suite(target, "zoo:unet-8", [3], "edm", None)
    assert "\n" not in str(caught.value)


def test_an_edit_and_a_library_change_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("import torch\nimport beside\n\ndef sample(network, noise, steps):\n    return noise\n")
    Path("beside.py").write_text("A = 1\n")
    first = _identity()
    Path("beside.py").write_text("A = 2\n")
    second = _identity()
    assert first[0] != second[0]
    assert first[1] == {"torch": version("torch")}

    # a file beside it that cannot be read as Python is hashed all the same
    Path("beside.py").write_text("A = \n")
    assert _identity()[0] not in (first[0], second[0])


def _identity() -> tuple[str, dict[str, str]]:
    from harness.wrapping.wrapped import WrappedParams

    found = WrappedParams(python="mine.py:sample")
    return found.sha256, found.libraries


def test_parts_of_a_wrapped_sampler_stand_with_it_alone() -> None:
    with pytest.raises(UsageError, match="wrapped sampler"):
        assemble_sampler("zoo:unet-8", steps=3, schedule="own")
    with pytest.raises(UsageError, match="FILE"):
        assemble_sampler("zoo:unet-8", steps=3, schedule="own", solver="own", executor="wrapped")
