"""The sentence of a plan on gains: which links its suite lacks, and which rows would close them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import toys
from kit.plan_kit import plan, with_train

from harness.cli.plan_lines import plan_lines
from harness.planning.links import MissingLinks, find_missing_links
from harness.schema.gain_links import LINKED_PARTS, baseline_steps, chain_links

TWIN: dict[str, Any] = {"networks": {"twin": {"like": "analytic"}}}


class Demanding(toys.DDIM):
    name = "toy-demanding"

    def refusal(self, parts: Any, steps: int, network: Any) -> str | None:
        return None if parts["schedule"].name == "logsnr" else "only logsnr"


@pytest.fixture
def toy_methods() -> Iterator[None]:
    with toys.registered(Demanding):
        yield


def found(*trials: dict[str, Any], **changes: Any) -> MissingLinks:
    """Return the missing links of a suite of the baseline at 2 steps and the given trials."""
    made = plan(trials=[{"steps": 2}, *trials], **changes)
    baselines = {p.trial.dataset.name: p.trial for p in made.trials if p.row.relations.is_baseline}
    return find_missing_links([p.trial for p in made.trials], baselines)


def test_a_whole_chain_lacks_nothing() -> None:
    missing = found({"steps": 2, "solver": "dpmpp-2m"}, {"steps": 2, "solver": "dpmpp-2m", "schedule": "logsnr"})
    assert missing == MissingLinks(0, 0, ())
    assert missing.sentence == ""


def test_the_rows_between_are_named_in_the_order_of_the_chain() -> None:
    missing = found({"steps": 2, "network": "twin", "solver": "dpmpp-2m", "schedule": "logsnr"},
                    **TWIN)  # fmt: skip
    assert missing.count == 3
    assert missing.closing == ("analytic:dpmpp-2m-2", "analytic:dpmpp-2m@logsnr-2")
    assert missing.sentence == (
        "3 links of gains are missing; 2 more rows would close them: analytic:dpmpp-2m-2, analytic:dpmpp-2m@logsnr-2"
    )


def test_a_link_that_two_rows_share_counts_once() -> None:
    other = {"steps": 2, "solver": "dpmpp-2m"}
    missing = found(other | {"schedule": "logsnr"}, other | {"schedule": {"name": "edm", "rho": 6.0}})
    assert missing.count == 3
    assert missing.closing == ("analytic:dpmpp-2m-2",)


def test_one_link_is_told_in_the_singular() -> None:
    missing = found({"steps": 3, "solver": "dpmpp-2m"})
    assert missing.sentence == "1 link of gains is missing; 1 more row would close it: analytic:ddim-3"


def test_heun_needs_the_baseline_of_its_evaluations() -> None:
    assert found({"steps": 3, "solver": "heun"}).closing == ("analytic:ddim-6",)
    assert found({"steps": 3, "solver": "heun"}, {"steps": 6}).count == 0
    assert found({"steps": 3, "solver": "heun"}, {"steps": 3}).count == 1


def test_a_baseline_that_cannot_have_these_evaluations_gives_no_link() -> None:
    base = {"baseline": {"clock_steps": 2, "solver": "heun"}, "trials": [{"steps": 2, "solver": "heun"}]}
    made = plan(**{**base, "trials": [*base["trials"], {"steps": 5}]})  # type: ignore[misc]
    clock, odd = (p.trial for p in made.trials)
    assert find_missing_links([clock, odd], {"gaussian": clock}).count == 0


def test_a_label_closes_a_link_and_a_missing_row_has_none() -> None:
    schedule = {"steps": 2, "schedule": "logsnr"}
    other = {"network": "twin", "label": "mine"}
    assert found(schedule | {"label": "levels"}, schedule | other, **TWIN).count == 0
    assert found(schedule | other, **TWIN).closing == ("analytic:ddim@logsnr-2",)


def test_parameters_decide_not_names() -> None:
    bent = {"name": "edm", "rho": 6.0}
    missing = found({"steps": 2, "schedule": "logsnr"}, {"steps": 2, "schedule": bent, "network": "twin"},
                    **TWIN)  # fmt: skip
    assert missing.closing == ("analytic:ddim@edm(rho=6.0)-2",)


def test_further_seed_sets_lack_nothing_more() -> None:
    trial = {"steps": 3, "solver": "dpmpp-2m"}
    assert found(trial, seed_sets=[0, 1]) == found(trial)


def test_further_trainings_lack_nothing_more() -> None:
    trial = {"steps": 3, "solver": "dpmpp-2m"}
    twice = found(trial, trainings=2, **with_train(steps=10))
    assert twice == found(trial, **with_train(steps=10))
    assert twice.closing == ("unet-tiny:ddim-3",)


@pytest.mark.usefixtures("toy_methods")
def test_a_row_whose_parts_do_not_fit_is_not_recommended() -> None:
    picky = {"steps": 2, "solver": "toy-demanding", "schedule": "logsnr"}
    missing = found(picky)
    assert (missing.count, missing.impossible, missing.closing) == (2, 2, ())
    assert missing.sentence == "2 links of gains are missing; they need parts that do not fit together"
    both = found(picky, {"steps": 3, "solver": "dpmpp-2m"})
    assert both.sentence == (
        "3 links of gains are missing; 1 more row would close 1 of them: analytic:ddim-3; "
        "the others need parts that do not fit together"
    )


def test_data_sets_are_named_where_there_are_several() -> None:
    missing = found({"steps": 3, "solver": "dpmpp-2m"}, {"steps": 2, "dataset": "gaussian-mixture"})
    assert missing.closing == ("gaussian analytic:ddim-3",)


def test_the_plan_says_it_once_and_lists_no_more_trials(tmp_path: Path) -> None:
    suite = toys.suite_file(tmp_path, toys.trial(steps=3, solver="dpmpp-2m"))
    lines = list(plan_lines(suite, None, None, None, None, tmp_path))
    assert lines.count("note: 1 link of gains is missing; 1 more row would close it: analytic:ddim-3") == 1
    assert sum(line.startswith("to do ") for line in lines) == 2
    part = list(plan_lines(suite, None, None, "dpmpp*", None, tmp_path))
    assert not any("gains" in line for line in part)


def test_a_chain_changes_a_part_at_a_time_in_its_order() -> None:
    start = dict.fromkeys(LINKED_PARTS, "a")
    links = chain_links(start, {**start, "executor": "b", "solver": "c", "network": "d"})
    assert [part for part, _ in links] == ["solver", "network", "executor"]
    assert [tuple(state[part] for part in LINKED_PARTS) for _, state in links] == [
        ("c", "a", "a", "a", "a"), ("c", "a", "d", "a", "a"), ("c", "a", "d", "a", "b"),
    ]  # fmt: skip
    assert start == dict.fromkeys(LINKED_PARTS, "a")
    assert chain_links(start, start) == []


def test_steps_of_the_baseline_are_whole_or_none() -> None:
    assert [baseline_steps(*numbers) for numbers in ((5, 2, 1), (6, 1, 2), (5, 1, 2))] == [10, 3, None]
