"""Metrics and tables are declared once: what is declared is computed, and what is computed is declared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import harness
from harness.metrics import quality
from harness.metrics.reference import reference_of
from harness.metrics.scored_features import Figures, ScoredFeatures
from harness.schema import METRICS, REAL, TABLES, WHOLE, Column, Metric, StoredTable, arrow_schema, part_schema
from harness.storage import parquet_parts
from harness.storage.store import Store


@pytest.fixture(scope="module")
def measured() -> quality.Quality:
    features = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    return quality.measure_quality([(0, features)], reference_of(features[::-1].copy()), 200)


def test_every_declared_column_from_features_is_computed_and_no_other(measured: quality.Quality) -> None:
    declared = [metric for metric in METRICS.values() if metric.source == "features"]
    assert set(measured.figures) == {column.name for metric in declared for column in metric.columns}
    replicated = {metric.name for metric in declared if metric.replicate is not None}
    assert all(set(one) == replicated for one in measured.replicates)


def test_every_metric_says_in_which_column_its_figure_and_its_replicates_are() -> None:
    trials, groups = ({column.name for column in TABLES[name].columns} for name in ("trials", "quality"))
    for name, metric in METRICS.items():
        assert metric.name == name
        assert {column.name for column in metric.columns} <= trials
        assert metric.replicate is None or metric.replicate.name == name
        assert (name in groups) == (metric.replicate is not None)


def test_columns_of_a_table_are_unique_and_its_order_is_by_columns_of_its_own() -> None:
    for table in TABLES.values():
        names = [column.name for column in table.columns]
        assert len(names) == len(set(names))
        assert set(table.order) <= set(names)
        assert names[0] == "trial_id"
        assert all(column.sentence.endswith(".") for column in table.columns)


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Declare a table and a metric more."""
    columns = (
        Column("trial_id", pa.string(), "The trial."),
        Column("attempt", WHOLE, "Its attempt."),
        Column("rank", WHOLE, "A number."),
    )
    monkeypatch.setitem(TABLES, "extra", StoredTable("extra", columns, order=("rank",)))
    metric = Metric("mean", False, "features", (Column("feature_mean", REAL, "Mean of all features."),))
    monkeypatch.setitem(METRICS, "feature_mean", metric)
    monkeypatch.setitem(
        TABLES, "trials", StoredTable("trials", (*TABLES["trials"].columns, *metric.columns), TABLES["trials"].order)
    )

    def mean(scored: ScoredFeatures) -> Figures:
        return Figures({"feature_mean": float(np.mean([part.mean for part in scored.by_group]))})

    monkeypatch.setattr(parquet_parts, "_schema", arrow_schema)  # which keep what they made before
    monkeypatch.setattr(parquet_parts, "_part_schema", part_schema)
    monkeypatch.setitem(quality.FEATURE_METRICS, "feature_mean", mean)
    return


@pytest.mark.usefixtures("extra")
def test_a_new_table_is_stored_and_loaded_by_its_declaration_alone(tmp_path: Path) -> None:
    store = Store.create_or_open(tmp_path / "mine")
    store.commit(
        "a" * 64,
        {
            "trials": [{"status": "finished", "verdict": "VALID", "reasons": "", "feature_mean": 0.5}],
            "extra": [{"rank": 2}, {"rank": 1}],
        },
    )
    found = store.snapshot().read("extra")
    assert found["rank"].tolist() == [1, 2]
    assert store.snapshot().latest()["feature_mean"].tolist() == [0.5]


@pytest.mark.usefixtures("extra")
def test_a_new_metric_is_measured_by_its_declaration_and_its_function() -> None:
    features = np.full((60, 2), 3.0, np.float32) + np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    found = quality.measure_quality([(0, features)], reference_of(features), 60)
    assert found.figures["feature_mean"] == pytest.approx(features.mean(), rel=1e-6)


@pytest.mark.usefixtures("extra")
def test_loaded_tables_have_every_declared_table_as_an_attribute(tmp_path: Path) -> None:
    store = Store.create_or_open(tmp_path / "mine")
    row = {"status": "finished", "verdict": "VALID", "reasons": ""}
    store.commit("a" * 64, {"trials": [row], "extra": [{"rank": 3}]})
    found = harness.load(store.folder)
    assert found.extra["rank"].tolist() == [3]
    assert len(found.trials) == 1
    with pytest.raises(AttributeError, match='no table "trails"; did you mean "trials"'):
        _ = found.trails
