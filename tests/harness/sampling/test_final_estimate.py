"""`final = "denoise"`: the estimate at the last level ends the trajectory, once, and is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from kit.toys import suite_file, trial

import harness
from harness.measure.flow_error import flow_errors
from harness.sampling.call_counts import CallCounts
from harness.sampling.pixels import to_uint8
from harness.tasks.image_checks import ImageChecks

DENOISE = {"name": "edm", "final": "denoise"}


def sampler(steps: int = 5, **parts: Any) -> Any:
    return harness.make_sampler("analytic", dataset="gaussian-mixture", steps=steps, precision="float64", **parts)


def test_the_image_is_the_estimate_at_the_last_level() -> None:
    plain, ended = sampler(), sampler(schedule=DENOISE)
    states, counts = plain.run(range(3)), CallCounts()
    sigma = torch.full((3,), float(plain.sigmas[-1]), dtype=torch.float64)
    expected = plain.denoiser(states, sigma, 0)[0]
    found = ended.run(range(3), counts)
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)
    assert not torch.equal(found, states)
    assert (sum(counts.evaluations.values()), counts.evaluations[4]) == (3 * 6, 3 * 2)


def test_an_exact_solution_ends_so_before_it_is_compared() -> None:
    ended = harness.make_sampler("analytic", dataset="gaussian", steps=5, precision="float64", schedule=DENOISE)
    network, initial = ended.denoiser.network, ended.initial_state(range(4))
    exact = network.flow(initial, float(ended.sigmas[0]), float(ended.sigmas[-1]))
    last = torch.full((4,), float(ended.sigmas[-1]), dtype=torch.float64)
    states = network(exact, last)
    checks = ImageChecks(None, None)
    checks.update(range(4), states, states, to_uint8(states), initial, ended, network)
    assert checks.distances()["truncation_error"].squared_errors == pytest.approx([0.0] * 4, abs=1e-24)
    assert flow_errors(network, initial, states, float(ended.sigmas[0]), float(ended.sigmas[-1]), True) != flow_errors(
        network, initial, states, float(ended.sigmas[0]), float(ended.sigmas[-1])
    )


def test_edm_s_thirty_five_evaluations() -> None:
    counts = CallCounts()
    sampler(17, solver="heun", schedule=DENOISE).run(range(2), counts)
    plain = CallCounts()
    sampler(17, solver="heun").run(range(2), plain)
    assert sum(counts.evaluations.values()) - sum(plain.evaluations.values()) == 2
    assert sum(counts.evaluations.values()) == 2 * 35


@pytest.mark.parametrize("executor", ["srds", "paradigms"])
def test_a_parallel_executor_s_critical_path_has_it_too(executor: str) -> None:
    plain, ended = CallCounts(), CallCounts()
    states = [
        sampler(9, executor=executor).run(range(2), plain),
        sampler(9, executor=executor, schedule=DENOISE).run(range(2), ended),
    ]
    assert sum(ended.executor_stats.critical.values()) == sum(plain.executor_stats.critical.values()) + 2
    assert not torch.equal(*states)


def test_a_row_counts_it_and_follows_its_flow(tmp_path: Path) -> None:
    ended = 'schedule = { name = "edm", final = "denoise" }\n'
    trials = (
        trial(steps=40, solver="heun")
        + trial(steps=40, solver="heun")
        + ended
        + trial(steps=8, executor="srds")
        + ended
    )
    tables = harness.run(suite_file(tmp_path, trials), results=tmp_path, in_process=True, report=False)
    rows = tables.trials.set_index("method")
    assert list(tables.trials["verdict"]) == ["VALID"] * 4, list(tables.trials["reasons"])
    plain, final = rows.loc["heun"], rows.loc["heun@edm(final=denoise)"]
    assert final["nfe"] == plain["nfe"] + 1
    assert final["truncation_error"] == pytest.approx(plain["truncation_error"], rel=0.05)
    assert (
        rows.loc["ddim@edm(final=denoise)/srds"]["nfe_critical_path"] < rows.loc["ddim@edm(final=denoise)/srds"]["nfe"]
    )
    assert "final" in str(final["params_json"])
