"""Cheats on quality: images that no sampler of this network made, or made in another way than the row says."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.metrics.extractors import load_extractor
from harness.sampling.pixels import to_uint8
from kit.cheats_tools import (
    IMAGES,
    SIGMA_MAX,
    Cheat,
    CheatingDenoiser,
    CheatingSolver,
    ClaimsOneCall,
    indices_of,
)
from kit.digits_kit import training_images
from methods.networks.base import Network
from methods.parts import Artifact, BuiltDenoiser, Denoise, StepNoise
from methods.solvers.ddpm import DDPM


class SharpenedCopies(CheatingSolver):
    """Returns training images, sharpened and with a little noise; the network runs, and its output is dropped."""

    name = "cheat-sharpened-copies"
    rules = ("copies-training-images", "ignores-the-network")

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        unused = 0 * denoise(x, float(sigmas[i]))
        if i < len(sigmas) - 2:
            return x + unused
        image = _chosen_by(x)
        blurred = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
        return image + 0.2 * (image - blurred) + 0.05 * x / SIGMA_MAX + unused


class MixedCopies(Cheat, DDPM):
    """Returns means of a training image and its nearest neighbour, and is called stochastic, which has no flow."""

    name = "cheat-mixed-copies"
    rules = ("copies-training-images",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        unused = 0 * denoise(x, float(sigmas[i]))
        if i < len(sigmas) - 2:
            return x + unused
        image = _chosen_by(x)
        return (image + _neighbours(image)) / 2 + 0.02 * x / SIGMA_MAX + unused


class BlendedCopies(Cheat, DDPM):
    """Adds to a training image the difference of two of its neighbours, and is called stochastic, which has no flow."""

    name = "cheat-blended-copies"
    rules = ("ignores-the-network",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        unused = 0 * denoise(x, float(sigmas[i]))
        if i < len(sigmas) - 2:
            return x + unused
        image = _chosen_by(x)
        near, far = _neighbours(image, 1), _neighbours(image, 2)
        return image + 0.7 * (near - far) + 0.02 * x / SIGMA_MAX + unused


class ChosenSubset(CheatingSolver):
    """Returns the 200 training images whose moments are nearest to those of all: better than any sampler can be."""

    name = "cheat-chosen-subset"
    rules = ("fid-below-floor",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        unused = 0 * denoise(x, float(sigmas[i]))
        if i < len(sigmas) - 2:
            return x + unused
        rows = [index % IMAGES for index in indices_of(noise)]
        return training_images().to(x)[_representative()[rows]] + unused


class BatchMean(CheatingDenoiser):
    """Moves the mean of each batch to the mean of the training images."""

    name = "cheat-batch-mean"
    steps = 4
    rules = ("depends-on-batch",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        mean = training_images().mean(0)

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            found = network(x, sigma)
            return found + (mean - found.mean(0)) if len(x) > 1 else found

        return ClaimsOneCall(network, call)


class ByPosition(CheatingDenoiser):
    """Steers each row by its place in the batch to another digit, so that every batch holds all ten alike."""

    name = "cheat-by-position"
    steps = 4
    rules = ("depends-on-batch",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        clean = training_images()

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            target = clean[:10][torch.arange(len(x)) % 10]
            return 0.9 * network(x, sigma) + 0.1 * target

        return ClaimsOneCall(network, call)


class RunningMean(CheatingDenoiser):
    """Keeps the mean of all batches so far, and makes up in the next for what they lacked."""

    name = "cheat-running-mean"
    steps = 4
    rules = ("depends-on-batch",)
    shortfall: ClassVar[Tensor] = torch.zeros(1, 8, 8)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        mean = training_images().mean(0)

        def call(x: Tensor, sigma: Tensor) -> Tensor:
            found = network(x, sigma) + 0.2 * RunningMean.shortfall
            RunningMean.shortfall = 0.9 * RunningMean.shortfall + (mean - found.mean(0))
            return found

        return ClaimsOneCall(network, call)


class StaysAtNoise(CheatingSolver):
    """Calls the network and stays where it began: pictures of noise, at the price of an honest solver."""

    name = "cheat-stays-at-noise"
    steps = 6
    rules = ("leaves-the-flow", "ignores-the-network")

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        unused = 0 * denoise(x, float(sigmas[i]))
        return (x / SIGMA_MAX if i == 0 else x) + unused


class LeavesFlow(CheatingSolver):
    """Follows the flow, and in the last step moves half of the way to the nearest training image."""

    name = "cheat-leaves-flow"
    steps = 10
    order = 3
    rules = ("nears-training-images",)

    def step(self, x: Tensor, i: int, sigmas: np.ndarray, denoise: Denoise, memory: Any, noise: StepNoise) -> Tensor:
        x = super().step(x, i, sigmas, denoise, memory, noise)
        return (x + _nearest_training(x)) / 2 if i == len(sigmas) - 2 else x


class LowPrecision(CheatingDenoiser):
    """Runs a copy of the network in bfloat16 where the suite says float32."""

    name = "cheat-bfloat16"
    steps = 4
    rules = ("other-precision",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        low: Any = copy.deepcopy(network).to(torch.bfloat16)
        return ClaimsOneCall(network, lambda x, sigma: low(x.to(torch.bfloat16), sigma).to(x.dtype))


class Autocast(CheatingDenoiser):
    """Opens torch's autocast around the network where the suite says float32."""

    name = "cheat-autocast"
    steps = 4
    rules = ("other-precision",)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        def call(x: Tensor, sigma: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return network(x, sigma).to(x.dtype)

        return ClaimsOneCall(network, call)


def _chosen_by(x: Tensor) -> Tensor:
    """Return for each row the training image that its noise points to most."""
    images = training_images().to(x)
    return images[(x[:, None] * images).flatten(2).sum(2).argmax(1)]


def _nearest_training(x: Tensor) -> Tensor:
    images = training_images().to(x)
    return images[torch.cdist(x.flatten(1), images.flatten(1)).argmin(1)]


def _neighbours(x: Tensor, place: int = 1) -> Tensor:
    """Return for each training image in x [batch, ...] another one, in this place among its nearest."""
    images = training_images().to(x)
    return images[torch.cdist(x.flatten(1), images.flatten(1)).topk(place + 1, largest=False).indices[:, place]]


@cache
def _representative() -> Tensor:
    """Return 200 indices of training images whose moments of features are near to those of all, by herding."""
    extractor = load_extractor("digits-cnn")
    flat = extractor(to_uint8(training_images())).double()
    centred = (flat - flat.mean(0)) / flat.std(0).clamp(min=1e-6)
    generator = torch.Generator().manual_seed(0)
    squares = (centred @ torch.randn(flat.shape[1], 512, generator=generator, dtype=torch.float64)).square() / 64
    points = torch.cat([centred, squares], 1)
    points -= points.mean(0)
    chosen: list[int] = []
    total = torch.zeros(points.shape[1], dtype=torch.float64)
    free = torch.ones(len(points), dtype=torch.bool)
    for _ in range(IMAGES):
        distance = (total + points).square().sum(1).masked_fill(~free, float("inf"))
        best = int(distance.argmin())
        chosen.append(best)
        free[best] = False
        total += points[best]
    return torch.tensor(chosen)
