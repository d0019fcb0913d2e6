"""What the tests of `oneclock check` share: candidates of a method, and a small suite that a method ran in."""

from __future__ import annotations

from pathlib import Path

from harness.check.candidate import Candidate, usual_parts
from harness.check.finished_trial import FinishedTrial, run_suite
from harness.config.suite import Suite
from harness.config.zoo_card import load_zoo_card
from harness.registry import registry
from methods.parts import Method


def candidate_of(method: Method, steps: int = 4) -> Candidate:
    """Return a candidate with the usual other parts on a small network of the zoo."""
    parts = {part: registry().make(part, name, {}) for part, name in usual_parts().items()}
    return Candidate(method.part, {**parts, method.part: method}, load_zoo_card("unet-8"), steps)


def run_small(part: str, name: str, folder: Path, steps: int = 3, **others: str) -> FinishedTrial:
    """Return the trial of a method in a suite of 20 images of a mixture with an exact network, in this process."""
    suite = Suite.model_validate(
        {
            "name": "small",
            "title": "small",
            "dataset": "gaussian-mixture",
            "network": "analytic",
            "extractor": "pixels",
            "n_images": 20,
            "batch": 5,
            "baseline": {"clock_steps": steps},
            "timing": {"tier": "smoke"},
            "trials": [{"steps": steps}, {part: name, "steps": steps, **others}],
        }
    )
    return run_suite(suite, folder)
