"""The continuous U-Net at training, and the authors' profile by its published counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from harness.config.network_card import load_network_card
from harness.measure.flops import count_flops
from harness.sampling.network import build_network
from harness.specs.train import TrainSettings
from harness.training.network_training import network_trainer
from methods.networks.base import DataShape
from methods.networks.continuous_unet import ContinuousUNet, ContinuousUNetParams
from methods.networks.ode_blocks import Integration
from methods.networks.preconditioning import Draws


def network(**changes: Any) -> ContinuousUNet:
    torch.manual_seed(0)
    return ContinuousUNet(ContinuousUNetParams(**changes), DataShape(1, 8))


def fitted(built: ContinuousUNet, images: Tensor, steps: int, batch: int, half: bool = False) -> list[float]:
    """Train on a loss of fixed draws where `batch` is 0, else of new ones; return the losses."""
    optimiser = torch.optim.Adam(built.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator, losses = torch.Generator().manual_seed(0), []
    fixed = built.draws(tuple(images.shape), generator)
    for _ in range(steps):
        chosen = images[torch.randint(len(images), (batch,), generator=generator)] if batch else images
        draws = built.draws(tuple(chosen.shape), generator) if batch else fixed
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = built.loss_of(chosen, draws)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("half", [False, True])
def test_one_batch_is_learnt_by_heart(half: bool) -> None:
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    losses = fitted(network(channels=(16, 32), norm_groups=4, time_channels=16, time_scale=1000.0), images, 40, 0, half)
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0] / 10, losses[:: len(losses) // 8]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "changes",
    [{"gradient": "adjoint"}, {"profile": "authors", "norm_groups": 8}, {"ode_solver": "dopri5", "tolerance": 0.01}],
)
def test_trains_through_deepspeed(changes: dict[str, Any], precision: Any) -> None:
    built = build_network(load_network_card("cunet-8", {"params": changes}), DataShape(1, 8))
    before = {name: value.clone() for name, value in built.state_dict().items()}
    images = (digits()[:32] * 127.5 + 127.5).to(torch.uint8)
    trainer = network_trainer(built, images, TrainSettings(steps=2, batch=8, lr=1e-3, precision=precision), 0, 1)
    trainer.advance(2)
    weights = trainer.weights()
    trainer.close()
    assert set(weights) == set(before)
    still = [name for name, value in weights.items() if torch.equal(torch.as_tensor(value), before[name])]
    assert all(torch.as_tensor(value).isfinite().all() for value in weights.values())
    assert still == (["time.table.weight"] if "profile" in changes else [])


def digits() -> Tensor:
    """Return scikit-learn's handwritten digits [1797, 1, 8, 8] in [-1, 1]."""
    return torch.tensor(load_digits().images / 8 - 1).float()[:, None]


@torch.no_grad()
def losses_by_steps(built: ContinuousUNet, images: Tensor) -> dict[int, float]:
    """Return the loss on fixed draws with every block solved in 1, 2 and 4 steps."""
    asked = built.regression(images, Draws(*built.draws(tuple(images.shape), torch.Generator().manual_seed(9))))
    return {
        n: float(
            (built.raw_counted(asked.scaled, asked.label, Integration("rk4", n))[0] - asked.target).square().mean()
        )
        for n in (1, 2, 4)
    }


@pytest.mark.slow
def test_a_trained_network_has_learnt_an_ode_and_not_its_first_step() -> None:
    """More steps than it was trained with change its loss by under five per cent."""
    torch.manual_seed(0)
    built = build_network(load_network_card("cunet-8"), DataShape(1, 8))
    assert isinstance(built, ContinuousUNet)
    fitted(built, digits()[:1500], 300, 128)
    losses = losses_by_steps(built.eval(), digits()[1500:])
    assert losses[1] < 0.6
    assert all(abs(losses[n] / losses[1] - 1) < 0.05 for n in (2, 4)), losses


@torch.no_grad()
def test_authors_profile_has_the_published_counts() -> None:
    """8,811,875 parameters and, by thop, 2,830,983,168: thop counts norms as 2 an element and no attention product."""
    params = ContinuousUNetParams(channels=(32, 64, 128, 256, 512), profile="authors", attention_levels=(3,))
    built, normed = ContinuousUNet(params, DataShape(3, 64)).eval(), []
    for module in built.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.register_forward_hook(lambda m, inputs, out: normed.append(out.numel()))
    macs = count_flops(built, torch.randn(1, 3, 64, 64), torch.ones(1)) // 2
    products = 2 * 2 * 64 * 64 * 128  # two layers, two products, 64 pixels, 4 heads of 32
    assert macs - products + 2 * sum(normed) == 2_830_983_168
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in built.named_children()}
    assert sizes == {
        "time": 256_000, "start": 992, "blocks": 7_854_976, "attention": 263_168,
        "down": 175_040, "up": 261_600, "out": 99,
    }  # fmt: skip
    assert sum(sizes.values()) == 8_811_875


@torch.no_grad()
def test_authors_profile_ignores_the_noise_level_and_grows() -> None:
    """With all weights 0, Y' = Y + ln 2: one rk4 step multiplies by 1 + 1 + 1/2 + 1/6 + 1/24 = 2.7083."""
    built, x = network(channels=(8, 16), profile="authors").double(), torch.randn(3, 1, 8, 8).double()
    assert torch.equal(built.raw(x, x.new_zeros(3)), built.raw(x, x.new_ones(3)))
    block, state = built.blocks["bottom"], torch.randn(2, 16, 4, 4).double()
    for parameter in block.parameters():
        parameter.zero_()
    end, _ = block(state, None, Integration("rk4"))
    growth = 65 / 24
    torch.testing.assert_close(end, growth * state + (growth - 1) * math.log(2))
