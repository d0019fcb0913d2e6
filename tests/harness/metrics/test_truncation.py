"""Truncation error in a run and in a plan: the fine solution that trials are measured against, shared by them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kit import plan_kit, toys
from kit.toys import CountingPool, suite_file, trial

import harness
from harness.config.network_card import load_network_card
from harness.config.suite import Suite
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.report.analysis.comparisons import find_comparisons
from harness.report.analysis.derive import derive
from harness.report.analysis.tuned_truncation import tuned_truncation_table
from harness.sampling.network import build_network
from harness.sampling.noise import ImageNoise
from harness.specs.reference_solution import ReferenceSolutionSpec
from harness.task import Span
from methods.networks.analytic import Analytic
from methods.parts import BuiltDenoiser, Solver
from methods.schedules.edm import EDM
from methods.schedules.logsnr import LogSNR
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun

MIXTURE = "dataset=gaussian-mixture"  # has no closed form
STEPS = 8


def asking(images: int, steps: int = STEPS) -> str:
    return f"[truncation]\nimages = {images}\nsteps = {steps}\n"


class Run:
    """A finished run: its rows, and what was started for it."""

    def __init__(self, suite: str, results: Path, *settings: str, **options: Any) -> None:
        self.pool = CountingPool()
        self.tables = harness.run(
            suite, pool=lambda: self.pool, results=results, settings=list(settings), report=False, **options
        )

    def row(self, method: str, steps: int, **equal: Any) -> pd.Series:
        rows = self.tables.trials
        for column, value in {"method": method, "steps": steps, **equal}.items():
            rows = rows[rows[column] == value]
        (found,) = (row for _, row in rows.iterrows())
        return found

    def replicates(self, row: pd.Series) -> list[float]:
        quality = self.tables.quality
        mine = quality[quality["trial_id"] == row["trial_id"]].sort_values("group")
        return mine["truncation_error"].dropna().tolist()


class Brighter(toys.Full):
    """Stands for a tuned network: what the whole network answers, one part in a hundred larger."""

    name = "toy-brighter"

    def build(self, network: Any, artifact: Any = None) -> BuiltDenoiser:
        return _Brighter(super().build(network, artifact))


class _Brighter(BuiltDenoiser):
    def __init__(self, whole: BuiltDenoiser) -> None:
        self.whole = whole

    def __call__(self, x: Any, sigma: Any, step: int) -> Any:
        denoised, units = self.whole(x, sigma, step)
        return 1.01 * denoised, units

    def units(self) -> Any:
        return self.whole.units()


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a run over three shards, of which the fine solution reaches into the second."""
    folder = tmp_path_factory.mktemp("mixture")
    others = [
        trial(steps=4),
        trial(steps=4, schedule="logsnr", control_of="ddim"),
        trial(solver="heun", steps=STEPS),
        trial(solver="heun", steps=STEPS, denoiser="toy-brighter"),
        trial(solver="ddpm", steps=2),
    ]
    with toys.registered(Brighter):
        suite = suite_file(folder, "".join(others), top=asking(64))
        yield Run(suite, folder / "results", MIXTURE, "n_images=110")


def states(solver: Solver, schedule: Any, steps: int, n: int, dataset: str = "gaussian-mixture") -> torch.Tensor:
    """Return final states of the first n images, by a loop of our own in batches of 10."""
    card = load_card(dataset)
    network = build_network(load_network_card("analytic"), card.shape()).float()
    sigmas = schedule.levels(steps, card.sigma_min, card.sigma_max)

    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return network(x, torch.full((len(x),), sigma, dtype=torch.float64))

    made = []
    for first in range(0, n, 10):
        x = ImageNoise(card.name, 0, (1, 4, 4)).draw_initial(range(first, min(first + 10, n))) * sigmas[0]
        for i in range(steps):
            x = solver.step(x, i, sigmas, denoise, None, lambda step: torch.empty(0))
        made.append(x)
    return torch.cat(made).double()


def relative(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


# What a run measures.


def test_the_figure_is_the_distance_to_the_fine_solution_of_the_same_noises(mixture: Run) -> None:
    fine = states(Heun(), EDM(), STEPS, 64)
    for method, schedule, steps in (("ddim", EDM(), 2), ("ddim", EDM(), 4), ("ddim@logsnr", LogSNR(), 4)):
        expected = relative(states(DDIM(), schedule, steps, 64), fine)
        row = mixture.row(method, steps)
        assert row["truncation_error"] == pytest.approx(expected, rel=1e-5)
        assert row["truncation_error_low"] < expected < row["truncation_error_high"]
        assert row["truncation_images"] == 64
        assert len(mixture.replicates(row)) == 20


def test_all_trials_on_a_network_share_one_fine_solution(mixture: Run) -> None:
    assert mixture.pool.kinds["reference-solution"] == 1
    assert set(mixture.tables.trials["verdict"]) == {"VALID"}


def test_the_fine_solution_is_at_no_distance_from_itself(mixture: Run) -> None:
    assert mixture.row("heun", STEPS)["truncation_error"] == 0.0


def test_a_changed_network_is_judged_by_its_distance_to_the_one_before(mixture: Run) -> None:
    assert mixture.row("toy-brighter/heun", STEPS)["truncation_error"] > 0.005


def test_a_tuned_network_is_measured_against_its_own_flow_too(tmp_path: Path) -> None:
    """On the fine solution's own schedule and solver nothing is left of its own error; the other flow is far."""
    dims = {"denoiser": "toy-dims"}
    trials = trial(solver="heun", steps=STEPS) + trial(solver="heun", steps=STEPS, **dims) + trial(steps=3, **dims)
    trials += trial(solver="ddpm", steps=3, **dims)
    with toys.registered(toys.Dims):
        run = Run(suite_file(tmp_path, trials, top=asking(40)), tmp_path, MIXTURE)
    assert run.pool.kinds["reference-solution"] == 2  # the untuned network's, and one for both trials on the tuned one
    mine, coarse = run.row("toy-dims/heun", STEPS), run.row("toy-dims/ddim", 3)
    assert mine["own_truncation_error"] == 0.0
    assert mine["truncation_error"] > 0.05
    assert 0 < coarse["own_truncation_error_low"] < coarse["own_truncation_error"] < coarse["own_truncation_error_high"]
    assert pd.isna(run.row("heun", STEPS)["own_truncation_error"])
    assert pd.isna(run.row("toy-dims/ddpm", 3)["own_truncation_error"])
    section = tuned_truncation_table(derive({"trials": run.tables.trials, "quality": run.tables.quality}))
    assert [row[0] for row in section.rows if row[3] != row[4]] == [row[0] for row in section.rows]
    assert len(section.rows) == 2


def test_a_preparation_that_returned_something_else_says_so_in_its_row(tmp_path: Path) -> None:
    trials = "".join(f'[[trials]]\nsteps = 3\ndenoiser = {{ name = "toy-dims", factor = {f} }}\n' for f in (1.0, 0.8))
    with toys.registered(toys.Dims):
        rows = Run(suite_file(tmp_path, trials), tmp_path, MIXTURE).tables.trials
    told = dict(zip(rows["method"], rows["returned"], strict=True))
    assert told["toy-dims(factor=1.0)/ddim"] == "the untuned network"
    assert not told["toy-dims(factor=0.8)/ddim"] or pd.isna(told["toy-dims(factor=0.8)/ddim"])


def test_a_stochastic_solver_has_no_truncation_error(mixture: Run) -> None:
    row = mixture.row("ddpm", 2)
    for column in ("truncation_error", "truncation_error_low", "truncation_error_high", "truncation_images"):
        assert pd.isna(row[column])
    assert mixture.replicates(row) == []
    assert not pd.isna(row["fid"])


def test_the_fine_solution_is_no_part_of_a_trials_price(mixture: Run) -> None:
    assert set(mixture.tables.trials["prepare_seconds"]) == {0.0}


def test_a_pair_of_rows_has_a_paired_difference(mixture: Run) -> None:
    pairs = find_comparisons(derive({"trials": mixture.tables.trials, "quality": mixture.tables.quality}))
    (found,) = (pair for pair in pairs if pair.kind == "control")
    claim, control = mixture.row("ddim", 4), mixture.row("ddim@logsnr", 4)
    assert found.truncation == pytest.approx(claim["truncation_error"] - control["truncation_error"])
    fine = states(Heun(), EDM(), STEPS, 1000)  # many more images stand for all images
    truth = relative(states(DDIM(), EDM(), 4, 1000), fine) - relative(states(DDIM(), LogSNR(), 4, 1000), fine)
    assert abs(truth - found.truncation) < found.truncation_half < abs(found.truncation)


def test_the_fine_solution_agrees_with_the_closed_form_to_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Run(suite_file(tmp_path, trial(steps=4)), tmp_path / "exact")
    flow = Analytic.flow
    monkeypatch.setattr(Analytic, "flow", lambda *arguments: None)
    fine = Run(suite_file(tmp_path, trial(steps=4), top=asking(40, 64)), tmp_path / "fine")
    monkeypatch.setattr(Analytic, "flow", flow)
    card = load_card("gaussian")
    network = build_network(load_network_card("analytic"), card.shape())
    starts = ImageNoise(card.name, 0, (1, 4, 4)).draw_initial(range(40)).double() * card.sigma_max
    truth = network.flow(starts, card.sigma_max, card.sigma_min)
    assert truth is not None
    own = relative(states(Heun(), EDM(), 64, 40, "gaussian"), truth)
    assert own < 5e-3
    for steps in (2, 4):
        known, found = (run.row("ddim", steps)["truncation_error"] for run in (exact, fine))
        assert found != known
        assert abs(found - known) <= own * (1 + known) / (1 - own)


def test_a_closed_form_stands_where_there_is_one(tmp_path: Path) -> None:
    trials = trial(steps=4)
    plain = Run(suite_file(tmp_path, trials), tmp_path / "plain")
    asked = Run(suite_file(tmp_path, trials, top=asking(10, 2)), tmp_path / "asked")
    angles = np.arctan(EDM().levels(4, 0.002, 80.0) / 0.2)
    rows = [run.row("ddim", 4) for run in (plain, asked)]
    for row in rows:
        assert row["truncation_error"] == pytest.approx(1 - np.prod(np.cos(np.diff(angles))), rel=1e-4)
        assert row["truncation_error_low"] <= row["truncation_error"] <= row["truncation_error_high"]
        assert row["truncation_images"] == 40
    assert rows[0]["truncation_error"] == rows[1]["truncation_error"]


def test_asking_changes_neither_images_nor_quality_and_times_nothing_again(tmp_path: Path) -> None:
    settings = [MIXTURE, "n_images=130"]
    before = Run(suite_file(tmp_path), tmp_path, *settings).row("ddim", 2)
    asked = Run(suite_file(tmp_path, top=asking(12)), tmp_path, *settings)
    after = asked.row("ddim", 2, truncation_images=12)
    assert asked.pool.kinds == {
        "reference-solution": 1,
        "sample": 1,
    }  # of three shards the one with the compared images
    assert pd.isna(before["truncation_error"])
    assert after["trial_id"] != before["trial_id"]
    for column in ("images_sha256", "fid", "fid_low", "kid", "latency_seconds", "nfe"):
        assert after[column] == before[column]
    assert len(asked.replicates(after)) == 12  # fewer images than groups: one image each


def test_images_that_are_not_numbers_are_not_compared(tmp_path: Path) -> None:
    with toys.registered(toys.NaN):
        suite = suite_file(tmp_path, trial(solver="toy-nan", steps=2), top=asking(40))
        row = Run(suite, tmp_path, MIXTURE).row("toy-nan", 2)
    assert row["reasons"].startswith("nan-samples: 4 of 40 images hold NaN")
    assert pd.isna(row["truncation_error"])


def test_a_fine_solution_that_is_not_finite_fails_the_trials_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Heun, "step", lambda self, x, *rest: x * math.nan)
    row = Run(suite_file(tmp_path, top=asking(20)), tmp_path, MIXTURE).row("ddim", 2)
    assert (row["status"], row["verdict"]) == ("failed", "INVALID")
    assert row["reasons"].startswith("failed(HarnessError): 20 of 20 images of the reference solution hold NaN")


# What a plan shares and what decides an identity.


def fine_tasks(**changes: Any) -> dict[str, Any]:
    plan = plan_kit.plan(**{"truncation": {"images": 64, "steps": STEPS}, **changes})
    return {task.id: task for task in plan.tasks.values() if task.kind == "reference-solution"}


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"trials": [{"steps": [2, 3], "schedule": ["edm", "logsnr"], "solver": ["ddim", "heun", "dpmpp-2m"]}]}, 1),
        ({"trials": [{"steps": 2}, {"steps": 3, "executor": "srds"}]}, 1),
        ({"seed_sets": [0, 1]}, 2),
        ({"dataset": ["gaussian", "gaussian-mixture"]}, 2),
        ({"truncation": None}, 0),
    ],
    ids=str,
)
def test_one_fine_solution_per_data_network_and_noise(changes: dict[str, Any], count: int) -> None:
    assert len(fine_tasks(**changes)) == count


def test_what_decides_the_fine_solution_decides_its_identity() -> None:
    usual = set(fine_tasks())
    changed = ({"precision": "float64"}, {"truncation": {"steps": 8}}, {"truncation": {"images": 9}}, {"batch": 5},
               {"seed_sets": [1]}, {"device": "cuda:a chip"})  # fmt: skip
    assert all(not usual & set(fine_tasks(**change)) for change in changed)
    assert usual == set(fine_tasks(trials=[{"steps": [2, 5], "schedule": ["edm", "logsnr"]}]))


def test_a_trained_network_is_solved_with_the_weights_it_had_before_any_tuning() -> None:
    trials = [{"steps": 2}, {"steps": 2, "denoiser": "toy-reads"}]
    with toys.registered(toys.Reads):
        planned = plan_kit.plan(**{**plan_kit.with_train(steps=5), "trials": trials, "truncation": {"images": 8}})
    (fine,) = (task for task in planned.tasks.values() if task.kind == "reference-solution")
    assert planned.trials[1].trial.sampler.artifact_ids()
    assert fine.id in planned.tasks[planned.trials[1].row.sample_ids[0]].needs
    assert fine.needs == (planned.trials[0].trial.weights_id,)
    assert isinstance(fine.spec, ReferenceSolutionSpec)
    assert fine.spec.sampler.denoiser.name == "full"
    assert fine.spec.sampler.model.weights_id == planned.trials[0].trial.weights_id


def test_the_units_with_compared_images_need_the_fine_solution_and_no_others_change() -> None:
    before, plan = plan_kit.last(), plan_kit.plan(truncation={"images": 51, "steps": STEPS})
    after = plan.trials[-1]
    (fine,) = fine_tasks(truncation={"images": 51, "steps": STEPS})
    assert (after.row.score_id, after.row.time_id) == (before.row.score_id, before.row.time_id)
    assert after.id != before.id
    compared, rest = (plan.tasks[task_id] for task_id in after.row.sample_ids)
    assert (fine in compared.needs, fine in rest.needs) == (True, False)
    assert ([unit.span for unit in compared.units()], rest.unit(0).span) == ([Span(0, 40), Span(40, 80)], Span(80, 120))
    assert (rest.id,) == before.row.sample_ids


def test_a_plan_of_fewer_images_than_asked_compares_all_of_them() -> None:
    (fine,) = fine_tasks(truncation={"images": 5000}).values()
    assert fine.spec.n == plan_kit.SUITE["n_images"]


@pytest.mark.parametrize("wrong", [{"images": 0}, {"steps": 0}, {"image": 4}], ids=str)
def test_a_wrong_table_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="truncation"):
        Suite.model_validate({**plan_kit.SUITE, "truncation": wrong})


def test_a_setting_asks_for_it(tmp_path: Path) -> None:
    assert Run(suite_file(tmp_path), tmp_path, MIXTURE, "truncation.steps=8").row("ddim", 2)["truncation_images"] == 40
    with pytest.raises(UsageError, match=r"truncation\.images"):
        Run(suite_file(tmp_path), tmp_path, MIXTURE, "truncation.images=0")
