"""The gallery: the baseline and each family's best row that takes no longer, from the same noises."""

from __future__ import annotations

from functools import cache

import numpy as np
from kit import tables
from pandas import DataFrame

from harness.report.analysis.derive import Analysis, derive
from harness.report.figures.plotted_times import add_plotted_times
from harness.report.web.gallery import GalleryGroup, make_gallery
from harness.report.web.sample_files import strip_width


@cache
def _analysis() -> Analysis:
    return derive(tables.tables())


def ranked() -> DataFrame:
    rows = _analysis().classes[0].rows
    return rows.assign(page_name=rows["method"] + "-" + rows["steps"].map("{:.0f}".format))


def gallery(rows: DataFrame, side: int = 8) -> tuple[GalleryGroup, ...]:
    pictures = {trial_id: np.zeros((8, 3, side, side), np.uint8) for trial_id in rows["trial_id"]}
    return make_gallery(rows, pictures, _analysis().families)


def test_the_baseline_comes_first_and_nobody_takes_longer() -> None:
    rows = ranked()
    times = add_plotted_times(rows).set_index("page_name")["image_ms"]
    groups = gallery(rows)
    assert groups
    for group in groups:
        assert group.strips[0].heading == "baseline"
        budget = times[group.strips[0].name]
        assert all(times[strip.name] <= 1.05 * budget for strip in group.strips)
        assert len({strip.heading for strip in group.strips}) == len(group.strips)


def test_a_family_shows_its_least_fid_within_the_time() -> None:
    rows = add_plotted_times(ranked())
    for group in gallery(rows):
        budget = rows.set_index("page_name")["image_ms"][group.strips[0].name]
        for strip in group.strips[1:]:
            fast = rows[(rows["family"] == strip.heading) & ~rows["is_baseline"] & (rows["image_ms"] <= 1.05 * budget)]
            plain = fast[fast["control_of_trial_id"] == ""]
            fast = fast if plain.empty else plain
            shown = float(rows.set_index("page_name")["fid"][strip.name])
            assert shown == fast["fid"].min()


def test_captions_give_time_and_fid() -> None:
    for group in gallery(ranked()):
        for strip in group.strips:
            assert " ms an image · FID " in strip.text
            assert "NFE " in strip.text


def test_pictures_are_enlarged_by_whole_factors_to_64_pixels() -> None:
    for side, factor in ((8, 8), (16, 4), (32, 2), (64, 1), (28, 3)):
        (first, *_) = gallery(ranked(), side)[0].strips
        assert first.width == factor * strip_width(5, side, side)
        assert first.width <= 5 * factor * side + 4 * 20


def test_rows_without_pictures_or_times_are_not_shown() -> None:
    rows = ranked()
    assert make_gallery(rows, {}, _analysis().families) == ()
    assert gallery(rows[rows["is_baseline"]]) == ()
    slow = rows.assign(pooled_seconds_per_image=np.nan, throughput_images_per_second=np.nan)
    assert gallery(slow) == ()
