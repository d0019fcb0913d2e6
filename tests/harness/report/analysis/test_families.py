"""The family of a row: a part's own word, in the order executor, denoiser, network, schedule."""

from __future__ import annotations

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import derive
from harness.report.analysis.families import name_families
from harness.report.facts import NETWORK, MethodFacts


def said(part: str, name: str, family: str) -> MethodFacts:
    return MethodFacts(part, name, family, "summary", "", "module")


FACTS = (
    said("executor", "srds", "parallel in time"),
    said("denoiser", "early-exit", "early exit"),
    said("denoiser", "plain-plugin", ""),
    said("schedule", "few-step", "few-step"),
    said("schedule", "karras", "schedule"),
    said("solver", "ddim", "solver"),
    said(NETWORK, "cunet-8", "Missing U"),
    said(NETWORK, "unet-small", ""),
)


@pytest.mark.parametrize(
    ("changes", "family"),
    [
        ({}, "solver"),
        ({"solver": "heun"}, "solver"),
        ({"schedule": "karras"}, "schedule"),
        ({"schedule": "unheard-of"}, "schedule"),
        ({"schedule": "few-step"}, "few-step"),
        ({"network": "cunet-8"}, "Missing U"),
        ({"network": "small", "network_like": "cunet-8", "schedule": "few-step"}, "Missing U"),
        ({"network": "cunet-8", "denoiser": "early-exit"}, "early exit"),
        ({"denoiser": "plain-plugin"}, "plain-plugin"),
        ({"denoiser": "unheard-of", "schedule": "few-step"}, "unheard-of"),
        ({"denoiser": "early-exit", "executor": "srds"}, "parallel in time"),
        ({"executor": "unheard-of"}, "parallel in time"),
    ],
)
def test_a_part_names_the_family(changes: dict, family: str) -> None:
    baseline = tables.row("ddim", 5, 9.0, 1.0, is_baseline=True)
    row = tables.row("other", 5, 9.0, 1.0, **changes)
    assert name_families(DataFrame([baseline, row]), FACTS).tolist() == ["solver", family]


def test_the_usual_schedule_is_that_of_the_baseline_of_the_data_set() -> None:
    rows = [
        tables.row(f"{data}{schedule}", 5, 9.0, 1.0, dataset=data, schedule=schedule, is_baseline=schedule == usual)
        for data, usual in (("a", "x"), ("b", "y"))
        for schedule in ("x", "y")
    ]
    assert name_families(DataFrame(rows)).tolist() == ["solver", "schedule", "schedule", "solver"]


def test_every_row_of_the_analysis_has_its_family_also_those_that_do_not_rank() -> None:
    analysis = derive(tables.tables(), FACTS)
    rows = analysis.classes[0].rows.set_index("method")["family"]
    assert set(rows["early-exit + dpmpp-2m"]) == {"early exit"}
    assert set(rows["ddim karras"]) == {"schedule"}
    assert set(analysis.invalid.set_index("method")["family"]) == {"solver"}
    assert derive({}).trials["family"].tolist() == []
