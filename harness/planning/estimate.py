"""Estimated cost of a trial: one network evaluation timed here, times their number."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from harness.measure.device import device_name
from harness.planning.baseline import declared_evaluations_per_step
from harness.planning.plan import Plan, PlannedTrial
from harness.sampling.network import build_network
from harness.sampling.numerics import fix_numerics
from harness.specs.rules.timing import TIERS
from harness.storage.blobs import Blobs

_BACKWARD = 3.0  # evaluations per training step: one forward, and twice that for the gradients


class Estimator:
    """Estimates device-seconds.

    Times each (data set, network) once, on this machine's first device.
    """

    def __init__(self, plan: Plan) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        fix_numerics(self._device, 1)
        self.device = device_name(self._device)
        self.batch = min(plan.suite.batch, 8)
        self._tier = TIERS[plan.suite.timing.tier]
        self._timing_batch = plan.suite.timing.batch or plan.suite.batch
        self._seconds: dict[tuple[str, str], float] = {}

    def estimate_seconds(self, planned: PlannedTrial) -> float:
        """Return the device-seconds of sampling and timing one trial; training is not included."""
        trial = planned.trial
        one = self._seconds_per_evaluation(planned) * trial.steps * declared_evaluations_per_step(trial)
        sampling = trial.n_images * one
        if planned.row.timed_sample_ids:
            return sampling  # another training is timed
        rounds = 2 * self._tier.rounds * (self._timing_batch + 1) * one
        return sampling + max(rounds, self._tier.seconds)

    def estimate_training_seconds(self, todo: list[PlannedTrial], results: Path) -> float:
        """Return the device-seconds of trainings that the trials need.

        Given and kept weights cost none.
        """
        zoo = results / "zoo"
        total = 0.0
        for planned in {p.trial.weights_id: p for p in todo if p.trial.weights_id is not None}.values():
            net, kept = planned.trial.network, zoo.is_dir() and Blobs(zoo).has(str(planned.trial.weights_id))
            if net.weights or net.train is None or kept:
                continue
            total += net.train.steps * net.train.batch * _BACKWARD * self._seconds_per_evaluation(planned)
        return total

    @torch.inference_mode()
    def _seconds_per_evaluation(self, planned: PlannedTrial) -> float:
        """Return the seconds per image of one network evaluation, with random weights."""
        card, net = planned.trial.dataset, planned.trial.network
        key = (card.name, net.name)
        if key not in self._seconds:
            # inputs of a small batch
            data = card.shape()
            network = build_network(net, data).to(self._device).eval()
            x = torch.zeros(self.batch, data.channels, data.resolution, data.resolution, device=self._device)
            sigma = torch.ones(self.batch, dtype=torch.float64, device=self._device)

            # one call to warm up, one on the clock
            network(x, sigma)
            began = time.perf_counter()
            network(x, sigma)
            if self._device.type == "cuda":
                torch.cuda.synchronize()
            self._seconds[key] = (time.perf_counter() - began) / self.batch
        return self._seconds[key]
