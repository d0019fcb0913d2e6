"""What methods say of themselves reaches the report, and a claim stands where a paper makes one."""

from __future__ import annotations

import pytest

from harness.planning.method_facts import collect_facts
from harness.registry import registry
from harness.report.facts import NETWORK

FACTS = {(one.part, one.name): one for one in collect_facts()}
FAMILIES = {
    "solver", "schedule", "early exit", "AdaDiff", "DDSM", "Missing U", "few-step", "parallel in time", "feature cache",
}  # fmt: skip
CLAIMS = [
    ("denoiser", "adadiff", "AdaDiff", "40 %"),
    ("denoiser", "early-exit", "early exit", "34.6 %"),
    ("denoiser", "ddsm", "DDSM", "49 %"),
    ("denoiser", "missing-u", "Missing U", "30 %"),
    (NETWORK, "cunet-8", "Missing U", "30 %"),
    ("denoiser", "few-step", "few-step", "no figure"),
    ("schedule", "few-step", "few-step", "no figure"),
    ("executor", "srds", "parallel in time", "4.3 times"),
    ("executor", "paradigms", "parallel in time", "3.1 times"),
]


@pytest.mark.parametrize(("part", "name", "family", "figure"), CLAIMS)
def test_a_claim_has_the_figure_of_its_paper(part: str, name: str, family: str, figure: str) -> None:
    one = FACTS[part, name]
    assert one.family == family
    assert figure in one.claim
    assert one.claim.endswith(".")
    assert one.claim.count(". ") == 0  # one sentence


def test_every_method_has_its_facts_and_a_known_family() -> None:
    ours = [one for one in registry().methods() if one.__module__.startswith("methods.")]
    assert {(one.part, one.name) for one in ours} <= FACTS.keys()
    families = {FACTS[one.part, one.name].family for one in ours if one.name not in ("full", "serial")}
    assert families == FAMILIES
    assert FACTS["denoiser", "full"].family == ""


def test_a_plain_network_belongs_to_no_family() -> None:
    assert FACTS[NETWORK, "unet-8"].family == ""
    assert FACTS[NETWORK, "slim-8"].family == ""
