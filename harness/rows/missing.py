"""Why cells of a wrapped row are empty: what its code keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.rows.rules import NOT_PAIRED, UNSEEN_NETWORK, RuleCheck

if TYPE_CHECKING:
    from harness.schema import Row

_PAIRED = ("fid_difference", "fid_difference_low", "fid_difference_high")
_OWN_PRICE = ("prepare_seconds", "prepare_flops")


def missing_columns(row: Mapping[str, Any], checks: Sequence[RuleCheck]) -> Row:
    """Return the columns that a wrapped row must leave empty, and `not_measured` with the reasons added.

    Nothing for a row whose solver is known.
    """
    if row["solver"] != "own":
        return {}
    empty: Row = {}
    if _is_unpaired(checks):
        empty |= dict.fromkeys(_PAIRED)
    if row["denoiser"] == "own":
        empty |= dict.fromkeys(_OWN_PRICE)

    said = row.get("not_measured")
    return {**empty, "not_measured": "; ".join([*([said] if said else []), *_reasons(row, checks)])}


def _reasons(row: Mapping[str, Any], checks: Sequence[RuleCheck]) -> Iterator[str]:
    if row["denoiser"] == "own":
        yield (
            "no NFE, critical path, noise levels, truncation error, FLOP coverage or share of time in the network: "
            f"{UNSEEN_NETWORK}"
        )
        yield "no price of preparation: how the pipeline's network was trained is not known"
    elif row.get("truncation_error") is None:
        yield "no truncation error: a wrapped sampler's levels and noise are its own, so it need not follow the flow"
    if _is_unpaired(checks):
        yield f"no difference of FID to the baseline: {NOT_PAIRED}"


def _is_unpaired(checks: Sequence[RuleCheck]) -> bool:
    """Tell whether images did not follow from the noise that was given."""
    return any(NOT_PAIRED in one.finding.found for one in checks)
