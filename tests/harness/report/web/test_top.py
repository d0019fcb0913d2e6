"""What stands above the tables: the health of the times, strips of the same noises, the bundled library."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.leaderboard import build_leaderboard
from harness.report.web import vega_bundle
from harness.report.web.health import BAD, DOUBTFUL, GOOD, Health, read_health
from harness.report.web.top import choose_strips, make_top

# health


def few(table: DataFrame) -> DataFrame:
    """Return the rows of two methods, of which the times were watched and not disturbed."""
    return table[table["method"].isin(["ddim", "unipc"])].assign(cpu_share=1.0, disturbed="")


def health(**changes: object) -> Health:
    """Return the health of those rows with the changes."""
    found = read_health(derive(tables.tables(lambda table: few(table).assign(**changes))))
    assert found is not None
    return found


def test_an_idle_machine_is_good() -> None:
    found = health()
    assert found.state == GOOD
    assert found.text.startswith("A/A 0.9")
    assert found.text.endswith(", idle machine")


def test_a_machine_that_was_not_watched_is_not_called_idle() -> None:
    found = health(cpu_share=None)
    assert found.state == DOUBTFUL
    assert "idle" not in found.text


def test_a_few_disturbed_rows_are_named() -> None:
    def disturb(table: DataFrame) -> DataFrame:
        spoilt = (table["method"] == "unipc") & (table["nfe"] == 20)
        return few(table.assign(was=spoilt)).assign(disturbed=lambda one: np.where(one["was"], "had 61 % of it", ""))

    found = read_health(derive(tables.tables(disturb)))
    assert found is not None
    assert found.state == DOUBTFUL
    assert "1 of 10 rows disturbed: unet-small:unipc-20" in found.text


def test_most_rows_disturbed_is_bad() -> None:
    found = health(disturbed="had 61 % of its core", cpu_share=0.61)
    assert found.state == BAD
    assert found.text.startswith("Disturbed: 10 of 10 rows")
    assert "61 % of its core" in found.text


def test_without_a_clock_or_times_nothing_is_good() -> None:
    missing = health(clock_trial_id="none")
    assert missing.state == DOUBTFUL
    assert "No A/A interval" in missing.text
    untimed = health(speedup=None, speedup_low=None, speedup_high=None)
    assert untimed.state == DOUBTFUL
    assert untimed.text == "No row was timed"
    assert read_health(derive({})) is None


# strips


@cache
def _analysis() -> Analysis:
    return derive(tables.tables())


def strips(missing: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return heading and name of each strip; methods that are missing have no pictures."""
    analysis = _analysis()
    rows = analysis.classes[0].rows
    rows = rows.assign(page_name=rows["method"] + "-" + rows["steps"].map("{:.0f}".format))
    pictures = {
        row["trial_id"]: np.zeros((8, 1, 8, 8), np.uint8) for _, row in rows.iterrows() if row["method"] not in missing
    }
    found = choose_strips(rows, pictures, analysis.families)
    assert all(one.address.startswith("data:image/png;base64,") for one in found)
    return [(one.heading, one.name) for one in found]


def test_the_baseline_comes_first_then_a_row_of_each_family_at_as_many_evaluations() -> None:
    found = strips()
    assert found[0][0] == "baseline"
    assert [heading for heading, _ in found[1:]] == ["solver", "schedule", "early-exit"]
    assert len({name.rpartition("-")[2] for _, name in found}) == 1
    assert [heading for heading, _ in strips(missing=("ddim",))] == ["solver", "schedule", "early-exit"]
    assert strips(missing=tuple(tables.trials()["method"])) == []


def test_a_strip_shows_the_first_five_pictures() -> None:
    rows = DataFrame([tables.row("ddim", 5, 9.0, 1.0, is_baseline=True)])
    analysis = derive({"trials": rows})
    ranked = analysis.classes[0].rows.assign(page_name="ddim-5")
    pictures = np.arange(8, dtype=np.uint8)[:, None, None, None] * np.ones((8, 1, 4, 4), np.uint8)
    addresses = [
        choose_strips(ranked, {ranked["trial_id"][0]: found}, analysis.families)[0].address
        for found in (pictures, pictures[:5], pictures[:4])
    ]
    assert addresses[0] == addresses[1] != addresses[2]


def test_a_page_without_rows_has_a_top() -> None:
    analysis = derive({})
    top = make_top(analysis, build_leaderboard(analysis), (), {})
    assert top.chart is None
    assert top.health is None
    assert top.libraries == ()
    assert top.sentences[0].startswith("No trial has a VALID row")


# the library


@pytest.fixture
def made(tmp_path: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows when the bundle is made, in an empty cache folder."""
    calls: list[str] = []

    def make() -> str:
        calls.append("made")
        return f"vega {len(calls)}\n// whole\n"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(vega_bundle, "_make_bundle", make)
    return calls


def bundle() -> str:
    vega_bundle.vega_bundle.cache_clear()
    found = vega_bundle.vega_bundle().script
    vega_bundle.vega_bundle.cache_clear()
    return found


def test_the_bundle_is_made_once_and_a_torn_file_is_not_used(made: list[str], tmp_path: object) -> None:
    assert bundle() == bundle() == "vega 1\n// whole\n"
    (kept,) = (tmp_path / "oneclock").iterdir()  # type: ignore[operator]
    kept.write_text("vega 1")
    assert bundle() == bundle() == "vega 2\n// whole\n"
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_costs_time_alone(
    made: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")  # type: ignore[operator]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # type: ignore[operator]
    assert bundle() == "vega 1\n// whole\n"
    assert bundle() == "vega 2\n// whole\n"
    assert len(made) == 2
