"""Training through DeepSpeed: learns, resumes to the bit, and does not depend on how it is spread."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.errors import HarnessError
from harness.sampling.network import build_network
from harness.specs.train import TrainSettings
from harness.training.batches import Batches
from harness.training.network_training import network_trainer
from harness.training.schedules import learning_rate
from methods.networks.base import DataShape, Network

ROOT = Path(__file__).resolve().parents[3]
PATTERNS = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5
IMAGES = PATTERNS.to(torch.uint8).mul(255).repeat(16, 1, 1, 1)
SPEC: dict[str, Any] = {
    "steps": 12,
    "batch": 8,
    "lr": 1e-3,
    "warmup_steps": 2,
    "ema_half_life_images": 100,
    "flips": True,
}
CHILD = """
import json, sys, torch
torch.set_num_threads(1)
sys.path[:0] = [{root!r}, {here!r}]
from test_training import IMAGES, fresh
from harness.training.network_training import network_trainer
from harness.specs.train import TrainSettings
import numpy as np
rank, world, port, spec, out, resume = json.loads(sys.argv[1])
trainer = network_trainer(fresh(), IMAGES, TrainSettings(**spec), rank, world, port=port)
trainer.advance(spec["steps"] // 2)
if resume:
    state = [trainer.state()]
    torch.distributed.broadcast_object_list(state)
    trainer.close()
    trainer = network_trainer(fresh(), IMAGES, TrainSettings(**spec), rank, world, port=port + 1, state=state[0])
trainer.advance(spec["steps"] // 2)
weights = trainer.weights()
trainer.close()
if rank == 0:
    np.savez(out, **weights)
else:
    assert not weights
"""


def fresh() -> Network:
    torch.manual_seed(1)
    return build_network(load_network_card("unet-tiny"), DataShape(1, 8))


def trained(
    state: Any = None, advance: int = 12, network: Network | None = None, **changes: Any
) -> tuple[Any, Any, float]:
    trainer = network_trainer(network or fresh(), IMAGES, TrainSettings(**{**SPEC, **changes}), state=state)
    try:
        loss = trainer.advance(min(advance, {**SPEC, **changes}["steps"])).loss
        return trainer.weights(), trainer.state(), loss
    finally:
        trainer.close()


def spread(folder: Path, resume: bool = False, world: int = 2, **changes: Any) -> dict[str, np.ndarray]:
    """Return the weights of a training on several processes."""
    out, port = folder / "weights.npz", _free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCH_EXTENSIONS_DIR": str(folder / "extensions")}
    (folder / "extensions").mkdir(exist_ok=True)
    children = []
    for rank in range(world):
        facts = json.dumps([rank, world, port, {**SPEC, **changes}, str(out), resume])
        command = [sys.executable, "-c", CHILD.format(root=str(ROOT), here=str(Path(__file__).parent)), facts]
        children.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    try:
        for child in children:
            said, talk = child.communicate(timeout=120)
            assert child.returncode == 0, talk
            assert said == ""
    finally:
        for child in children:
            child.kill()
    assert not list((folder / "extensions").iterdir())  # nothing was compiled
    with np.load(out) as found:
        return dict(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def difference(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def test_loss_falls_and_weights_fit_the_network() -> None:
    spec = TrainSettings(steps=60, batch=32, lr=3e-3, warmup_steps=5, ema_half_life_images=200)
    trainer = network_trainer(fresh(), IMAGES, spec)
    first, last = trainer.advance(10), trainer.advance(40)
    weights = trainer.weights()
    trainer.close()
    assert last.step == 50
    assert last.loss < 0.8 * first.loss
    fresh().load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("stage", [0, 2])
def test_killed_and_resumed_is_uninterrupted_to_the_bit(stage: int) -> None:
    whole, _, _ = trained(zero_stage=stage)
    _, (tensors, facts), _ = trained(advance=5, zero_stage=stage)
    other = build_network(
        load_network_card("unet-tiny"), DataShape(1, 8)
    )  # other initial weights: all come from the state
    resumed, _, _ = trained((tensors, json.loads(json.dumps(facts))), 7, network=other, zero_stage=stage)
    assert difference(whole, resumed) == 0


def test_dropout_is_resumed_too() -> None:
    def dropping() -> Network:
        torch.manual_seed(1)
        card = load_network_card("unet-tiny")
        return build_network(card.model_copy(update={"params": {**card.params, "dropout": 0.3}}), DataShape(1, 8))

    whole, _, _ = trained(network=dropping())
    _, state, _ = trained(advance=5, network=dropping())
    assert difference(whole, trained(state, 7, network=dropping())[0]) == 0


def test_average_is_the_formula() -> None:
    spec = TrainSettings(**SPEC)
    network = fresh()
    trainer = network_trainer(network, IMAGES, spec)
    name = "inner.conv_in.weight"
    expected = network.get_parameter(name).detach().double().numpy().copy()
    for step in range(6):
        trainer.advance(1)
        decay = min(0.5 ** (8 / 100), (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.get_parameter(name).detach().double().numpy()
    np.testing.assert_allclose(trainer.weights()[name], expected, atol=1e-6)
    trainer.close()


def test_batches_do_not_depend_on_the_number_of_processes() -> None:
    spec, network, device = TrainSettings(**SPEC), fresh(), torch.device("cpu")
    images, draws, _ = Batches(IMAGES, spec, network, 0, 1, device).draw(3)
    parts = [Batches(IMAGES, spec, network, rank, 2, device).draw(3) for rank in range(2)]
    assert torch.equal(images, torch.cat([part[0] for part in parts]))
    for i, draw in enumerate(draws):
        assert torch.equal(draw, torch.cat([part[1][i] for part in parts]))
    again, _, _ = Batches(IMAGES, spec, network, 0, 1, device).draw(4)
    assert not torch.equal(images, again)


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    """ZeRO 2, interrupted and resumed on the way: the moments are scattered and gathered again."""
    few = {"steps": 6, "grad_clip": 1.0}
    alone, _, _ = trained(**few)
    assert difference(alone, spread(tmp_path, resume=True, zero_stage=2, **few)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_zero_stage_agrees_on_two_processes(stage: int, tmp_path: Path) -> None:
    alone, _, _ = trained(steps=6)
    assert difference(alone, spread(tmp_path, resume=True, steps=6, zero_stage=stage)) < 1e-4


def test_network_with_only_a_loss_trains_and_autocast_stays_near() -> None:
    class Plain(Network):
        family, summary = "plain", "for this test"

        def __init__(self) -> None:
            super().__init__(Network.Params(), DataShape(1, 8))
            self.inner = fresh()

        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return self.inner(x, sigma)

        def loss(self, images: Tensor, generator: torch.Generator) -> Tensor:
            return self.inner.loss(images, generator)

    _, _, full = trained(network=Plain())
    _, _, low = trained(network=Plain(), precision="bfloat16")
    assert math.isfinite(full)
    assert low == pytest.approx(full, rel=0.05)
    assert low != full


def test_loss_that_is_not_finite_stops_with_a_sentence() -> None:
    network = fresh()
    with torch.no_grad():
        network.get_parameter("inner.conv_in.weight").fill_(math.nan)
    with pytest.raises(HarnessError, match=r"loss became nan .* lower lr"):
        trained(network=network, advance=1)
    assert not torch.distributed.is_initialized()


def test_checkpoint_of_another_network_is_refused() -> None:
    with pytest.raises(HarnessError, match="expected one of the same network"):
        network_trainer(fresh(), IMAGES, TrainSettings(**SPEC), state=({}, {"step": 1}))


def test_rate_warms_up_and_falls() -> None:
    spec = TrainSettings(steps=100, batch=8, lr=1.0, warmup_steps=9)
    assert learning_rate(spec, 0) == pytest.approx(0.1)
    assert learning_rate(spec, 50) == pytest.approx(0.5)
    assert learning_rate(spec, 99) < 0.001
    assert learning_rate(TrainSettings(steps=100, batch=8, lr=1.0, decay="constant"), 99) == 1
