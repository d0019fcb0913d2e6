"""The verb `reproduce`: measures the row of a claim, and compares it with what was published."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import api
from harness.claims.claim_suite import (
    changed_conditions,
    claim_suite,
    missing_device,
    missing_network,
    unmet_conditions,
)
from harness.claims.ledger import Claim, choose_claims, load_claims
from harness.claims.verdict import NO_VERDICT, ClaimVerdict, judge_claim
from harness.config.suite import Suite
from harness.report.facts import describe_conditions
from harness.runs import workplace
from harness.storage.claim_records import write_claim_record


def list_claims(ledger: Path | None = None) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, figure, setting and title of every claim, with why one cannot be measured here."""
    for claim in load_claims(ledger).values():
        images = "" if claim.suite is None else f", N {claim.suite.n_images:,}"
        nfe = "NFE not stated" if claim.nfe is None else f"NFE {claim.nfe}"
        why = f"; not measured here: {claim.unmeasured}" if claim.unmeasured else ""
        yield (
            claim.name,
            f"FID {claim.figure:.{claim.decimals}f}",
            f"{nfe}{images}",
            f"{claim.title}{why}",
        )


def reproduce_claims(
    name: str,
    ledger: Path | None = None,
    settings: list[str] | None = None,
    results: Path = Path("results"),
    in_process: bool = False,
    only_plan: bool = False,
) -> Iterator[str]:
    """Measure a claim, or all of a group, and yield lines: paper, measured, interval, verdict.

    Blocks while rows are measured. Where files or a GPU are missing nothing is run, and each is named.
    """
    for claim in choose_claims(name, ledger):
        yield f"{claim.name}: {claim.title}"
        yield f"  paper      FID {claim.figure:.{claim.decimals}f}{_at_nfe(claim)} ({claim.source})"
        yield from _reproduce_one(claim, settings, results, in_process, only_plan)


def _at_nfe(claim: Claim) -> str:
    return "" if claim.nfe is None else f" at NFE {claim.nfe}"


def _reproduce_one(
    claim: Claim, settings: list[str] | None, results: Path, in_process: bool, only_plan: bool
) -> Iterator[str]:
    if claim.suite is None:
        yield f"  {NO_VERDICT}: {claim.unmeasured}"
        return

    # what can be said before anything starts
    suite = claim_suite(claim, settings)
    changed, missing = changed_conditions(claim, suite), missing_network(suite)
    if not missing:
        plan = api.plan(suite)
        missing = unmet_conditions(claim, plan)
        yield from (f"  row        {planned.trial.short}, N {suite.n_images:,}" for planned in plan.trials)
    missing += missing_device(claim, workplace.this_device()[0])

    if missing:
        yield from (f"  not met    {sentence}" for sentence in (*missing, *changed))
        yield f"  {NO_VERDICT}: conditions are not met, so nothing was run"
        return
    if only_plan:
        yield from (f"  not met    {sentence}" for sentence in changed)
        return
    yield from _measure(claim, suite, changed, results, in_process)


def _measure(claim: Claim, suite: Suite, changed: list[str], results: Path, in_process: bool) -> Iterator[str]:
    """Run the row, keep what was found, rebuild the report with it, and yield what was found."""
    tables = api.run(suite, results=results, in_process=in_process)
    row = tables.trials[tables.trials["trial_id"].isin(tables.planned)].iloc[-1]
    unmet = list(changed)
    if row["verdict"] != "VALID":
        unmet.append(f"the row is {row['verdict'] or 'failed'}: {row['reasons'] or 'no reason was recorded'}")
    if claim.nfe is not None and not math.isclose(float(row["nfe"]), claim.nfe):
        unmet.append(f"NFE is {row['nfe']:g}, and the claim's is {claim.nfe}")

    figures = tuple(float(row[key]) for key in ("fid", "fid_low", "fid_high"))
    judged = judge_claim(claim, *figures)
    verdict = NO_VERDICT if unmet else judged.verdict
    write_claim_record(results, claim.name, _record(claim, suite, row, judged, verdict, unmet))
    api.report(results / suite.name)

    fid, low, high = figures
    yield f"  measured   FID {fid:.4g} [{low:.4g}, {high:.4g}] at NFE {row['nfe']:g}, N {suite.n_images:,}"
    yield f"  expected   the published figure in [{judged.low:.4g}, {judged.high:.4g}] ({claim.protocol}, rounded)"
    yield from (f"  not met    {sentence}" for sentence in unmet)
    yield f"  {verdict}"


def _record(
    claim: Claim, suite: Suite, row: Any, judged: ClaimVerdict, verdict: str, unmet: list[str]
) -> dict[str, Any]:
    """Return what reports show of a claim; figures that are not finite are left empty."""
    numbers = {"fid": row["fid"], "fid_low": row["fid_low"], "fid_high": row["fid_high"],
               "expected_low": judged.low, "expected_high": judged.high}  # fmt: skip
    return {
        "title": claim.title,
        "source": claim.source,
        "figure": f"{claim.figure:.{claim.decimals}f}",
        "protocol": claim.protocol,
        "nfe": claim.nfe,
        "n_images": suite.n_images,
        # where it was measured
        "suite": suite.name,
        "dataset": row["dataset"],
        "network": row["network"],
        "method": row["method"],
        "steps": int(row["steps"]),
        "trial_id": row["trial_id"],
        "conditions": describe_conditions(row),
        # what was found
        "verdict": verdict,
        "unmet": unmet,
        **{key: float(value) if math.isfinite(value) else None for key, value in numbers.items()},
    }
