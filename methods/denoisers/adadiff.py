"""AdaDiff: blocks run until a small head on each of them finds the prediction certain enough, image by image.

Tang et al. 2024, "AdaDiff: Accelerating Diffusion Models through Step-Wise Adaptive Computation" (ECCV, arXiv
2309.17074), sections 3.2 to 3.4. An image leaves at the first block whose mean uncertainty is under theta; the shared
output head then reads its tokens. Rows that have left are compacted away, so they cost nothing more, and an
image decides as it would alone. The authors' code decides once per batch: `rule = "per-batch"`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from methods.networks.base import Network
from methods.networks.blocks import BlockNetwork, Run
from methods.networks.preconditioning import Draws
from methods.parts import Artifact, BuiltDenoiser, Denoiser, PrepareContext, Units
from methods.tuning import TuningParams, thawed, tune
from methods.uncertainty import Uncertainty, every_exit, losses

_LEVELS, _CALIBRATION_IMAGES = 32, 64


class AdaDiff(Denoiser):
    """Exit by uncertainty for U-ViT and DiT."""

    name = "adadiff"
    summary = "each image leaves at the block that is certain enough: AdaDiff (Tang 2024)"
    families = ("uvit", "dit")
    prepares = True

    class Params(TuningParams):
        theta: float = Field(default=0.1, ge=0, le=1)
        """Largest mean uncertainty at which an image leaves; 0 never, 1 after the first tested block."""
        rule: Literal["per-image", "per-batch", "mean-depth"] = "per-image"
        """mean-depth has no gate: all leave at theta's mean depth of that noise level, the control of every gate."""
        first_test: int = Field(default=1, ge=1)
        """The first block after which an image may leave, counted from 1."""
        test_every: int = Field(default=1, ge=1)
        """Tests only every so many blocks from the first; each test waits for the device once."""
        tune_steps: int = Field(default=300, ge=1)
        uncertainty_lr: float = Field(default=1e-3, gt=0)
        uncertainty_time: Literal["none", "concat"] = "none"
        """Whether the heads see the noise label: `concat` is the paper's text, `none` its code."""
        uncertainty_weight: float = Field(default=1.0, ge=0)
        layers_weight: float = Field(default=1.0, ge=0)

    sampling_only: ClassVar[tuple[str, ...]] = ("theta", "rule", "first_test", "test_every")

    def prepare(self, context: PrepareContext) -> Artifact:
        network = context.network
        assert isinstance(network, BlockNetwork)
        tuned = _Tuned(thawed(network), self._heads(network, context.seed))

        def loss(images: Tensor, draws: Draws) -> Tensor:
            found = losses(tuned.network, tuned.heads, images, draws)
            p = self.params
            return found.simple + p.uncertainty_weight * found.uncertainty + p.layers_weight * found.layers

        rates = {"heads.": self.params.uncertainty_lr}
        weights, last = tune(tuned, tuned.network, loss, context, self.params, rates)
        tuned.load_state_dict(weights)
        sigmas, uncertainties = _calibrated(tuned, context)
        measured = {"calibration.sigmas": sigmas, "calibration.uncertainties": uncertainties}
        return Artifact({**weights, **measured}, {"loss": last})

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert isinstance(network, BlockNetwork)
        assert artifact is not None
        tuned = _Tuned(copy.deepcopy(network), self._heads(network, 0))
        tuned.load_state_dict({k: v for k, v in artifact.tensors.items() if not k.startswith("calibration.")})
        tuned.requires_grad_(False).eval()
        if self.params.rule == "mean-depth":
            return _MeanDepth(tuned, self._mean_depths(artifact, network.n_blocks))
        return _Gated(tuned, self)

    def tested(self, block: int) -> bool:
        """Tell whether an image may leave after a block, counted from 1."""
        after = block - self.params.first_test
        return after >= 0 and after % self.params.test_every == 0

    def _heads(self, network: BlockNetwork, seed: int) -> Uncertainty:
        weight = next(network.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = Uncertainty(network, self.params.uncertainty_time == "concat")
        return heads.to(weight.device, weight.dtype)

    def _mean_depths(self, artifact: Artifact, blocks: int) -> tuple[Tensor, Tensor]:
        """Return calibration levels [levels] and the rounded mean exit depth of each, int64 [levels]."""
        uncertainties = artifact.tensors["calibration.uncertainties"]  # [levels, images, blocks - 1]
        tested = torch.tensor([self.tested(n) for n in range(1, blocks)])
        leaves = (uncertainties < self.params.theta) & tested
        depths = torch.where(leaves.any(2), leaves.int().argmax(2) + 1, blocks)
        return artifact.tensors["calibration.sigmas"], (depths.double().mean(1) + 0.5).floor().long()


class _Tuned(nn.Module):
    def __init__(self, network: BlockNetwork, heads: Uncertainty) -> None:
        super().__init__()
        self.network = network
        self.heads = heads

    def leave_at(self, depth: int, heads_run: Callable[[int], bool]) -> Run:
        """Return a raw network, told its class, whose rows all leave after `depth` blocks."""
        network = self.network

        def run(scaled: Tensor, label: Tensor, classes: Tensor | None) -> Tensor:
            h, condition = network.embed(scaled, label, classes)
            saved: list[Tensor] = []
            for i in range(depth):
                source = network.reads(i)
                h = network.block(i, h, condition, None if source is None else saved[source])
                saved.append(h)
                if i < network.n_blocks - 1 and heads_run(i + 1):
                    self.heads.mean(i, network.patch_tokens(h), label)
            return network.head(h, condition)

        return run


class _MeanDepth(BuiltDenoiser):
    """Everybody leaves at the depth of the noise level."""

    def __init__(self, tuned: _Tuned, depths: tuple[Tensor, Tensor]) -> None:
        self._tuned, self._network = tuned, tuned.network
        self._log_sigmas, self._depths = depths[0].double().log(), depths[1]

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        nearest = (sigma.cpu().double().log()[:, None] - self._log_sigmas).abs().argmin(1)
        depths = self._depths[nearest]
        met = depths.unique().tolist()
        if len(met) == 1:
            return self._network.denoised(self._raw(met[0]), x, sigma), {f"exit-{met[0]}": 1}
        out = torch.empty_like(x)
        for depth in met:
            rows = (depths == depth).to(x.device)
            out[rows] = self._network.denoised(self._raw(depth), x[rows], sigma[rows.to(sigma.device)])
        return out, {f"exit-{d}": (depths == d).long() for d in met}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        return {f"exit-{d}": partial(self._network.denoised, self._raw(d)) for d in self._depths.unique().tolist()}

    def _raw(self, depth: int) -> Callable[[Tensor, Tensor], Tensor]:
        return partial(self._network.guided, self._tuned.leave_at(depth, lambda block: False))


class _Gated(BuiltDenoiser):
    """Each row leaves when its own uncertainty says so; or, per batch, all rows when their mean does."""

    def __init__(self, tuned: _Tuned, method: AdaDiff) -> None:
        self._tuned = tuned
        self._network, self._heads = tuned.network, tuned.heads
        self._params, self._tested = method.params, method.tested

    def __call__(self, x: Tensor, sigma: Tensor, step: int) -> tuple[Tensor, Units]:
        depths: list[Tensor] = []

        def run(scaled: Tensor, label: Tensor, classes: Tensor | None) -> Tensor:
            if len(scaled) > len(x) and classes is not None and self._params.rule == "per-batch":
                halves = zip(scaled.chunk(2), label.chunk(2), classes.chunk(2), strict=True)
                return torch.cat([run(*half) for half in halves])
            image, depth = self._run(scaled, label, classes)
            depths.extend(depth.split(len(x)))  # a guided call has two halves, which leave independently
            return image

        denoised = self._network.denoised(partial(self._network.guided, run), x, sigma)
        n = self._network.n_blocks
        return denoised, {f"exit-{d}": sum((depth == d).long() for depth in depths) for d in range(1, n + 1)}

    def units(self) -> Mapping[str, Callable[[Tensor, Tensor], Any]]:
        """Return one pass per exit; a guided image counts two."""
        p, found = self._network.params, {}
        asked = p.classes if p.label is None else p.label
        for depth in range(1, self._network.n_blocks + 1):
            run = self._tuned.leave_at(depth, self._tested)

            def once(scaled: Tensor, label: Tensor, run: Run = run) -> Tensor:
                classes = label.new_full((len(label),), asked, dtype=torch.long) if p.classes else None
                return run(scaled, label, classes)

            found[f"exit-{depth}"] = partial(self._network.denoised, once)
        return found

    def _run(self, scaled: Tensor, label: Tensor, classes: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the raw output and the depth at which each row left, int64 [rows]."""
        network = self._network
        h, condition = network.embed(scaled, label, classes)
        out = torch.empty_like(h)
        rows = torch.arange(len(h), device=h.device)  # who is still here, in ascending order
        depth = torch.full_like(rows, network.n_blocks)
        read = {network.reads(i) for i in range(network.n_blocks)}
        saved: dict[int, tuple[Tensor, Tensor]] = {}
        for i in range(network.n_blocks):
            skip = self._skip(i, saved, rows)
            here = None if condition is None else (condition if len(rows) == len(out) else condition[rows])
            h = network.block(i, h, here, skip)
            if i in read:
                saved[i] = h, rows
            if i == network.n_blocks - 1 or not self._tested(i + 1):
                continue
            uncertain = self._heads.mean(i, network.patch_tokens(h), label if len(rows) == len(out) else label[rows])
            if self._params.rule == "per-batch":
                uncertain = uncertain.mean().expand_as(uncertain)
            stay = uncertain >= self._params.theta
            staying = int(stay.sum())  # the one wait for the device
            if staying < len(rows):
                order = stay.argsort(descending=True, stable=True)
                keep, leave = order[:staying], order[staying:]
                out[rows[leave]] = h[leave].to(out.dtype)  # under autocast blocks answer in a shorter format
                depth[rows[leave]] = i + 1
                h, rows = h[keep], rows[keep]
            if staying == 0:
                break
        out[rows] = h.to(out.dtype)
        return network.head(out, condition), depth

    def _skip(self, i: int, saved: dict[int, tuple[Tensor, Tensor]], rows: Tensor) -> Tensor | None:
        """Return what block i reads of an earlier block, for the rows still here; gathered once, on use."""
        source = self._network.reads(i)
        if source is None:
            return None
        tokens, then = saved.pop(source)
        return tokens if len(then) == len(rows) else tokens[torch.searchsorted(then, rows)]


@torch.no_grad()
def _calibrated(tuned: _Tuned, context: PrepareContext) -> tuple[Tensor, Tensor]:
    """Return noise levels [levels] and the mean uncertainty of noised training images at each, after every block but
    the last [levels, images, blocks - 1]."""
    weight = next(tuned.parameters())
    clean = context.images()[:_CALIBRATION_IMAGES].to(weight)
    noise = torch.stack([context.noise(i) for i in range(len(clean))]).to(weight)
    ends = np.array([context.sigma_min, context.sigma_max]) ** (1 / 7)
    sigmas = torch.from_numpy(np.linspace(ends[0], ends[1], _LEVELS) ** 7)
    found = []
    for sigma in sigmas:
        asked = tuned.network.preconditioning.regression(
            clean, Draws(sigma.repeat(len(clean)).to(clean), noise), weight.dtype
        )
        _, certainties = every_exit(tuned.network, tuned.heads, asked.scaled, asked.label)
        found.append(1 - certainties[:-1].flatten(2).mean(2).T)
    return sigmas, torch.stack(found)
