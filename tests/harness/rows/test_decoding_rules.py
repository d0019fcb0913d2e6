"""Rules on decoding: its operators are counted apart from the network's, and its time is expected."""

from __future__ import annotations

import pytest

from harness.rows.evidence import TrialEvidence
from harness.rows.rules import other_precision, uncounted_flops, uncounted_time, work_not_done
from harness.rows.times import time_over_units
from harness.specs.audits import CountedWork, ImagesWork, TimedWork, TimeLooks
from harness.specs.sample import Cost, Counts, SampleOutput
from harness.specs.time import TimeOutput

COST = Cost(units={"network": 10}, network=10, coverage=1.0, parameters=7, sigmas=[1, 0], times=[1, 0], decoder=3)
NOTHING = Counts(evaluations={}, units={}, iterations={}, critical={}, speculative=0, bytes_sent=0)
SHARD = SampleOutput(
    seconds=1.0, network_seconds=1.0, counts=NOTHING, not_finite=0, first_not_finite=None, constant=0,
    wrong_shape=None, cost=COST,
)  # fmt: skip


def known(sampling: int = 400, decoding: int = 30, decoded: int = 10, number_format: str = "float32") -> TrialEvidence:
    """Return a batch of ten images, of four evaluations and one decoding each, as an independent counter saw it."""
    work = CountedWork(
        units={"network": 40},
        operator_flops={"bfloat16": sampling},
        decoded=decoded,
        decoding_flops={number_format: decoding},
    )
    return TrialEvidence({"n_images": 10}, [SHARD], precision="bfloat16", counted_batch=work)


@pytest.mark.parametrize(
    ("evidence", "uncounted", "missing"),
    [
        (known(), False, False),
        (known(decoding=31), True, False),
        (known(decoding=29), False, True),
        (known(decoded=0), True, False),
        (known(decoding=0), False, True),
        (known(sampling=401, decoding=29), True, True),
    ],
)
def test_decoding_is_held_against_its_own_count(evidence: TrialEvidence, uncounted: bool, missing: bool) -> None:
    assert any(one.holds is False for one in uncounted_flops(evidence)) == uncounted
    assert any(one.holds is False for one in work_not_done(evidence)) == missing


@pytest.mark.parametrize(("number_format", "holds"), [("float32", True), ("bfloat16", False)])
def test_a_decoder_runs_in_single_precision(number_format: str, holds: bool) -> None:
    assert [one.holds for one in other_precision(known(number_format=number_format))] == [holds]


@pytest.mark.parametrize(("decoder", "holds"), [(0.0, False), (0.6, True)])
def test_a_batch_may_take_as_long_as_its_decoding_besides(decoder: float, holds: bool) -> None:
    work = ImagesWork(evaluations=10, units={"network": 10}, iterations={})
    timed = TimedWork(
        kind="throughput", first=0, images=10, work=work, calls=1, images_sha256="", differences=[]
    )  # one run an image
    looks = TimeLooks(new_images={"throughput": 1.0}, units={"network": 0.2}, network=0.2, decoder=decoder)
    timing = TimeOutput(
        repetitions=[], virtual=[], peak_memory_bytes=None, energy_joules_per_image=None, device_name="", blocks=[],
        counted=0, own_cpu=True, warm_up_calls=1, work=[timed], looks=looks,
    )  # fmt: skip
    over = time_over_units(timing, flops_share=1.0, nfe=1.0)
    evidence = TrialEvidence({"n_images": 10}, [SHARD], over_units=over)
    assert [one.holds for one in uncounted_time(evidence)] == [holds]
