"""The small suites that a method is run in: a trained network with the usual sampler, and an exact network."""

from __future__ import annotations

from typing import Any

from harness.check.built_parts import part_entry
from harness.check.candidate import EXACT_DATASET, EXACT_NETWORK, Candidate, usual_parts
from harness.config.suite import Suite
from harness.config.toml_files import validated
from harness.config.zoo_card import PREFIX
from methods.parts import PARTS

TRAINED_IMAGES, EXACT_IMAGES = 1200, 400
"""Images of a trial: enough for a FID on 300 features, and for a rate of copies."""
TRAINED_TIER, EXACT_TIER = "quick", "smoke"
"""Tiers of timing: that of the trained network is one whose rows rank."""
_BATCH = 50
_COMPARED_IMAGES, _SOLUTION_STEPS = 64, 64


def trained_suite(candidate: Candidate) -> Suite:
    """Return a suite on the candidate's network of the zoo: the usual sampler, then the method."""
    card = candidate.zoo_card
    return _make_suite(
        candidate,
        name=f"check-{candidate.dataset}",
        title=f"{candidate.method.name} on {candidate.network}",
        dataset=candidate.dataset,
        network=candidate.network,
        extractor=card.judged.extractor.partition(":")[0],
        n_images=TRAINED_IMAGES,
        timing={"tier": TRAINED_TIER},
        networks={candidate.network: {"weights": f"{PREFIX}{card.name}"}},
    )


def exact_suite(candidate: Candidate) -> Suite:
    """Return a suite on data whose denoiser is known; refused where `exact_refusal` says why."""
    return _make_suite(
        candidate,
        name="check-exact",
        title=f"{candidate.method.name} on exact data",
        dataset=EXACT_DATASET,
        network=EXACT_NETWORK,
        extractor="pixels",
        n_images=EXACT_IMAGES,
        timing={"tier": EXACT_TIER},
    )


def _make_suite(candidate: Candidate, **tables: Any) -> Suite:
    own = {"steps": candidate.steps, **{part: part_entry(candidate.parts[part]) for part in PARTS}}
    usual = {"steps": candidate.steps, **usual_parts()}
    return validated(
        Suite,
        {
            **tables,
            "batch": _BATCH,
            "baseline": {"clock_steps": candidate.steps},
            "truncation": {"images": _COMPARED_IMAGES, "steps": _SOLUTION_STEPS},
            "fidelity": {"measure": False},
            "trials": [usual] if _is_usual(candidate) else [usual, own],
        },
        "check",
    )


def _is_usual(candidate: Candidate) -> bool:
    """Tell whether the method is the baseline itself, which a suite may list once only."""
    names = {part: method.name for part, method in candidate.parts.items()}
    return names == usual_parts() and all(len(part_entry(candidate.parts[part])) == 1 for part in PARTS)
