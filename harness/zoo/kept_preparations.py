"""Keeps finished preparations of a run in the zoo, so that suites name them in place of making them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from harness.config.stored_preparation import MadeOn, StoredPreparation, stated, write_preparation
from harness.config.zoo_card import PREFIX, load_zoo_card, zoo_entry_name
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.planning.trial import Trial
from harness.sources import library_versions
from harness.specs.prepare import PrepareOutput, PrepareSpec
from harness.specs.sampler import PartSpec
from harness.storage.blobs import Blobs
from harness.task import Task
from harness.tasks.stored_preparation import FACTS


def keep_preparations(plan: Plan, name: str, part: str, command: str, results: Path) -> list[Path]:
    """Store the preparation of one part of the planned trials, each training's under its own name; return the folders.

    UsageError, before anything is written, for trials of several preparations, for one that is not finished in the
    results folder, and for a network that is not of the zoo.
    """
    blobs, found = Blobs(results / "zoo"), dict[int, tuple[Trial, Task]]()
    for planned in plan.trials:
        trial = planned.trial
        task = plan.tasks.get(trial.artifact_ids.get(part, ""))
        if task is None or not isinstance(task.spec, PrepareSpec):
            raise UsageError(f"{trial.short} prepares no {part} here; choose trials that do by --only and --part")
        if found.setdefault(trial.training, (trial, task))[1].id != task.id:
            other = found[trial.training][0]
            raise UsageError(
                f"{other.short} and {trial.short} have two preparations; expected one a training, so narrow --only"
            )

    made = [_stored(trial, task, name, command, blobs) for trial, task in found.values()]
    return [write_preparation(card, arrays) for card, arrays in made]


def _stored(trial: Trial, task: Task, name: str, command: str, blobs: Blobs) -> tuple[StoredPreparation, bytes]:
    """Return card and arrays of a finished preparation."""
    spec, weights = task.spec, trial.network.weights or ""
    assert isinstance(spec, PrepareSpec)
    if not weights.startswith(PREFIX):
        raise UsageError(
            f"{trial.network.name} has no weights of the zoo, so nobody else could use its preparation; train it with "
            "`oneclock train DATASET NETWORK --into zoo` first"
        )
    blob = blobs.get(task.id)
    if blob is None:
        raise UsageError(f"{task.label} is not finished in {blobs.folder}; run the suite first")

    output = PrepareOutput.model_validate(blob[1])
    arrays = encode_preparation(blob[0], output.artifact)
    card = StoredPreparation(
        name=zoo_entry_name(name, trial.training),
        sha256=hashlib.sha256(arrays).hexdigest(),
        part=spec.part,
        method=spec.method.name,
        params=stated(spec.method.params),
        training=spec.seed,
        on=MadeOn(
            network=trial.network.name,
            weights_sha256=load_zoo_card(weights.removeprefix(PREFIX)).sha256,
            data=spec.model.data.name,
            training_pixels=spec.model.data.training_pixels,
        ),
        # the trial that it was made for, and what it cost
        steps=spec.steps,
        schedule=_of_card(spec.schedule),
        solver=_of_card(spec.solver),
        seconds=output.price.seconds,
        flops=output.price.flops,
        device=spec.device,
        command=command,
        libraries=library_versions(spec.entry, spec.method.module),
    )
    return card, arrays


def _of_card(part: PartSpec | None) -> PartSpec | None:
    """Return a part as cards hold it: the id of its own artifact is another in every project."""
    return None if part is None else part.model_copy(update={"params": stated(part.params), "artifact_id": None})


def encode_preparation(tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> bytes:
    """Return a safetensors file of a preparation's arrays, float32 in half precision, with its facts in the header."""
    too_large = [name for name, value in tensors.items() if np.abs(value).max(initial=0.0) > np.finfo(np.float16).max]
    if too_large:
        raise UsageError(f"{too_large[0]} holds values above 65,504, which half precision does not; keep another one")
    halved = {
        name: np.ascontiguousarray(value.astype(np.float16) if value.dtype == np.float32 else value)
        for name, value in tensors.items()
    }
    return save(halved, {FACTS: json.dumps(facts, sort_keys=True)})
