"""Classes of images: functions of seed set and index, with the frequencies of their law."""

from __future__ import annotations

import numpy as np
import pytest

from harness.sampling.classes import draw_classes
from harness.specs.sampler import ClassesSpec

LAWS = [
    ClassesSpec(law="uniform", count=10),
    ClassesSpec(law="balanced", count=10),
    ClassesSpec(law="frequency", count=3, counts=(70, 0, 30)),
]


@pytest.mark.parametrize("spec", LAWS, ids=lambda spec: spec.law)
def test_a_class_depends_on_seed_set_and_index_alone(spec: ClassesSpec) -> None:
    whole = draw_classes(spec, 3, range(200))
    assert whole.dtype == np.int64
    assert draw_classes(spec, 3, [150, 7]).tolist() == [whole[150], whole[7]]
    assert not np.array_equal(whole, draw_classes(spec, 4, range(200)))
    assert 0 <= whole.min() <= whole.max() < spec.count


def test_uniform_classes_are_uniform() -> None:
    counts = np.bincount(draw_classes(LAWS[0], 0, range(10_000)), minlength=10)
    assert ((counts - 1000) ** 2 / 1000).sum() < 30  # chi-squared of 9 degrees, p = 0.0004


def test_frequent_classes_are_as_frequent_as_in_training() -> None:
    counts = np.bincount(draw_classes(LAWS[2], 0, range(10_000)), minlength=3)
    assert counts[1] == 0
    assert counts[0] == pytest.approx(7000, abs=200)


def test_balanced_classes_are_equally_many_in_every_run_and_not_aliased() -> None:
    spec = ClassesSpec(law="balanced", count=100)
    drawn = draw_classes(spec, 0, range(2000))
    assert all(sorted(drawn[start : start + 100]) == list(range(100)) for start in range(0, 2000, 100))
    assert len(set(drawn[::5])) > 95  # index modulo the classes would have 20


def test_one_class_for_all() -> None:
    assert draw_classes(ClassesSpec(law="one", count=10, one=7), 0, range(4)).tolist() == [7] * 4
