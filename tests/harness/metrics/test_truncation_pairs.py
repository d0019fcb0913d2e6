"""Truncation error as a figure: its jackknife, what was written before it had one, and pairs of rows that have it."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit import tables as made_up

from harness.metrics.truncation import truncation
from harness.report.analysis.comparison_tables import comparisons_csv, controls_table
from harness.report.analysis.comparisons import Comparison, find_comparisons
from harness.report.analysis.derive import derive
from harness.schema import arrow_schema
from harness.stats import paired_difference
from harness.storage.parquet_parts import decode


@pytest.mark.parametrize(("n", "groups"), [(110, 20), (20, 20), (7, 7), (2, 2)])
def test_replicates_leave_out_contiguous_groups_of_images(n: int, groups: int) -> None:
    rng = np.random.default_rng(n)
    errors, norms = rng.uniform(1, 2, n), rng.uniform(5, 9, n)
    found = truncation(errors.tolist(), norms.tolist())
    assert found is not None
    assert found.images == n
    assert found.value == pytest.approx(math.sqrt(errors.sum() / norms.sum()), rel=1e-14)
    group = np.arange(n) * groups // n
    expected = [math.sqrt(errors[group != g].sum() / norms[group != g].sum()) for g in range(groups)]
    assert found.replicates == pytest.approx(expected, rel=1e-14)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_one_image_has_no_interval_and_none_no_figure() -> None:
    one = truncation([1.0], [4.0])
    assert one is not None
    assert (one.images, one.value, one.low, one.high, one.replicates) == (1, 0.5, None, None, ())
    assert truncation([], []) is None
    assert truncation([1.0, 1.0], [0.0, 0.0]) is None


def test_the_interval_of_a_paired_difference_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = math.sqrt(0.09) - math.sqrt(0.04)
    covered = excluded = 0
    for _ in range(400):
        shared = rng.gamma(4.0, 0.25, 60)  # an image that is hard for one is hard for the other
        norms = rng.gamma(16.0, 1 / 16, 60)
        errors = [scale * shared * norms * rng.gamma(20.0, 0.05, 60) for scale in (0.09, 0.04)]
        a, b = (truncation(error.tolist(), norms.tolist()) for error in errors)
        assert a is not None
        assert b is not None
        found = paired_difference(a.value, a.replicates, b.value, b.replicates)
        covered += found.low <= truth <= found.high
        excluded += not found.low <= 0 <= found.high
    assert 0.91 <= covered / 400 <= 0.98
    assert excluded == 400


@pytest.mark.parametrize("table", ["trials", "quality"])
def test_tables_without_the_columns_are_read_with_empty_ones(table: str) -> None:
    new = {"trials": ["truncation_error_low", "truncation_error_high", "truncation_images"],
           "quality": ["truncation_error"]}[table]  # fmt: skip
    schema = arrow_schema(table)
    older = pa.schema([field for field in schema if field.name not in new], metadata=schema.metadata)
    assert len(older) == len(schema) - len(new)
    row = {"trial_id": "a", "attempt": 1, **({"truncation_error": 0.5} if table == "trials" else {"fid": 2.0})}
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=older), sink)
    (read,) = decode(table, sink.getvalue()).to_pylist()
    assert {name: read[name] for name in row} == row
    assert [read[name] for name in new] == [None] * len(new)


def pair(images: tuple[int, int] = (64, 64), swing: float = 0.01, seeds: int = 1) -> Comparison:
    """Return a claim of error 0.2 beside its control of 0.3, replicates swinging together and `swing` of them apart."""
    rows, replicates = [], []
    for seed in range(seeds):
        for method, error, n, own in (("claim", 0.2, images[0], 0.0), ("control", 0.3, images[1], swing)):
            row = made_up.row(method, 20, 5.0, 1.0, truncation_error=error, truncation_images=n, seed_set=seed)
            row["trial_id"] = made_up.trial_id(method, seed)
            if method == "control":
                row["control_of_trial_id"] = made_up.trial_id("claim", seed)
            rows.append(row)
            replicates += [
                {"trial_id": row["trial_id"], "attempt": 1, "group": k,
                 "truncation_error": error + (0.05 + own) * (-1) ** (k // (seed + 1))}
                for k in range(20)
            ]  # fmt: skip
    (found,) = find_comparisons(derive({"trials": pd.DataFrame(rows), "quality": pd.DataFrame(replicates)}))
    return found


def test_what_two_rows_share_cancels_in_their_difference() -> None:
    found = pair()
    assert found.truncation == pytest.approx(-0.1)
    assert found.truncation_half == pytest.approx(2.093 * math.sqrt(19 * 0.01**2), rel=1e-3)
    assert math.isnan(found.difference_half)  # no replicates of FID here


def test_rows_measured_at_other_images_are_no_pair() -> None:
    found = pair(images=(64, 40))
    assert math.isnan(found.truncation)
    assert math.isnan(found.truncation_half)


def test_seed_sets_are_averaged_before_rows_are_paired() -> None:
    assert pair(seeds=2).truncation == pytest.approx(-0.1)
    assert pair(seeds=2).truncation_half == pytest.approx(pair().truncation_half / math.sqrt(2), rel=1e-6)


def test_the_difference_stands_in_the_table_and_in_the_csv() -> None:
    found = pair(swing=0.001)
    section = controls_table([found])
    cell = dict(zip(section.headings, section.rows[0], strict=True))["Difference in truncation error"]
    assert cell.startswith("-0.100 [-0.109, -0.0909]")
    (row,) = csv.DictReader(io.StringIO(comparisons_csv([found])))
    assert (float(row["truncation_error"]), float(row["other_truncation_error"])) == (0.2, 0.3)
    ends = [float(row[f"truncation_difference{end}"]) for end in ("_low", "", "_high")]
    assert ends == pytest.approx([-0.1 - found.truncation_half, -0.1, -0.1 + found.truncation_half])
