"""Units of any sizes are paired image by image, in index order."""

from __future__ import annotations

import numpy as np
import pytest

from harness.tasks.fidelity import align


@pytest.mark.parametrize(("left", "right"), [((10,), (10,)), ((4, 6), (10,)), ((3, 3, 4), (5, 5)), ((1, 9), (9, 1))])
def test_units_of_any_sizes_are_aligned(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    whole = np.arange(10)
    sides = [iter(np.split(whole, np.cumsum(sizes)[:-1])) for sizes in (left, right)]
    found = list(align(*sides))
    assert [start for start, _, _ in found] == [int(own[0]) for _, own, _ in found]
    assert np.concatenate([own for _, own, _ in found]).tolist() == whole.tolist()
    assert all(own.tolist() == partner.tolist() for _, own, partner in found)


def test_a_side_that_ends_early_ends_the_pairs() -> None:
    assert sum(len(own) for _, own, _ in align(iter([np.arange(4)]), iter([np.arange(3)]))) == 3
