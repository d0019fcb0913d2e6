"""What holds a device: builds samplers from facts, keeps models between tasks, runs one task at a time."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.data.cards import DatasetCard
from harness.handles import resolve
from harness.metrics.extractors import Extractor, load_extractor
from harness.network_cards import NetworkCard, build_network
from harness.sampling.build import build_sampler
from harness.sampling.noise import ImageNoise
from harness.sampling.numerics import fix_numerics, state_dtype
from harness.sampling.sampler import Sampler
from harness.tasks import Event, runner
from methods.networks.base import Network
from methods.parts import BuiltDenoiser, Peers

_KEPT_MODELS = 4


class Worker:
    """One device and the models on it. Threads are fixed at one per CPU worker; float32 means IEEE float32."""

    def __init__(self, device: str = "cpu", threads: int = 1) -> None:
        self.device = torch.device(device)
        self._threads = threads
        self._models: OrderedDict[str, Network] = OrderedDict()
        self._extractors: dict[str, Extractor] = {}
        fix_numerics(self.device, threads)

    def run(self, kind: str, spec: dict[str, Any], inputs: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of one task; what it changes of the process is put back for the next one."""
        fix_numerics(self.device, self._threads)
        with _process_put_back():
            yield from runner(kind)(spec, inputs, self)

    def network(self, spec: Mapping[str, Any], inputs: Mapping[str, Any]) -> Network:
        """Return the network of a sampler's facts with its trained weights, in eval mode, kept between tasks."""
        key = f"{spec['weights_id']}/{spec['precision']}"
        if key not in self._models:
            card, data = NetworkCard(**spec["network"]), DatasetCard(**spec["dataset"]).shape()
            model = build_network(card, data)
            if model.trainable:
                weights = resolve(inputs[spec["weights_id"]]).tensors
                model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
            self._models[key] = model.to(self.device, state_dtype(spec["precision"])).eval().requires_grad_(False)
            while len(self._models) > _KEPT_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    def extractor(self, spec: Mapping[str, Any], inputs: Mapping[str, Any]) -> Extractor:
        """Return the feature network of an extractor's facts, kept between tasks."""
        key = f"{spec['name']}/{spec['sha256']}"
        if key not in self._extractors:
            self._extractors[key] = load_for(spec, inputs, self.device)
        return self._extractors[key]

    def sampler(
        self,
        spec: Mapping[str, Any],
        inputs: Mapping[str, Any],
        built: BuiltDenoiser | None = None,
        noise: ImageNoise | None = None,
        peers: Peers | None = None,
    ) -> Sampler:
        """Return the sampler that the facts of a trial describe, on this device; see `build_sampler`."""
        return build_sampler(spec, inputs, lambda: self.network(spec, inputs), self.device, built, noise, peers)


def load_for(spec: Mapping[str, Any], inputs: Mapping[str, Any], device: torch.device) -> Extractor:
    """Return the feature network of an extractor's facts; weights given by the user travel as bytes."""
    if "extractor_weights" not in inputs:
        return load_extractor(spec["name"], device=device.type)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / spec["file"]
        path.write_bytes(resolve(inputs["extractor_weights"]).tobytes())
        return load_extractor(spec["name"], path, device.type)


@contextmanager
def _process_put_back() -> Iterator[None]:
    """Put back folder, variables and torch's global settings: methods are other people's code."""
    folder, variables = Path.cwd(), dict(os.environ)
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        os.chdir(folder)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(False)
