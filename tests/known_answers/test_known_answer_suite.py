"""The known-answer suite: its numbers are derived again here, the pipeline recovers them, and a mutant does not."""

from __future__ import annotations

import math
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import toys

import harness
from harness import api
from harness.config.suite import SUITES
from harness.data.cards import load_card
from harness.pools.local import LocalPool
from harness.registry import registry
from harness.rows.expected import expected_value
from harness.specs.row import Expectation

C, DIM, LOW, HIGH = 0.2, 16, 0.002, 80.0
RAW: dict[str, Any] = tomllib.loads((SUITES / "known-answer.toml").read_text())
EXPECTED: list[dict[str, Any]] = RAW["expect"]
REFERENCE_N = load_card("gaussian").splits["train"].n


def shrinkage(method: str, steps: int) -> float:
    """Return Euler's answer over the exact one on Gaussian data: prod cos(theta_i - theta_(i+1))."""
    schedule, params = {
        "ddim": ("edm", {}),
        "ddim@logsnr": ("logsnr", {}),
        "ddim@arctan(c=0.2)": ("arctan", {"c": 0.2}),
    }[method]
    levels = registry().make("schedule", schedule, params).levels(steps, LOW, HIGH)  # type: ignore[attr-defined]
    return float(np.prod(np.cos(np.diff(np.arctan(levels / C)))))


FLOOR = DIM + DIM * (DIM + 1) / 4
"""Of n samples of variance s, over s / n: tr S + (1/2) sum_ij s_i s_j (1 + [i = j]) / (s_i + s_j), over n."""


def fid(method: str, steps: int, n_images: float) -> float:
    """Return d (c - c_out)^2 of the two isotropic Gaussians, plus the bias floor of each set at its own size."""
    out = standard_deviation(method, steps)
    return DIM * (C - out) ** 2 + FLOOR * (out**2 / n_images + C**2 / REFERENCE_N)


def standard_deviation(method: str, steps: int) -> float:
    """Return that of the sampled images: the start has sigma_max, where the exact flow has sqrt(c^2 + sigma_max^2)."""
    return float(shrinkage(method, steps) * HIGH * np.sqrt((C**2 + LOW**2) / (C**2 + HIGH**2)))


def theory(known: dict[str, Any]) -> float:
    components = {"gaussian": 1, "gaussian-mixture": 6}[known["dataset"]]
    evaluations = known["steps"] * {"heun": 2}.get(known["method"], 1)
    return {
        "truncation_error": lambda: 1 - shrinkage(known["method"], known["steps"]),
        "fid": lambda: fid(known["method"], known["steps"], math.inf),
        "nfe": lambda: float(evaluations),
        "flops_per_image": lambda: float(evaluations * 4 * components * DIM),
    }[known["column"]]()


def test_the_data_are_those_of_the_formulas() -> None:
    card = load_card("gaussian")
    facts = card.shape().facts
    assert (facts["stds"], facts["weights"]) == ([C], [1.0])
    assert np.shape(facts["means"]) == (1, DIM)
    assert not np.any(facts["means"])
    assert (card.sigma_min, card.sigma_max) == (LOW, HIGH)
    assert len(load_card("gaussian-mixture").shape().facts["stds"]) == 6


@pytest.mark.parametrize(
    "known", EXPECTED, ids=lambda k: f"{k['dataset']} {k['method']} {k['steps']} {k['column']}".replace(" ", "-")
)
def test_every_number_of_the_suite_follows_from_its_formula(known: dict[str, Any]) -> None:
    digits = {"truncation_error": 5.1e-13, "fid": 5.1e-7}.get(known["column"], 0.0)
    assert known["value"] == pytest.approx(theory(known), abs=digits, rel=0)


@pytest.mark.parametrize("n_images", [100, RAW["n_images"], 50_000])
def test_the_bias_of_a_sample_follows_its_size(n_images: int) -> None:
    """And the room for its noise goes as 1 / sqrt(N), from the suite's own N on."""
    for known in (k for k in EXPECTED if k["column"] == "fid"):
        value, slack = expected_value(Expectation(**known), n_images)
        assert value == pytest.approx(fid(known["method"], known["steps"], n_images), abs=2e-6, rel=2e-6)
        at_2000 = known["absolute"] + known["relative"] * value
        assert slack == pytest.approx(at_2000 * math.sqrt(2000 / n_images))
    assert all(
        expected_value(Expectation(**k), n_images) == (k["value"], k.get("absolute", 0))
        for k in EXPECTED
        if "per_image" not in k
    )


def test_tolerances_are_tight_enough_to_tell_the_schedules_apart() -> None:
    for steps in (8, 16):
        bands = sorted(
            (value - slack, value + slack)
            for k in EXPECTED
            if k["column"] == "fid" and k["steps"] == steps
            for value, slack in [expected_value(Expectation(**k), RAW["n_images"])]
        )
        assert len(bands) == 3
        assert all(below[1] < above[0] for below, above in pairwise(bands))


def test_the_floor_is_near_the_second_order_bias_of_two_unequal_gaussians() -> None:
    """E FID - FID = s' d / n + sqrt(s s') d (d + 1) / 4 / n for n samples of variance s' against variance s."""
    for known in (k for k in EXPECTED if k["column"] == "fid"):
        out = standard_deviation(known["method"], known["steps"])
        pairs = DIM * (DIM + 1) / 4 * C * out
        exact = DIM * (C - out) ** 2 + (out**2 * DIM + pairs) / RAW["n_images"] + (C**2 * DIM + pairs) / REFERENCE_N
        value, slack = expected_value(Expectation(**known), RAW["n_images"])
        assert abs(value - exact) < slack / 5


def test_every_method_but_the_inexact_ones_has_an_expectation() -> None:
    assert {k["column"] for k in EXPECTED} == {"truncation_error", "fid", "nfe", "flops_per_image"}
    assert {k["method"] for k in EXPECTED if k["column"] == "fid"} == {"ddim", "ddim@logsnr", "ddim@arctan(c=0.2)"}


def run(folder: Path, suite: str = "known-answer", **options: Any) -> api.Tables:
    return harness.run(suite, pool=LocalPool, results=folder, report=False, **options)


def test_the_pipeline_recovers_every_expected_value(tmp_path: Path) -> None:
    tables = run(tmp_path)
    assert dict(zip(tables.trials["method"], tables.trials["reasons"], strict=True)) == dict.fromkeys(
        tables.trials["method"], ""
    )
    assert tables.all_valid


@pytest.mark.parametrize("n_images", [200, 600])
def test_known_answers_hold_at_the_number_of_images_that_is_asked_for(n_images: int, tmp_path: Path) -> None:
    tables = run(tmp_path, settings=[f"n_images={n_images}"])
    assert set(tables.trials["n_images"]) == {n_images}
    assert set(tables.trials["reasons"]) == {""}
    assert tables.all_valid


def mutant_suite(folder: Path, solver: str) -> str:
    """Write the suite with a mutant in DDIM's place, under DDIM's name."""
    text = (SUITES / "known-answer.toml").read_text()
    trials = f'[[trials]]\nsolver = "{solver}"\ndataset = "gaussian"\nlabel = "mutant"\nsteps = 8\n'
    head, mark, expectations = text.partition("\n[[expect]]\n")
    head = head[: head.index("[[trials]]")] + "[[trials]]\nsteps = 8\n\n"
    mine = [e for e in (mark + expectations).split("\n\n") if 'method = "ddim"\nsteps = 8' in e and '"gaussian"' in e]
    assert len(mine) == 4
    path = folder / "mutant.toml"
    renamed = "\n\n".join(e.replace('"ddim"', '"mutant"') for e in mine)
    path.write_text(
        head.replace('"known-answer"', '"mutant"').replace('["gaussian", "gaussian-mixture"]', '"gaussian"')
        + trials + "\n" + renamed + "\n"
    )  # fmt: skip
    return str(path)


class TwiceTheWork(toys.DDIM):
    """A mutant that asks the network twice and throws one answer away."""

    name = "toy-twice"

    def step(self, x, i, sigmas, denoise, memory, noise):  # type: ignore[no-untyped-def]
        denoise(x, float(sigmas[i]))
        return super().step(x, i, sigmas, denoise, memory, noise)


@pytest.mark.parametrize(
    ("mutant", "missed"),
    [(toys.WrongEnd, {"truncation_error", "fid"}), (TwiceTheWork, {"nfe", "flops_per_image"})],
    ids=["wrong-end", "twice"],
)
def test_a_mutated_solver_misses_just_the_answers_that_it_spoils(tmp_path: Path, mutant: Any, missed: set[str]) -> None:
    with toys.registered(mutant):
        tables = run(tmp_path, mutant_suite(tmp_path, mutant.name), only="mutant")
    row = tables.trials.iloc[0]
    assert row["verdict"] == "INVALID"
    assert {reason.split()[1] for reason in row["reasons"].split("; ") if "known-answer" in reason} == missed
    assert not tables.all_valid
