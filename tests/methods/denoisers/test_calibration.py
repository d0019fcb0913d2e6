"""Predicted against true uncertainty: by hand, in an artifact, and on the zoo's network at the budget of `quick`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kit import digits_kit
from kit.toy_context import ToyContext
from kit.toy_gates import FAMILIES, lively, states

from methods.denoisers.adadiff import AdaDiff
from methods.denoisers.adadiff_calibration import calibration
from methods.denoisers.adadiff_uncertainty import Uncertainty, every_exit, token_scales
from methods.networks.preconditioning import Draws
from methods.tuning.level_coverage import usual_grid

both = pytest.mark.parametrize("family", FAMILIES)
TOLERANCE = 0.08
"""Between the means of predicted and true uncertainty: a third of the range of theta that suites ask for."""


@both
def test_heads_that_always_answer_one_half_predict_one_half_and_the_truth_is_the_networks_own(family: str) -> None:
    """At full depth the true uncertainty is mean tanh(|D - y| / sigma), whatever the preconditioning."""
    network, levels = lively(family).double(), np.array([5.0, 0.3])
    heads = Uncertainty(network, False).double()
    for parameter in heads.parameters():
        torch.nn.init.zeros_(parameter)
    context = ToyContext(network, clean=states()[:4])
    found = calibration(network, heads, levels, context)
    assert [(row["sigma"], row["block"]) for row in found] == [
        (sigma, block) for sigma in levels for block in range(1, network.n_blocks + 1)
    ]
    assert {row["predicted"] for row in found} == {0.5}
    clean = states()[:4].repeat_interleave(16, 0)
    noise = torch.stack([context.noise(k) for k in range(64)])
    for sigma in levels:
        whole = network(clean + sigma * noise, torch.full((64,), sigma, dtype=torch.float64))
        (row,) = [row for row in found if (row["sigma"], row["block"]) == (sigma, network.n_blocks)]
        assert row["true"] == pytest.approx(((whole - clean).abs() / sigma).tanh().mean().item(), rel=1e-6)


@both
@pytest.mark.parametrize("concat", [False, True])
def test_folded_scales_leave_the_certainties_as_they_were(family: str, concat: bool) -> None:
    network = lively(family).double()
    heads, asked = Uncertainty(network, concat).double(), states()
    label = torch.linspace(0.1, 1, len(asked), dtype=torch.float64)
    raw = every_exit(network, heads, asked, label)[1]
    heads.scales = torch.linspace(2, 9, network.n_blocks, dtype=torch.float64)
    scaled = every_exit(network, heads, asked, label)[1]
    heads.fold_scales()
    assert heads.scales is None
    torch.testing.assert_close(every_exit(network, heads, asked, label)[1], scaled, atol=1e-12, rtol=0)
    assert not torch.allclose(raw, scaled)


@both
def test_scales_are_the_size_of_what_a_head_reads(family: str) -> None:
    """In units of them, a head of weights 1 answers a logit whose mean square is what tokens of size 1 give."""
    network = lively(family)
    drawn = Draws(torch.full((6,), 0.7), torch.randn((6, 1, 8, 8), generator=torch.Generator().manual_seed(0)))
    images = torch.zeros(6, 1, 8, 8)
    scales = token_scales(network, images, drawn)
    asked = network.regression(images, drawn)
    h, condition = network.embed(asked.scaled, asked.label, None)
    h = network.block(0, h, condition, None)
    assert scales[0].item() == pytest.approx(network.patch_tokens(h).square().mean().sqrt().item())
    assert scales.shape == (network.n_blocks,)


@pytest.mark.parametrize("concat", ["none", "concat"])
def test_an_artifact_holds_the_calibration_of_the_weights_in_it(concat: Any) -> None:
    network = lively("uvit")
    context = ToyContext(network)
    method = AdaDiff(tune_steps=3, tune_batch=4, uncertainty_time=concat)
    artifact = method.prepare(context)
    tuned = method._tuned(network, artifact)
    again = calibration(tuned.network, tuned.heads, usual_grid(context)[:-1], context)
    assert len(again) == 10 * network.n_blocks
    for row, stored in zip(again, artifact.facts["calibration"], strict=True):
        assert row == pytest.approx(stored, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("levels", ["mixed", "training"])
def test_at_the_levels_of_sampling_a_gate_knows_its_error(levels: Any) -> None:
    """The zoo's uvit-8, tuned as in `quick`; the levels of training, by which gates were tuned before, do not do.

    When written: at most 0.061 off at the last block, and 0.111 under the levels of training, at sigma 20.
    """
    context = digits_kit.context(digits_kit.zoo_network("uvit-8"))
    found = AdaDiff(tune_levels=levels).prepare(context).facts["calibration"]
    last = [row for row in found if row["block"] == 7]
    assert [row["sigma"] for row in last] == usual_grid(context)[:-1].tolist()
    off = [abs(row["predicted"] - row["true"]) for row in last]
    assert (max(off) < TOLERANCE) == (levels == "mixed"), off
