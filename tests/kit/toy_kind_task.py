"""A kind of task that is not ours, what is done: numbers are added one by one, each kept as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from harness.sampling.place import Place
from harness.task import CHECKPOINT, Checkpoint, Event, Progress, Result
from kit.toy_kind import SumOutput, SumSpec


def run(spec: SumSpec, inputs: Mapping[str, Any], place: Place) -> Iterator[Event]:
    kept = inputs.get(CHECKPOINT)
    first = 0 if kept is None else int(kept.metadata["step"])
    before = 0.0 if spec.before is None else float(inputs[spec.before].tensors["total"][0])
    total = before if kept is None else float(kept.tensors["total"][0])
    for step in range(first, len(spec.numbers)):
        total += spec.numbers[step]
        yield Progress(step + 1, len(spec.numbers), "numbers")
        yield Checkpoint({"total": np.array([total])}, {"step": step + 1})
    yield Result(SumOutput(total=total), {"total": np.array([total])})
