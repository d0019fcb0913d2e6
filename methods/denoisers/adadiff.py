"""AdaDiff: blocks run until a small head on each of them finds the prediction certain enough, image by image.

Tang et al. 2024, "AdaDiff: Accelerating Diffusion Models through Step-Wise Adaptive Computation"
(ECCV, arXiv:2309.17074), sections 3.2 to 3.4. An image exits at the first block whose mean
uncertainty is below theta. The shared output head then reads its tokens. Rows that have exited are
removed from the batch, so they cost nothing more and an image's exit does not depend on the
others. The authors' code decides once per batch: `rule = "per-batch"`. Ours, so that heads know
their errors after a short tuning: where levels are drawn (methods/tuning/level_draws), the scale
of the tokens that heads read (adadiff_uncertainty), and that the layers' loss does not train
heads. The artifact's facts hold predicted and true uncertainty.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.denoisers.adadiff_calibration import calibration
from methods.denoisers.adadiff_gate import Gated, MeanDepth, NetworkWithHeads
from methods.denoisers.adadiff_uncertainty import Uncertainty, losses, token_scales
from methods.networks.base import Network, NetworkParams
from methods.networks.blocks import BlockNetwork, BlockParams
from methods.networks.preconditioning import Draws
from methods.parts import Artifact, BuiltDenoiser, Denoiser, DenoiserParams, Method, PrepareContext
from methods.tuning.level_coverage import RecordedDraws, usual_grid
from methods.tuning.level_draws import DrawnTuningParams, LevelDraws
from methods.tuning.tune import thawed, tune, untunable

_IMAGES, _BATCH = 256, 64  # for the mean depths


class AdaDiff(Denoiser):
    """Exit by uncertainty for U-ViT and DiT."""

    name = "adadiff"
    summary = "each image leaves at the block that is certain enough: AdaDiff (Tang 2024)"
    method_family = "AdaDiff"
    claim = (
        "The authors report a speed-up of more than 40 % with minimal loss of quality on CIFAR-10, CelebA, COCO and "
        "ImageNet."
    )
    families = ("uvit", "dit")
    prepares = True

    class Params(DenoiserParams, DrawnTuningParams):
        theta: float = Field(default=0.1, ge=0, le=1)
        """Mean uncertainty below which an image exits; 0 never, 1 after the first tested block."""
        rule: Literal["per-image", "per-batch", "mean-depth"] = "per-image"
        """mean-depth has no gate: all exit at the step's mean depth under theta's gate, as a control of gates."""
        first_test: int = Field(default=1, ge=1)
        """The first block after which an image may exit, counted from 1."""
        test_every: int = Field(default=1, ge=1)
        """Blocks from one test to the next; each test waits for the device once."""
        tune_steps: int = Field(default=200, ge=1)
        uncertainty_lr: float = Field(default=1e-2, gt=0)
        """Learning rate of the heads, whose tokens have root mean square 1 during training."""
        uncertainty_time: Literal["none", "concat"] = "none"
        """Whether the heads see the noise label: `concat` is the paper's text, `none` its code."""
        uncertainty_weight: float = Field(default=1.0, ge=0)
        layers_weight: float = Field(default=1.0, ge=0)
        layers_teach: Literal["network", "both"] = "network"
        """What the layers' loss trains. In the authors' code the heads too.

        Early layers, whose errors are large, then learn to be too uncertain; with few steps their
        certainty falls to 0 at every level.
        """

    @property
    def train_batch(self) -> int | None:  # type: ignore[override]
        return None if self._static else int(self.params.tune_batch)

    @property
    def sampling_only(self) -> tuple[str, ...]:  # type: ignore[override]
        return () if self._static else ("theta", "rule", "first_test", "test_every")

    @property
    def learns_from_images(self) -> bool:  # type: ignore[override]
        return not self._static

    @property
    def own_flow(self) -> bool:  # type: ignore[override]
        return bool(self.params.rule == "per-image")

    @property
    def prepares_for(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("steps", "schedule", "solver") if self._static else ()

    def refusal(self, parts: Mapping[str, Method], steps: int, network: NetworkParams) -> str | None:
        assert isinstance(network, BlockParams)
        return untunable(network)

    def begins_with(self) -> Method | None:
        return AdaDiff(**{**self.params.model_dump(), "rule": "per-image"}) if self._static else None

    def prepare(self, context: PrepareContext) -> Artifact:
        network = context.network
        assert isinstance(network, BlockNetwork)
        if self._static:
            return self._mean_depths(context)

        # network and heads, trained together
        tuned = NetworkWithHeads(thawed(network), self._heads(network, context.seed))

        def loss(images: Tensor, draws: Draws) -> Tensor:
            p = self.params
            found = losses(tuned.network, tuned.heads, images, draws, p.layers_teach, context.mean)
            # L_simple + L_u + L_UAL (section 3.3)
            return found.simple + p.uncertainty_weight * found.uncertainty + p.layers_weight * found.layers

        # tune
        drawn, grid = RecordedDraws(LevelDraws(tuned.network, context, self.params)), usual_grid(context)
        tuned.heads.scales = self._scales(network, context)
        _, last = tune(tuned, drawn, loss, context, self.params, {"heads.": self.params.uncertainty_lr})
        tuned.heads.fold_scales()

        # what the heads know, and where they learnt it
        found = calibration(tuned.network.eval(), tuned.heads, grid[:-1], context)
        facts = {"loss": last, "coverage": drawn.covered(grid), "calibration": found}
        return Artifact({name: value.detach() for name, value in tuned.state_dict().items()}, facts)

    def build(self, network: Network, artifact: Artifact | None = None) -> BuiltDenoiser:
        assert artifact is not None
        tuned = self._tuned(network, artifact)
        return MeanDepth(tuned, artifact.facts["depths"]) if self._static else Gated(tuned, self.params, self.tested)

    def tested(self, block: int) -> bool:
        """Return whether an image may exit after a block, counted from 1."""
        after = block - self.params.first_test
        return after >= 0 and after % self.params.test_every == 0

    def _heads(self, network: BlockNetwork, seed: int) -> Uncertainty:
        weight = next(network.parameters())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = Uncertainty(network, self.params.uncertainty_time == "concat")
        return heads.to(weight.device, weight.dtype)

    def _scales(self, network: BlockNetwork, context: PrepareContext) -> Tensor:
        """Return the root mean square of each block's tokens at the tuning's levels, before tuning: [blocks]."""
        images, generator = context.images(), torch.Generator().manual_seed(context.seed)
        clean = images[torch.arange(_BATCH) * len(images) // _BATCH]
        sigma, noise = LevelDraws(network, context, self.params).draws(tuple(clean.shape), generator)
        device = next(network.parameters()).device
        return token_scales(network, clean.to(device), Draws(sigma, noise.to(device)))

    @property
    def _static(self) -> bool:
        return bool(self.params.rule == "mean-depth")

    def _tuned(self, network: Network, artifact: Artifact) -> NetworkWithHeads:
        assert isinstance(network, BlockNetwork)
        tuned = NetworkWithHeads(copy.deepcopy(network), self._heads(network, 0))
        tuned.load_state_dict(dict(artifact.tensors))
        return tuned.requires_grad_(False).eval()

    def _mean_depths(self, context: PrepareContext) -> Artifact:
        """Return the tuned weights with the gate's mean exit depth of each step, halves rounded up."""
        assert context.base_artifact is not None
        gated = Gated(self._tuned(context.network, context.base_artifact), self.params, self.tested)
        units = context.sample(gated, range(_IMAGES), _BATCH).units

        # exits by step, as counts by depth
        exits = [
            {int(name.removeprefix("exit-")): count for name, count in units[step].items()} for step in sorted(units)
        ]
        means = [sum(depth * count for depth, count in step.items()) / sum(step.values()) for step in exits]
        return Artifact(context.base_artifact.tensors, {"depths": [int(mean + 0.5) for mean in means], "means": means})
