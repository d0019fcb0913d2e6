"""Checks that a suite's timing fits its parts, its precision and the devices; each refuses in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.config.suite import Suite
from harness.errors import UsageError
from harness.planning.trial import Trial
from harness.specs.base import Spec
from harness.specs.sampler import Mode
from harness.specs.time import TimeSpec
from methods.parts import Method


def check_mode(mode: Mode, parts: Mapping[str, Method]) -> None:
    """Raise UsageError for a part that sets on its own what the mode sets for both sides of a comparison."""
    for method in parts.values():
        if getattr(method.params, "compiled", False) and mode == "reproducible":
            raise UsageError(
                f'{method.part} "{method.name}" has compiled = true where timing.mode is "reproducible", so that it '
                'would be compiled and its baseline not; set timing.mode = "deployed", which compiles both, or leave '
                "it out"
            )
    if mode == "deployed" and parts["executor"].name == "wrapped-pipeline":
        raise UsageError(
            'timing.mode is "deployed", which compiles the networks of a suite, and a wrapped pipeline owns its '
            'network; expected "reproducible", under which a pipeline may still compile its own'
        )


def has_neighbours(spec: Spec) -> bool:
    """Tell whether a task times a trial while other devices of its node work."""
    return isinstance(spec, TimeSpec) and spec.alone == "device"


def check_precision(suite: Suite, trials: Iterable[Trial]) -> None:
    """Raise UsageError for float64 under deployed kernels, which are there to be fast."""
    if suite.timing.mode == "deployed" and "float64" in {suite.precision, *(trial.precision for trial in trials)}:
        raise UsageError(
            f'{suite.where}: precision is "float64" and timing.mode is "deployed", whose kernels have no fast float64; '
            "expected float32, bfloat16 or float16, or the mode reproducible"
        )


def check_alone(suite: Suite, device_kind: str) -> None:
    """Raise UsageError for timings with neighbours on CPUs, whose cores share caches and memory.

    Those of the tier "smoke" may have some: they rank with nothing.
    """
    if suite.timing.alone == "device" and device_kind == "cpu" and suite.timing.tier != "smoke":
        raise UsageError(
            f'{suite.where}: timing.alone is "device", and the cores of a CPU share caches and memory with their '
            'neighbours; expected "node" there, or a run on GPUs, or the tier "smoke"'
        )
