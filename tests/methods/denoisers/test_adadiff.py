"""AdaDiff's gate: who leaves where, and that images of a batch do not see each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kit.toy_gates import FAMILIES, SIGMA, depths, first_under, gate, lively, states, thetas, tuned, uncertainties
from pydantic import ValidationError
from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.evaluator import Evaluator
from methods.denoisers.adadiff import AdaDiff
from methods.executors.serial import Serial
from methods.parts import Artifact, Trace
from methods.solvers.ddim import DDIM

both = pytest.mark.parametrize("family", FAMILIES)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_theta_zero_is_the_whole_network_and_theta_one_the_first_block(family: str, dtype: torch.dtype) -> None:
    network, x = lively(family).to(dtype), states(dtype)
    whole, units = gate(network, theta=0)(x, SIGMA, 0)
    assert depths(units).tolist() == [network.n_blocks] * 8
    assert torch.equal(whole, network(x, SIGMA))
    assert depths(gate(network, theta=1)(x, SIGMA, 0)[1]).tolist() == [1] * 8


@both
def test_images_leave_at_the_first_block_under_theta(family: str) -> None:
    network, x = lively(family).double(), states()
    met, artifact = uncertainties(network, x), tuned(network)
    seen: set[int] = set()
    for theta in thetas(network, x, 12):
        found = depths(gate(network, artifact, theta=theta)(x, SIGMA, 0)[1])
        assert torch.equal(found, first_under(met, theta))
        seen |= set(found.tolist())
    assert len(seen) == network.n_blocks  # every exit was taken


@both
def test_blocks_run_do_not_rise_with_theta(family: str) -> None:
    network, x = lively(family), states(torch.float32)
    artifact, grid = tuned(network), [0, *np.linspace(0.35, 0.65, 13), 1]
    found = torch.stack([depths(gate(network, artifact, theta=t)(x, SIGMA, 0)[1]) for t in grid])
    assert (found[1:] <= found[:-1]).all()
    assert found.unique().numel() > 3


@pytest.mark.parametrize(("first", "every"), [(1, 2), (2, 1), (3, 2), (4, 3), (9, 1)])
def test_images_leave_at_tested_blocks_alone(first: int, every: int) -> None:
    network, x = lively("uvit").double(), states()
    met, tested = uncertainties(network, x), [n >= first and (n - first) % every == 0 for n in range(1, 7)]
    met[:, ~torch.tensor(tested)] = 2
    for theta in [*thetas(network, x), 1.0]:
        found = gate(network, theta=theta, first_test=first, test_every=every)(x, SIGMA, 0)[1]
        assert torch.equal(depths(found), first_under(met, theta))


@both
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_each_image_of_a_batch_is_as_it_would_be_alone(family: str, dtype: torch.dtype, near: float) -> None:
    """Levels differ by row, too."""
    network, x = lively(family).to(dtype), states(dtype)
    spread = 0
    for theta in thetas(network, x):
        denoiser = gate(network, theta=theta)
        together, units = denoiser(x, SIGMA, 0)
        spread = max(spread, depths(units).unique().numel())
        alone = [denoiser(x[i : i + 1], SIGMA[i : i + 1], 0) for i in range(8)]
        for name, count in units.items():
            assert torch.equal(count, torch.cat([u[name] for _, u in alone]))
        torch.testing.assert_close(together, torch.cat([d for d, _ in alone]), atol=near, rtol=near)
    assert spread > 2


@both
def test_each_trajectory_of_a_batch_is_as_it_would_be_alone(family: str) -> None:
    network, sigmas = lively(family).double(), np.geomspace(8, 0.02, 9)
    met = uncertainties(network, states()).flatten()
    denoiser, seen = gate(network, theta=float(met.median()) + 1e-4), []
    x = states() / SIGMA.reshape(-1, 1, 1, 1) * sigmas[0]

    def run(x: Tensor) -> Tensor:
        class Seen(Evaluator):
            def __call__(self, x: Tensor, sigma: float | Tensor, step: int | Tensor) -> Tensor:
                denoised, units = denoiser(x, torch.full((len(x),), sigma, dtype=torch.float64), int(step))
                seen.append(torch.stack([*units.values()]))
                return denoised

        return Serial().run(Seen(denoiser, CallCounts()), DDIM(), sigmas, x, lambda step: torch.zeros_like(x), Trace())

    together, steps = run(x), torch.stack(seen)
    seen.clear()
    alone = torch.cat([run(row) for row in x.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=1e-12)
    assert torch.equal(steps, torch.cat([torch.stack(seen[i : i + 8]) for i in range(0, 64, 8)], dim=2))
    assert (steps.sum((0, 2)) > 0).sum() > 2  # several exits were taken on the way


@both
def test_order_and_neighbours_do_not_matter(family: str) -> None:
    network, x = lively(family).double(), states()
    order = torch.tensor([5, 2, 7, 0, 1, 6, 3, 4])
    for theta in thetas(network, x):
        denoiser = gate(network, theta=theta)
        here, units = denoiser(x, SIGMA, 0)
        there, permuted = denoiser(x[order], SIGMA[order], 0)
        torch.testing.assert_close(there, here[order], atol=1e-12, rtol=1e-12)
        assert torch.equal(depths(permuted), depths(units)[order])
        others = torch.cat([x[:2], -2 * x[2:]])
        replaced, changed = denoiser(others, SIGMA, 0)
        torch.testing.assert_close(replaced[:2], here[:2], atol=1e-12, rtol=1e-12)
        assert torch.equal(depths(changed)[:2], depths(units)[:2])


@both
def test_per_batch_all_leave_together_and_neighbours_do_matter(family: str) -> None:
    """The authors' code, which is therefore not what a batch should be sampled by."""
    network, x = lively(family).double(), states()
    met, differs = uncertainties(network, x), []
    for theta in thetas(network, x):
        denoiser = gate(network, theta=theta, rule="per-batch")
        here, units = denoiser(x, SIGMA, 0)
        assert depths(units).tolist() == first_under(met.mean(0, keepdim=True), theta).tolist() * 8
        alone, _ = denoiser(x[:1], SIGMA[:1], 0)
        differs.append(not torch.allclose(alone, here[:1], atol=1e-9))
        own, _ = gate(network, theta=theta)(x[:1], SIGMA[:1], 0)
        assert torch.equal(alone, own)  # a batch of one decides for itself
    assert any(differs)


@both
@pytest.mark.parametrize("last", [1, 3, 5])
def test_blocks_after_the_exit_are_not_touched(family: str, last: int) -> None:
    """Weights of later blocks, their merges and their heads are NaN: encoder exits read no skip."""
    network, x = lively(family).double(), states()
    artifact = tuned(network)
    theta = float(uncertainties(network, x)[:, :last].amin(1).median()) + 1e-6  # half of the rows leave in time
    before, units = gate(network, artifact, theta=theta)(x, SIGMA, 0)
    left = depths(units) <= last
    assert 0 < left.sum() < 8
    half = network.n_blocks // 2
    names = {"dit": [f"blocks.{i}" for i in range(network.n_blocks)]}.get(
        family, [f"in_blocks.{i}" for i in range(half)] + ["mid_block"] + [f"out_blocks.{i}" for i in range(half)]
    )
    later = [f"network.{name}." for name in names[last:]] + [f"heads.heads.{i}." for i in range(last, len(names))]
    spoilt = {k: v * float("nan") if k.startswith(tuple(later)) else v for k, v in artifact.tensors.items()}
    assert sum(v.isnan().any().item() for v in spoilt.values()) >= 2 * len(later)
    after, _ = gate(network, Artifact(spoilt), theta=theta)(x, SIGMA, 0)
    assert torch.equal(after[left], before[left])
    assert after[~left].isnan().flatten(1).any(1).all()


@both
def test_rows_of_different_classes_leave_independently(family: str) -> None:
    """Each row as it would in a call of its own class alone."""
    network, x, differs = lively(family, classes=2).double(), states(), []
    for theta in thetas(network, x):
        alone = []
        for wanted in (1, 2):
            network.row_classes = torch.full((len(x),), wanted)
            alone.append(gate(network, theta=theta)(x, SIGMA, 0))
        network.row_classes = torch.arange(len(x)) % 2 + 1
        found, units = gate(network, theta=theta)(x, SIGMA, 0)
        for first in (0, 1):
            torch.testing.assert_close(found[first::2], alone[first][0][first::2], atol=1e-11, rtol=1e-11)
            assert torch.equal(depths(units)[first::2], depths(alone[first][1])[first::2])
        differs.append(not torch.equal(depths(alone[0][1]), depths(alone[1][1])))
    assert any(differs)


@both
def test_mixed_precision_decides_and_answers_like_the_whole_network(family: str) -> None:
    """Under autocast blocks change the number format of their tokens on the way."""
    network, x = lively(family), states(torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole, units = gate(network, theta=0)(x, SIGMA, 0)
        assert torch.equal(whole, network(x, SIGMA))
        for theta in thetas(network, x):
            found, units = gate(network, theta=theta)(x, SIGMA, 0)
            assert found.isfinite().all()
            assert depths(units).unique().numel() >= 1


def test_parameters_are_checked() -> None:
    for wrong in (
        {"theta": -0.01},
        {"theta": 1.01},
        {"rule": "per-step"},
        {"first_test": 0},
        {"test_every": 0},
        {"tune_steps": 0},
        {"uncertainty_weight": -1},
        {"thres": 0.9},
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            AdaDiff(**wrong)
    assert (AdaDiff(theta=0).params.theta, AdaDiff(theta=1).params.theta) == (0, 1)
