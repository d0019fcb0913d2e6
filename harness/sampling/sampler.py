"""A sampler on a device: four parts, the noise of its images, and what ends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.sampling.call_counts import CallCounts
from harness.sampling.conditions import BatchClasses, Estimate, batch_classes
from harness.sampling.decoder import LatentDecoder
from harness.sampling.deployed import kernels_of
from harness.sampling.evaluator import Evaluator, WholeDenoiser
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import state_dtype
from harness.sampling.pixels import to_uint8
from harness.specs.sampler import ClassesSpec, Mode
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, DenoiserParams, Executor, Peers, Solver, StepNoise, Trace

_UNGUIDED = DenoiserParams()


@dataclass
class Sampler:
    """Four built parts and the images they make. States are float64 in precision float64, else float32.

    With `peers` all ranks must make the same calls; `run` then blocks on their messages.
    """

    denoiser: BuiltDenoiser
    sigmas: np.ndarray
    solver: Solver
    executor: Executor
    noise: ImageNoise
    device: torch.device
    precision: str = "float32"
    mode: Mode = "reproducible"
    """Whose kernels run the trajectory and the decoder."""
    peers: Peers | None = None
    initial_scale: float | None = None
    """Factor on unit noise at which trajectories begin; None: the highest level."""
    denoises_last: bool = False
    """Whether the network's estimate at the last level is the image."""
    network: Network | None = None
    """The trial's network, which gets the class of each row; needed with `classes`."""
    classes: ClassesSpec | None = None
    guidance: DenoiserParams = _UNGUIDED
    decoder: LatentDecoder | None = None
    """What makes pictures of final states that are latents; ranks above zero make none."""

    @property
    def state_dtype(self) -> torch.dtype:
        """Return the number format of the trajectory."""
        return state_dtype(self.precision)

    def initial_state(self, indices: Sequence[int]) -> Tensor:
        """Return the starting states [len(indices), channels, height, width] on the device: noise times a scale."""
        scale = float(self.sigmas[0]) if self.initial_scale is None else self.initial_scale
        return self.noise.draw_initial(indices).to(self.device, self.state_dtype) * scale

    @torch.inference_mode()
    def run(
        self,
        indices: Sequence[int],
        call_counts: CallCounts | None = None,
        initial_state: Tensor | None = None,
        iterates: list[Tensor] | None = None,
        factor: float = 1.0,
    ) -> Tensor:
        """Return final states [len(indices), channels, height, width] of the images with these global indices.

        A list `iterates` receives the states after each refinement of an iterative executor. `call_counts` grows by
        what ran. With `initial_state` the trajectories begin there. An audit multiplies all estimates by `factor`.
        """
        x = self.initial_state(indices) if initial_state is None else initial_state
        noise = self._step_noise(indices)
        call_counts = CallCounts() if call_counts is None else call_counts
        trace = Trace(peers=self.peers, iterates=iterates)
        classes = self._batch_classes(indices)
        evaluate = Evaluator(self.denoiser, call_counts, self.precision, factor, self.network, classes)
        with kernels_of(self.mode, self.device):
            states = self.executor.run(evaluate, self.solver, self.sigmas, x, noise, trace)
            if self.denoises_last and (self.peers is None or self.peers.rank == 0):
                states = evaluate(states, float(self.sigmas[-1]), self.last_step)
                trace.add_last(self.last_step)
        call_counts.executor_stats.add(trace, self._passes(classes))
        return states

    def _passes(self, classes: BatchClasses | None) -> list[int]:
        """Return how many evaluations of an image a call is at each step: two where it is guided."""
        if classes is None:
            return [1] * (len(self.sigmas) - 1)
        passes: list[int] = (1 + classes.is_guided(torch.from_numpy(self.sigmas[:-1])).long()).tolist()
        return passes

    @property
    def visited_levels(self) -> np.ndarray:
        """Return the levels of a row: its schedule's, or those at which an executor that owns its levels called."""
        own = getattr(self.executor, "visited_levels", None)
        return self.sigmas if own is None else own(self.sigmas)

    @property
    def owns_network(self) -> bool:
        """Return whether the executor is a user's pipeline, whose own network is not seen."""
        return getattr(self.executor, "owns_network", False)

    @property
    def last_step(self) -> int:
        """Return the step of the grid as which the estimate at the last level counts."""
        return len(self.sigmas) - 2

    def whole_estimate(self, network: Network, indices: Sequence[int]) -> Estimate:
        """Return D(x; sigma) of a whole network for the states of these images, with their classes and guidance."""
        classes = self._batch_classes(indices)
        if classes is None:
            return network
        evaluate = Evaluator(WholeDenoiser(network), CallCounts(), network=network, classes=classes)
        return lambda x, sigma: evaluate(x, sigma, 0)

    def finish(self, estimate: Estimate, states: Tensor) -> Tensor:
        """Return what a network's estimate makes of exact states at the last level [n, ...], as `run` ends."""
        if not self.denoises_last:
            return states
        return estimate(states, torch.full((len(states),), float(self.sigmas[-1]), dtype=torch.float64))

    def _batch_classes(self, indices: Sequence[int]) -> BatchClasses | None:
        if self.classes is None:
            return None
        assert self.network is not None
        return batch_classes(self.classes, self.guidance, self.network, self.noise.seed_set, indices)

    @torch.inference_mode()
    def call_as_in_run(self, index: int, calls: Sequence[Sequence[int]], call_counts: CallCounts) -> None:
        """Call the network as the executor does, once per entry of `calls`: one image, a row at each of its steps."""
        classes = self._batch_classes([index])
        evaluate = Evaluator(self.denoiser, call_counts, self.precision, network=self.network, classes=classes)
        noise = self._step_noise([index])
        x = self.initial_state([index])
        with kernels_of(self.mode, self.device):
            for steps in calls:
                self.executor.call_as_in_run(evaluate, self.solver, self.sigmas, x, steps, noise)

    def _step_noise(self, indices: Sequence[int]) -> StepNoise:
        def on_device(step: int) -> Tensor:
            drawn = self.noise.draw_step(indices, step)
            if self.device.type == "cuda":
                drawn = drawn.pin_memory()  # else the copy waits for the device
            return drawn.to(self.device, self.state_dtype, non_blocking=True)

        return on_device

    def images(self, indices: Sequence[int], call_counts: CallCounts | None = None) -> Tensor:
        """Return finished uint8 images [len(indices), channels, height, width] on the CPU.

        `call_counts` grows by what ran.
        """
        return to_uint8(self.decode(self.run(indices, call_counts))).cpu()

    def decode(self, states: Tensor) -> Tensor:
        """Return the pictures [n, channels, height, width], about in [-1, 1], of final states.

        States that are pictures are returned as they are, and so are those that have not the shape of a state.
        """
        if self.decoder is None or states.shape[1:] != self.noise.shape:
            return states
        with torch.inference_mode(), kernels_of(self.mode, self.device):
            return self.decoder(states)
