"""Fidelity in runs: what is compared, what rows and tables show of it, what is dropped, and what a failure costs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import toys
from kit.toy_runs import Run
from kit.toys import CountingPool, suite_file, trial

from harness.metrics.fidelity import Fidelity
from harness.metrics.image_pairs import psnr_by_image
from harness.report.analysis.derive import derive
from harness.report.analysis.fidelity_table import fidelity_table
from harness.sampling.pixels import image_digests
from harness.tasks import fidelity as task
from methods.parts import BuiltDenoiser

DIMS = trial(steps=2, denoiser="toy-dims")
TWO = trial(steps=2, solver="heun", denoiser="toy-dims") + trial(steps=2, solver="heun", denoiser="toy-reads")


@pytest.fixture(autouse=True)
def known_toys() -> Iterator[None]:
    with toys.registered(toys.Dims, toys.Reads):
        yield


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return both sides of each comparison that a run in this process makes."""
    seen, measure = [], task.measure_fidelity

    def noting(pairs: Any, *rest: Any) -> Fidelity:
        listed = list(pairs)
        seen.append(tuple(np.concatenate([one[side] for one in listed]) for side in (1, 2)))
        return measure(listed, *rest)

    monkeypatch.setattr(task, "measure_fidelity", noting)
    return seen  # type: ignore[return-value]


def sha256(images: np.ndarray) -> str:
    import torch

    return hashlib.sha256(image_digests(torch.from_numpy(images)).tobytes()).hexdigest()


def test_a_row_is_compared_with_the_row_without_acceleration(tmp_path: Path, compared: list[Any]) -> None:
    import torch

    run = Run(suite_file(tmp_path, DIMS), tmp_path)
    whole, dimmed = run.row("ddim"), run.row("toy-dims/ddim")
    ((own, partner),) = compared
    assert sha256(own) == dimmed["images_sha256"]
    assert sha256(partner) == whole["images_sha256"]
    psnr = psnr_by_image(torch.from_numpy(own), torch.from_numpy(partner))
    assert dimmed["psnr"] == pytest.approx(psnr[np.isfinite(psnr)].mean(), rel=1e-12)
    assert dimmed["psnr_low"] < dimmed["psnr"] < dimmed["psnr_high"]
    assert dimmed["psnr_worst_1pct"] == pytest.approx(psnr.min(), rel=1e-12)
    assert dimmed["identical_share"] == np.isinf(psnr).mean()
    assert dimmed["partner"] == "analytic:ddim-2"
    assert len(run.of("quality", dimmed)["psnr"].dropna()) == 20
    assert run.kinds["fidelity"] == 1
    assert run.kinds["score"] == 2


def test_empty_cells_have_reasons(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, DIMS), tmp_path)
    whole, dimmed = run.row("ddim"), run.row("toy-dims/ddim")
    assert whole["psnr"] != whole["psnr"]
    assert "no PSNR, SSIM or LPIPS: this is the run without acceleration" in whole["not_measured"].split("; ")
    assert "no SSIM: pictures of 4 pixels a side are smaller than its window of 11" in dimmed["not_measured"].split(
        "; "
    )
    assert "no LPIPS" in dimmed["not_measured"]
    assert set(run.tables.trials["verdict"]) == {"VALID"}


def test_a_partner_that_is_no_row_is_sampled_once_for_two_rows_and_never_scored(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, TWO), tmp_path)
    sampled = [unit.label for unit in run.pool.started if unit.task.kind == "sample"]
    partners = [label for label in sampled if label.startswith("sample analytic:heun-2")]
    assert partners == ["sample analytic:heun-2 [0, 30)", "sample analytic:heun-2 [30, 40)"]
    assert (run.kinds["score"], run.kinds["fidelity"]) == (3, 2)
    assert len(run.tables.trials) == 3
    assert run.row("toy-reads/heun")["identical_share"] == 1.0
    assert run.row("toy-reads/heun")["psnr"] != run.row("toy-reads/heun")["psnr"]
    assert run.row("toy-dims/heun")["identical_share"] < 1.0


def test_pixels_are_dropped_once_they_are_compared(tmp_path: Path) -> None:
    Run(suite_file(tmp_path, DIMS), tmp_path)
    assert not list(tmp_path.glob("**/*.transient"))


def test_a_second_run_compares_nothing_and_one_that_was_killed_goes_on(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, DIMS)

    def die() -> None:
        raise KeyboardInterrupt

    whole = Run(suite, tmp_path / "whole")
    total = sum(whole.kinds.values())
    for died in range(2, total, 2):
        folder = tmp_path / f"{died}"
        with pytest.raises(KeyboardInterrupt):
            Run(suite, folder, CountingPool(dies_after=died, dies_of=die))
        again = Run(suite, folder)
        assert again.row("toy-dims/ddim")["psnr"] == whole.row("toy-dims/ddim")["psnr"]
    assert Run(suite, tmp_path / "whole").kinds == {}


def test_an_accelerated_row_that_is_added_later_makes_its_partners_images_again(tmp_path: Path) -> None:
    Run(suite_file(tmp_path), tmp_path)
    more = Run(suite_file(tmp_path, DIMS), tmp_path)
    assert more.kinds == {"fidelity": 1, "prepare": 1, "sample": 2, "score": 1, "time": 1}
    assert more.row("toy-dims/ddim")["psnr"] > 0


def test_a_partner_that_fails_leaves_cells_empty_and_the_row_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = toys.Full.build

    def broken(self: toys.Full, *given: Any) -> BuiltDenoiser:
        built = build(self, *given)
        if type(self) is toys.Full and toys.BREAKS_FULL:
            raise ValueError("the whole network is broken here")
        return built

    monkeypatch.setattr(toys, "BREAKS_FULL", False, raising=False)
    monkeypatch.setattr(toys.Full, "build", broken)
    pool = _BreaksPartner(monkeypatch)
    run = Run(suite_file(tmp_path, trial(steps=2, solver="heun", denoiser="toy-dims")), tmp_path, pool)
    row = run.row("toy-dims/heun")
    assert (row["verdict"], row["psnr"] == row["psnr"]) == ("VALID", False)
    expected = "no PSNR, SSIM or LPIPS: the images of the run without acceleration could not be compared"
    assert expected in row["not_measured"].split("; ")


class _BreaksPartner(CountingPool):
    """Lets the whole network break while the partner's images are made."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._patch = patch

    def submit(self, unit: Any, inputs: Any) -> None:
        self._patch.setattr(toys, "BREAKS_FULL", unit.label.startswith("sample analytic:heun-2"))
        super().submit(unit, inputs)


def test_the_report_lists_what_was_compared(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, DIMS), tmp_path)
    tables = {name: getattr(run.tables, name) for name in ("trials", "quality", "steps", "timings")}
    section = fidelity_table(derive(tables))
    (line,) = section.rows
    assert line[:2] == ("analytic:toy-dims/ddim-2", "analytic:ddim-2")
    assert line[2].startswith(f"{run.row('toy-dims/ddim')['psnr']:.1f} [")
    assert len(line) == len(section.headings)
    assert any(note.startswith("No SSIM: pictures of 4 pixels") for note in section.notes)


def test_tables_of_former_versions_are_read_without_these_columns(tmp_path: Path) -> None:
    run = Run(suite_file(tmp_path, DIMS), tmp_path)
    named = {"psnr", "psnr_low", "psnr_high", "psnr_worst_1pct", "identical_share", "partner", "ssim", "ssim_low",
             "ssim_high", "lpips", "lpips_low", "lpips_high", "lpips_sha256"}  # fmt: skip
    old = {
        name: getattr(run.tables, name).drop(columns=named, errors="ignore")
        for name in ("trials", "quality", "steps", "timings")
    }
    assert fidelity_table(derive(old)).rows == []
    assert len(derive(old).classes[0].rows) == 2
