"""What changes between two rows: paired where the noise is shared, and by Holm over the rows of two folders."""

from __future__ import annotations

import math
from typing import Any

import pytest
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.analysis.two_rows import RowChange, compare_folders, compare_rows, named_rows

WOBBLE = 0.5
"""How far each row's replicates swing about its FID, all together."""


def analysis(fids: dict[str, float], times: dict[str, float] | None = None, **changes: Any) -> Analysis:
    """Return a folder with these rows of 20 steps; a row's own swing comes from the parity of its name."""
    rows = [tables.row(name, 20, fid, (times or {}).get(name, 1.0), **changes) for name, fid in fids.items()]
    replicates = [
        {"trial_id": row["trial_id"], "attempt": 1, "group": k, "fid": row["fid"] + WOBBLE * (-1) ** k}
        for row in rows
        for k in range(tables.GROUPS)
    ]
    return derive({"trials": DataFrame(rows), "quality": DataFrame(replicates)})


def only(before: Analysis, after: Analysis) -> RowChange:
    (change,) = compare_folders(before, after).rows
    return change


def test_of_equal_noise_common_swings_cancel() -> None:
    change = only(analysis({"ddim": 5.0}), analysis({"ddim": 5.1}))
    assert change.fid.value == pytest.approx(0.1)
    assert change.fid.high - change.fid.low == pytest.approx(0, abs=1e-9)
    assert change.fid.is_shown


def test_of_other_noise_the_intervals_are_independent() -> None:
    change = only(analysis({"ddim": 5.0}), analysis({"ddim": 5.1}, state_shape="3x8x8"))
    half = math.hypot(0.04 * 5.0, 0.04 * 5.1)  # of the kit's rows
    assert (change.fid.low, change.fid.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert not change.fid.is_shown
    assert only(analysis({"ddim": 5.0}), analysis({"ddim": 5.4}, state_shape="3x8x8")).fid.is_shown


@pytest.mark.parametrize(
    ("column", "value", "figure"),
    [("n_images", 500, "fid"), ("extractor_sha256", "0" * 64, "fid"), ("device_name", "another", "time")],
)
def test_what_does_not_compare_says_why(column: str, value: object, figure: str) -> None:
    change = only(analysis({"ddim": 5.0}), analysis({"ddim": 5.4}, **{column: value}))
    found = getattr(change, figure)
    assert found.why_not.endswith(f"do not compare: other {column.replace('_', ' ')}")
    assert math.isnan(found.value)
    assert not found.is_shown


def test_a_slower_row_is_shown_by_its_ratio() -> None:
    change = only(analysis({"heun": 5.0}, {"heun": 1.0}), analysis({"heun": 5.0}, {"heun": 2.0}))
    assert change.time.value == pytest.approx(2.0, rel=0.01)
    assert change.time.low > 1
    assert change.time.is_shown
    assert not change.fid.is_shown


def test_one_shown_difference_is_less_sure_among_many_rows() -> None:
    """A p-value of 0.02 is shown by itself, and not among ten rows."""
    names = [f"method-{n}" for n in range(10)]
    shift, shape = 0.66, "3x8x8"  # 0.66 / hypot(0.4, 0.4) * 1.96 = 2.29, so p = 0.022
    before = analysis(dict.fromkeys(names, 10.0))
    after = analysis({**dict.fromkeys(names, 10.0), names[0]: 10.0 + shift}, state_shape=shape)
    (changed,) = (one for one in compare_folders(before, after).rows if one.fid.value)
    assert changed.fid.p == pytest.approx(10 * 0.0235, rel=0.2)
    assert not changed.fid.is_shown

    alone = only(analysis({names[0]: 10.0}), analysis({names[0]: 10.0 + shift}, state_shape=shape))
    assert alone.fid.is_shown


def test_rows_of_one_folder_have_no_name_left_out() -> None:
    found = compare_folders(analysis({"ddim": 5.0, "heun": 4.0}), analysis({"heun": 4.0, "unipc": 3.0}))
    assert [one.name for one in found.rows] == ["unet-small:heun-20"]
    assert found.only_before == ["unet-small:ddim-20"]
    assert found.only_after == ["unet-small:unipc-20"]


def test_two_rows_of_one_folder() -> None:
    one = analysis({"ddim": 5.0, "heun": 4.0}, {"heun": 0.5})
    rows = named_rows(one)
    change = compare_rows(one, rows["unet-small:ddim-20"], rows["unet-small:heun-20"])
    assert (change.name, change.other) == ("unet-small:ddim-20", "unet-small:heun-20")
    assert change.fid.value == pytest.approx(-1.0)
    assert change.fid.is_shown
    assert change.time.value == pytest.approx(0.5, rel=0.01)


def test_a_folder_is_equal_to_itself() -> None:
    one = analysis({"ddim": 5.0, "heun": 4.0})
    found = compare_folders(one, one)
    assert [(change.fid.value, change.fid.is_shown, change.time.is_shown) for change in found.rows] == [
        (0, False, False)
    ] * 2
