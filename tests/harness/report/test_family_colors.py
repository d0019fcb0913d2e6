"""Colors of families: fixed, readable on their ground, and apart for readers without red or green cones."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from harness.planning.method_facts import collect_facts
from harness.report import family_colors as colors
from harness.report.family_colors import family_color, order_families

# linear RGB as readers without red and without green cones see it (Machado, Oliveira and Fernandes 2009)
PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]


def linear(color: str) -> np.ndarray:
    values = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(color: str, ground: str) -> float:
    """Return the contrast of WCAG 2."""
    bright = sorted(float(linear(one) @ [0.2126, 0.7152, 0.0722]) + 0.05 for one in (color, ground))
    return bright[1] / bright[0]


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Return the coordinates of linear RGB in OKLab, where equal distances look equal."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
             [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    axes = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return np.array(axes) @ np.cbrt(np.array(cones) @ np.clip(rgb, 0, 1))


def test_black_on_white_has_the_greatest_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("color", [*colors.COLORS, colors.BASELINE])
def test_colors_are_readable_on_white(color: str) -> None:
    assert contrast(color, "#ffffff") >= 3.6


@pytest.mark.parametrize("color", [*colors.DARK_COLORS, colors.DARK_BASELINE])
def test_colors_are_readable_on_a_dark_ground(color: str) -> None:
    assert contrast(color, "#15181e") >= 4.5


@pytest.mark.parametrize("palette", [colors.COLORS, colors.DARK_COLORS])
@pytest.mark.parametrize(("matrix", "least"), [(np.eye(3), 0.14), (PROTAN, 0.07), (DEUTAN, 0.07)])
def test_colors_lie_apart(palette: tuple[str, ...], matrix: np.ndarray, least: float) -> None:
    seen = [oklab(np.array(matrix) @ linear(color)) for color in palette]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) >= least


def test_a_family_keeps_its_color_in_a_suite_without_the_others() -> None:
    known = ["solver", "schedule", "early exit", "DDSM"]
    whole, part = order_families(known, known), order_families(known, ["DDSM"])
    assert family_color("DDSM", whole) == family_color("DDSM", part) != family_color("early exit", whole)


def test_a_family_that_is_not_registered_takes_no_color_of_another() -> None:
    known = ["solver", "schedule", "early exit"]
    before, after = order_families(known), order_families(known, ["a new one"])
    assert [family_color(name, before) for name in known] == [family_color(name, after) for name in known]
    assert family_color("a new one", after) not in {family_color(name, after) for name in known}


def test_families_after_the_last_color_and_unknown_ones_are_grey() -> None:
    n = len(colors.COLORS)
    names = order_families([f"family {place}" for place in range(n + 1)])
    assert len({family_color(name, names) for name in names[:n]}) == n
    assert {family_color(name, names) for name in (*names[n:], "unknown")} == {colors.OTHERS}
    assert family_color("unknown", names, dark=True) == colors.DARK_OTHERS


def test_every_shipped_family_has_a_color_in_both_modes() -> None:
    names = order_families(one.family for one in collect_facts() if one.family != "wrapped")  # anybody's function
    assert len(names) >= 9
    for dark in (False, True):
        shown = [family_color(name, names, dark) for name in names]
        assert len({*shown, colors.OTHERS, colors.DARK_OTHERS}) == len(names) + 2


def test_no_family_has_the_ink_of_the_baseline_or_the_grey_of_others() -> None:
    assert not {colors.BASELINE, colors.OTHERS} & set(colors.COLORS)
    assert not {colors.DARK_BASELINE, colors.DARK_OTHERS} & set(colors.DARK_COLORS)
