"""The output of a cut task of sampling: its units together, in one pass over them."""

from __future__ import annotations

from harness.specs.sample import Cost, Counts, Distances, SampleOutput


def unit(number: int, wrong_shape: list[int] | None = None, first_not_finite: int | None = None) -> SampleOutput:
    return SampleOutput(
        task_seconds=1.0 + number,
        seconds=0.5,
        network_seconds=0.25,
        counts=Counts(
            evaluations={0: 2, number: 3},
            units={0: {"network": 2}, number: {"network": 3, "head": 1}},
            iterations={number: 1},
            critical={0: 0.5},
            speculative=number,
            bytes_sent=10,
        ),
        not_finite=0 if first_not_finite is None else 1,
        first_not_finite=first_not_finite,
        constant=1,
        wrong_shape=wrong_shape,
        distances={"truncation_error": Distances(squared_errors=[float(number)], squared_norms=[1.0])},
        cost=Cost(units={}, network=7, coverage=1.0, parameters=1, sigmas=[], times=[]) if number == 1 else None,
    )


def test_counts_are_summed_and_distances_stay_in_order() -> None:
    whole = SampleOutput.merge_units([unit(1), unit(2)])
    assert (whole.task_seconds, whole.seconds, whole.network_seconds) == (5.0, 1.0, 0.5)
    assert whole.counts == Counts(
        evaluations={0: 4, 1: 3, 2: 3},
        units={0: {"network": 4}, 1: {"network": 3, "head": 1}, 2: {"network": 3, "head": 1}},
        iterations={1: 1, 2: 1},
        critical={0: 1.0},
        speculative=3,
        bytes_sent=20,
    )
    assert whole.constant == 2
    assert whole.distances["truncation_error"].squared_errors == [1.0, 2.0]
    assert whole.cost is not None
    assert whole.cost.network == 7


def test_the_first_wrong_shape_and_the_lowest_index_are_told_even_if_the_shape_has_no_axes() -> None:
    whole = SampleOutput.merge_units([unit(1, first_not_finite=9), unit(2, [], 4), unit(3, [5])])
    assert (whole.not_finite, whole.first_not_finite, whole.wrong_shape) == (2, 4, [])
    assert not whole.sound
