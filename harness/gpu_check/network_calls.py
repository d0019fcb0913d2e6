"""Calls of networks by themselves: each setting of the mode "deployed" alone, and two that no mode has yet.

TF32, compilation, and on top of them channels-last memory and bfloat16. Each variant is compared with the first, in
seconds and in the relative difference of what the network returns. Run as a program it writes its findings as JSON:

    python -m harness.gpu_check.network_calls cuda 256 20 FILE unet-16 uvit-16
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from harness.config.network_card import load_network_card
from harness.config.zoo_card import load_zoo_card
from harness.data.cards import load_card
from harness.gpu_check.child import Child, ChildEnd
from harness.gpu_check.scale import CheckScale
from harness.measure.device import measure_memory, timed_call
from harness.planning.zoo_networks import read_weights
from harness.sampling.deployed import deploy_network, kernels_of
from harness.sampling.device_levels import keep_levels_on_device
from harness.sampling.network import build_network
from harness.sampling.numerics import fix_numerics
from harness.specs.limits import CHECK_CALLS_SECONDS
from harness.specs.sampler import Mode
from methods.networks.base import DataShape, Network

_WARM_UP_CALLS = 2
"""The first compiles and chooses kernels, the second captures graphs."""
_LEVEL = 0.5
"""The noise level of all calls."""


@dataclass(frozen=True)
class CallVariant:
    """How a network is called."""

    name: str
    mode: Mode = "deployed"
    is_compiled: bool = False
    is_channels_last: bool = False
    is_bfloat16: bool = False


VARIANTS = (
    CallVariant("IEEE float32", mode="reproducible"),
    CallVariant("TF32"),
    CallVariant("TF32, compiled", is_compiled=True),
    CallVariant("TF32, channels-last", is_channels_last=True),
    CallVariant("TF32, compiled, channels-last", is_compiled=True, is_channels_last=True),
    CallVariant("bfloat16", is_bfloat16=True),
    CallVariant("bfloat16, compiled", is_compiled=True, is_bfloat16=True),
    CallVariant("bfloat16, compiled, channels-last", is_compiled=True, is_channels_last=True, is_bfloat16=True),
)


def variants_on(device: torch.device) -> list[CallVariant]:
    """Return the variants of a device: a CPU, where each compilation takes a minute, compiles one."""
    if device.type != "cpu":
        return list(VARIANTS)
    return [one for one in VARIANTS if not (one.is_compiled and (one.is_channels_last or one.is_bfloat16))]


class CallFinding(BaseModel):
    """One variant of one network."""

    model_config = ConfigDict(frozen=True)
    network: str
    variant: str
    seconds: float | None = None
    """Median wall seconds of a call, the device synchronised before and after."""
    first_seconds: float | None = None
    """Of the first call, which compiles."""
    difference: float | None = None
    """Of the returned images from those of the first variant, relative, as a Euclidean norm."""
    peak_bytes: int | None = None
    error: str = ""
    """Why there are no figures."""


class CallsFinding(BaseModel):
    """All variants of all networks."""

    model_config = ConfigDict(frozen=True)
    batch: int = 0
    calls: list[CallFinding] = []
    end: ChildEnd | None = None


def run_network_calls(folder: Path, scale: CheckScale, environment: dict[str, str]) -> CallsFinding:
    """Time all variants in a process of its own; those that were done when it ended count."""
    file = folder / "network_calls.jsonl"
    file.unlink(missing_ok=True)
    words = [sys.executable, "-m", "harness.gpu_check.network_calls", scale.device, str(scale.batch), str(scale.calls)]
    log = folder / "logs" / "network_calls.txt"
    end = Child([*words, str(file), *scale.networks], log, environment).wait(CHECK_CALLS_SECONDS)
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return CallsFinding(batch=scale.batch, calls=[CallFinding.model_validate_json(line) for line in lines], end=end)


def time_variants(name: str, device: torch.device, batch: int, calls: int) -> Iterator[CallFinding]:
    """Yield the findings of one network of the zoo; a variant that fails says why, and the others go on."""
    expected: Tensor | None = None
    for variant in variants_on(device):
        try:
            found, out = _time_variant(name, variant, device, batch, calls)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            yield CallFinding(network=name, variant=variant.name, error=reason)
            continue
        if expected is None:
            expected = out
        difference = float((out - expected).norm() / expected.norm())
        yield found.model_copy(update={"difference": difference})


@torch.inference_mode()
def _time_variant(
    name: str, variant: CallVariant, device: torch.device, batch: int, calls: int
) -> tuple[CallFinding, Tensor]:
    """Return seconds of a variant, without the difference, and what the network returned, on the CPU."""
    network, shape = _load_network(name)
    x, sigma = _inputs(shape, batch, device)
    network = network.to(device)
    if variant.is_channels_last:
        network, x = network.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    keep_levels_on_device(network, device)
    if variant.is_compiled:
        deploy_network(network, device)

    # warm up, then the clock
    with _as_variant(variant, device):
        warm_up = [timed_call(lambda: network(x, sigma), device)[1].seconds for _ in range(_WARM_UP_CALLS)]
        timed = [timed_call(lambda: network(x, sigma), device) for _ in range(calls)]
        peak = measure_memory(lambda: network(x, sigma), device).allocated
    found = CallFinding(
        network=name,
        variant=variant.name,
        seconds=statistics.median(timing.seconds for _, timing in timed),
        first_seconds=warm_up[0],
        peak_bytes=peak,
    )
    return found, timed[-1][0].float().cpu()


@contextmanager
def _as_variant(variant: CallVariant, device: torch.device) -> Iterator[None]:
    with kernels_of(variant.mode, device), torch.autocast(device.type, torch.bfloat16, enabled=variant.is_bfloat16):
        yield


def _load_network(name: str) -> tuple[Network, DataShape]:
    """Return a network of the zoo with its weights, and the shape of its images."""
    card = load_zoo_card(name)
    shape = load_card(card.data.name).shape()
    network = build_network(load_network_card(card.network.name), shape)
    network.load_state_dict(read_weights(name))
    return network.eval().requires_grad_(False), shape


def _inputs(shape: DataShape, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, shape.channels, shape.resolution, shape.resolution, generator=generator)
    return x.to(device), torch.full((batch,), _LEVEL, dtype=torch.float64)


def main(words: list[str]) -> None:
    """Time the networks and append a line of JSON for each variant."""
    device, batch, calls, file, *networks = words
    fix_numerics(torch.device(device), 1)
    with Path(file).open("a", encoding="utf-8") as stream:
        for name in networks:
            for found in time_variants(name, torch.device(device), int(batch), int(calls)):
                stream.write(found.model_dump_json() + "\n")
                stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
