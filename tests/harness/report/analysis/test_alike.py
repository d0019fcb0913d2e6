"""Rows that differ in one parameter only are never paired, and never one line of a figure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.alike import find_alike, method_parts_key, name_parts
from harness.report.analysis.comparisons import WHOLE, Comparison, find_comparisons
from harness.report.analysis.derive import derive
from harness.report.analysis.parallel import HEADINGS, parallel_table
from harness.report.analysis.rows import last_attempts, typed_table
from harness.report.figures.plot_style import report_style
from harness.report.figures.quality_figures import draw_schedules
from harness.report.figures.schedule_figures import draw_error_by_steps
from harness.report.figures.search_figure import draw_search_front
from harness.report.figures.share_figure import draw_network_share
from harness.report.figures.training_figure import draw_quality_by_training
from harness.report.figures.width_figure import draw_widths_by_step


def row(key: str, steps: int = 10, params: dict[str, dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a row of a label, with parameters by part."""
    made = tables.row(changes.pop("method", key), steps, changes.pop("fid", 5.0), 1.0, **changes)
    return {**made, "trial_id": tables.trial_id(key, steps), "params_json": json.dumps(params or {})}


def trials(*rows: dict[str, Any]) -> DataFrame:
    return typed_table("trials", DataFrame(rows))


def wholes(*rows: dict[str, Any]) -> list[Comparison]:
    return [pair for pair in find_comparisons(derive({"trials": DataFrame(rows)})) if pair.kind == WHOLE]


@pytest.mark.parametrize("part", ["schedule", "solver", "executor"])
def test_the_whole_network_under_other_parameters_is_no_partner(part: str) -> None:
    cut = row("cut", denoiser="early-exit", params={part: {"rho": 3.0}, "denoiser": {"depth": 2}})
    other, same = row("other", params={part: {"rho": 7.0}}), row("same", params={part: {"rho": 3.0}})
    assert wholes(other, cut) == []
    (pair,) = wholes(other, same, cut)
    assert pair.other["method"] == "same"


@pytest.mark.parametrize(
    "changes",
    [{"network": "another"}, {"network_like": "x"}, {"weights": "zoo:x"}, {"weights_sha256": "ab"}, {"batch": 7}],
)
def test_another_network_or_its_other_weights_are_no_partner(changes: dict[str, Any]) -> None:
    assert wholes(row("whole", **changes), row("cut", denoiser="early-exit")) == []
    assert len(wholes(row("whole"), row("cut", denoiser="early-exit"))) == 1


def test_of_two_whole_networks_the_partner_is_the_one_that_runs_as_the_row_does() -> None:
    plain, fast = (row(f"whole {c}", params={"denoiser": {"compiled": c}}) for c in (False, True))
    for compiled in (False, True):
        cut = row("cut", denoiser="early-exit", params={"denoiser": {"compiled": compiled, "depth": 2}})
        (pair,) = wholes(plain, fast, cut)
        assert pair.other["method"] == f"whole {compiled}"
        assert len(wholes(*((plain, fast)[not compiled],), cut)) == 0


def test_rows_of_other_seed_sets_are_not_paired() -> None:
    assert wholes(row("whole", seed_set=1), row("cut", denoiser="early-exit")) == []


def test_the_serial_twin_has_the_same_weights() -> None:
    def difference(*rows: dict[str, Any]) -> str:
        (line,) = parallel_table(derive({"trials": DataFrame(rows)})).rows
        return dict(zip(HEADINGS, line, strict=True))["FID minus that of the serial run"]

    parallel = row("p", executor="srds", weights_sha256="ab", params={"schedule": {"rho": 3.0}})
    strangers = [
        row("a", weights_sha256="cd", params={"schedule": {"rho": 3.0}}),
        row("b", weights_sha256="ab", params={"schedule": {"rho": 7.0}}),
    ]
    assert difference(parallel, *strangers) == "–"
    twin = row("c", fid=4.0, weights_sha256="ab", params={"schedule": {"rho": 3.0}})
    assert difference(parallel, *strangers, twin).startswith("1.00")


def test_alike_asks_for_the_parts_and_columns_named() -> None:
    rows = trials(
        row("a", params={"solver": {"eta": 0}}), row("b", params={"solver": {"eta": 1}}), row("c", solver="ddpm"),
        row("d", 20, params={"solver": {"eta": 0}}),
    )  # fmt: skip
    assert find_alike(rows, rows.iloc[0], ["solver"]).tolist() == [True, False, False, True]
    assert find_alike(rows, rows.iloc[0], ["solver"], ["steps"]).tolist() == [True, False, False, False]
    assert find_alike(rows, rows.iloc[0], ["schedule"]).all()
    assert len({method_parts_key(one) for _, one in rows.iterrows()}) == 3


def test_names_of_parts_differ_where_a_parameter_does() -> None:
    rows = trials(
        row("a", schedule="few", params={"schedule": {"rounds": 1, "best": 0}}),
        row("b", schedule="few", params={"schedule": {"rounds": 2, "best": 0}}),
        row("c", schedule="edm"),
        row("d", method="ddim@few(rounds=3)", schedule="few", params={"schedule": {"rounds": 3, "best": 0}}),
        row("e", schedule="few", params={"schedule": {"rounds": 3, "best": 0}}),
    )
    names = ["few(rounds=1)", "few(rounds=2)", "edm", "few(rounds=3)", "few(rounds=3)"]
    assert name_parts(rows, "schedule").tolist() == names
    assert name_parts(rows.iloc[:0], "schedule").tolist() == []


def labels(figure: Any) -> list[str]:
    assert figure is not None
    return sorted(figure.axes[0].get_legend_handles_labels()[1])


def test_schedules_of_one_name_are_two_lines() -> None:
    def line(key: str, rho: float) -> list[dict[str, Any]]:
        return [
            row(f"{key}{n}", n, params={"schedule": {"rho": rho}}, schedule="edm", truncation_error=1 / n)
            for n in ((5, 20) if rho == 7 else (10, 40))
        ]

    rows = [*line("a", 7.0), *line("b", 3.0)]
    with report_style():
        assert labels(draw_error_by_steps(trials(*rows), "truncation_error")) == ["edm(rho=3.0)", "edm(rho=7.0)"]
        rows[0]["is_baseline"] = True
        one = derive({"trials": DataFrame(rows)}).classes[0]
        figure = draw_schedules(one, {})
        assert figure is not None
        named = {text.get_text() for text in (*figure.legends[0].get_texts(), *figure.axes[0].texts)}
        assert {"edm(rho=7.0) (baseline)", "edm(rho=3.0)"} <= named


def test_the_figure_of_schedules_holds_rows_with_the_baselines_parameters_alone() -> None:
    rows = [
        row("base", is_baseline=True, params={"solver": {"eta": 0}}),
        row("other", schedule="cosine", params={"solver": {"eta": 1}}),
    ]
    assert draw_schedules(derive({"trials": DataFrame(rows)}).classes[0], {}) is None


def test_shares_of_the_network_are_those_under_one_solver_and_named_with_their_network() -> None:
    rows = [
        row(f"exit{n}{eta}", method="exit", denoiser="early-exit", network=n, params={"solver": {"eta": eta}})
        for n, eta in (("a", 0), ("b", 0), ("a", 1))
    ]
    steps = tables.steps(DataFrame(rows))
    with report_style():
        figure = draw_network_share(trials(*rows), typed_table("steps", steps))
    assert labels(figure) == ["a:exit-10", "b:exit-10"]
    assert figure is not None
    assert figure.get_suptitle().endswith("under ddim(eta=0)?")


def test_quality_by_training_compares_equal_parameters_and_equal_sizes() -> None:
    def trained(network: str, seconds: float, rho: float = 7.0, **changes: Any) -> dict[str, Any]:
        facts = {"network": network, "network_like": "unet", "prepare_seconds": seconds, **changes}
        return row(f"{network}{rho}", method="x", params={"schedule": {"rho": rho}}, **facts)

    with report_style():
        assert draw_quality_by_training(trials(trained("long", 60.0), trained("short", 15.0, 3.0)), {}) is None
        assert draw_quality_by_training(trials(trained("long", 60.0), trained("wide", 15.0, parameters=9)), {}) is None
        rows = [trained("long", 60.0), trained("short", 15.0), trained("long", 60.0, 3.0)]
        figure = draw_quality_by_training(trials(*rows), {})
        assert figure is not None
        (line,) = figure.axes[0].containers
        assert line.lines[0].get_xdata().tolist() == [15.0, 60.0]


def test_the_map_of_widths_keeps_rows_of_one_name() -> None:
    rows = [row(key, n, method="ddsm", denoiser="ddsm") for key, n in (("a", 2), ("b", 2), ("c", 3))]
    steps = DataFrame([
        {"trial_id": one["trial_id"], "step": k, "units_json": json.dumps({f"width-{0.25 * (k + 1):g}": 40})}
        for one in rows for k in range(one["steps"])
    ])  # fmt: skip
    with report_style():
        figure = draw_widths_by_step(trials(*rows), steps)
    assert figure is not None
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["unet-small:ddsm-2", "unet-small:ddsm-2 (2)", "unet-small:ddsm-3"]


def test_searches_under_solvers_of_one_name_stand_apart() -> None:
    rows = [row(f"s{eta}", method="found", denoiser="ddsm", params={"solver": {"eta": eta}}) for eta in (0, 1)]
    candidates = [
        {"trial_id": one["trial_id"], "attempt": 1, "part": "denoiser", "round": 0, "candidate_json": f"{k}",
         "n_images": 10, "fid": 5.0 + k, "flops_per_image": 1e9 / (1 + k), "objective": 0.0, "is_final": False,
         "is_chosen": False}
        for one in rows for k in range(2)
    ]  # fmt: skip
    with report_style():
        figure = draw_search_front(trials(*rows), typed_table("searches", DataFrame(candidates)))
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"ddim(eta={eta}), 10 steps, unet-small" for eta in (0, 1)
    ]


def test_a_row_does_not_supersede_one_with_another_part_and_the_same_parameters() -> None:
    rows = [row(f"r{solver}", method="a label", solver=solver) for solver in ("ddim", "heun")]
    assert len(last_attempts(trials(*rows))) == 2
