"""The suite of one claim, and the conditions under which its figure may be judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.claims.ledger import Claim
from harness.config.network_card import IMPORTED, network_names
from harness.config.settings import apply_settings
from harness.config.suite import Suite
from harness.config.toml_files import validated
from harness.fetching.lookup import offer_import
from harness.planning.plan import Plan
from harness.specs.reference import ReferenceSpec

_DECIDING = (
    "dataset", "network", "networks", "extractor", "reference", "n_images", "classes", "seed_sets", "trainings",
    "precision", "decoder", "baseline", "trials",
)  # fmt: skip
"""Entries of a suite that decide a figure."""


def claim_suite(claim: Claim, settings: list[str] | None = None) -> Suite:
    """Return the suite that measures a claim's one row, with `KEY=VALUE` settings applied."""
    assert claim.suite is not None
    given = claim.suite.model_dump(mode="json", exclude_none=True)
    parts = {key: given.pop(key) for key in ("denoiser", "schedule", "solver")}
    steps, tier = given.pop("steps"), given.pop("tier")
    raw: dict[str, Any] = given | {
        "name": f"reproduce-{claim.name}",
        "title": f"Claim {claim.name}: {claim.title}"[:200],
        "baseline": {**parts, "clock_steps": steps},
        "timing": {"tier": tier},
        "trials": [{**parts, "steps": steps}],
    }
    apply_settings(raw, settings or [])
    return validated(Suite, raw, f"claim {claim.name}", {one.partition("=")[0].strip(): one for one in settings or []})


def changed_conditions(claim: Claim, suite: Suite) -> list[str]:
    """Return a sentence on each deciding entry that is not the claim's, such as another N or reference."""
    wanted, found = claim_suite(claim).model_dump(mode="json"), suite.model_dump(mode="json")
    for one in (wanted, found):
        if one["reference"] is not None:
            one["reference"].pop("statistics")  # where the file lies decides nothing; what it is stands with it
    return [
        f"{key} is {_short(found[key])}, and the claim's is {_short(wanted[key])}"
        for key in _DECIDING
        if found[key] != wanted[key]
    ]


def missing_network(suite: Suite) -> list[str]:
    """Return a sentence where the network is neither shipped nor imported here."""
    name = str(suite.network)
    is_known = name in network_names() or (IMPORTED / name / f"{name}.toml").is_file() or name.endswith(".toml")
    if is_known:
        return []
    return [f'found no network "{name}"; import it with `oneclock import network`{offer_import(Path(name))}']


def unmet_conditions(claim: Claim, plan: Plan) -> list[str]:
    """Return a sentence on each condition that a plan does not meet: missing files, and pictures that are a copy."""
    copies = {task.spec.data.variant for task in plan.tasks.values() if isinstance(task.spec, ReferenceSpec)}
    return [
        *plan.absent,
        *(
            f'the pictures are the copy "{name}", and the figure is of the originals'
            for name in sorted(copies - {"", "original", "unpinned"})
        ),
    ]


def missing_device(claim: Claim, device_class: str) -> list[str]:
    """Return a sentence where a claim needs a GPU and this machine has none."""
    if claim.suite is None or not claim.needs_gpu or device_class.startswith("cuda"):
        return []
    return [f"no GPU here: the figure is of {claim.suite.n_images:,} images, as many as only a GPU makes in time"]


def _short(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
