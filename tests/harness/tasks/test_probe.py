"""New noise is looked at a second time where the first images stand out by chance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from harness.rows.evidence import TrialEvidence
from harness.rows.rules import worse_on_new_noise
from harness.sampling.noise import ImageNoise
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.audits import Probe
from harness.specs.rules.audits import FRESH_IMAGES, MORE_FRESH_FROM, MORE_FRESH_IMAGES
from harness.specs.rules.bounds import MOST_FRESH_ERROR
from harness.specs.sample import SampleOutput
from harness.task import Ranks
from harness.tasks import probe
from methods.denoisers.full import Full
from methods.executors.serial import Serial
from methods.networks.analytic import Analytic
from methods.networks.base import DataShape, NetworkParams
from methods.schedules.edm import EDM
from methods.solvers.ddim import DDIM

CPU = torch.device("cpu")
ALIKE, FAR = [0.1, 0.2, 0.3, 0.2, 0.1, 0.2], [0.5, 0.6, 0.7, 0.5, 0.6, 0.5]


def probe_of(monkeypatch: pytest.MonkeyPatch, *errors: Sequence[float]) -> tuple[Probe, list[list[int]]]:
    """Return the probe of an honest sampler whose distances are given, and of which images each was taken."""
    network = Analytic(NetworkParams(), DataShape(1, 8, {"means": [[0.0] * 64], "stds": [0.2], "weights": [1.0]}))
    sampler = Sampler(
        Full().build(network), EDM().levels(3, 0.002, 80.0), DDIM(), Serial(), ImageNoise("toy", 0, (1, 8, 8)), CPU
    )
    batch = probe.ProbedBatch(0, is_first=True)
    batch.keep(0, range(10), sampler.run(range(10)))
    left, seen = list(errors), list[list[int]]()

    def flow_errors(_: Sampler, __: object, indices: Sequence[int], finals: Sequence[torch.Tensor]) -> list[float]:
        assert sum(map(len, finals)) == len(indices)
        seen.append(list(indices))
        return list(left.pop(0))

    monkeypatch.setattr(probe, "_flow_errors", flow_errors)
    [found] = probe.run_probe(sampler, network, Group(Ranks(), CPU), batch, sound=True)
    return found, seen


def verdict(found: Probe) -> bool | None:
    known = TrialEvidence({}, [SampleOutput.model_construct(probes=[found])])
    [one] = worse_on_new_noise(known)
    return one.holds


def test_no_row_is_judged_by_the_first_look_alone() -> None:
    assert MORE_FRESH_FROM <= MOST_FRESH_ERROR


def test_new_images_among_scored_ones_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = probe_of(monkeypatch, [*ALIKE, 0.4, *FAR[1:]])
    assert [len(one) for one in seen] == [2 * FRESH_IMAGES]
    assert len(found.fresh_errors) == FRESH_IMAGES
    assert verdict(found)


@pytest.mark.parametrize(("more", "holds"), [(0.4, True), (0.5, False)])
def test_new_images_that_all_stand_out_are_judged_with_more(
    monkeypatch: pytest.MonkeyPatch, more: float, holds: bool
) -> None:
    found, seen = probe_of(monkeypatch, [*ALIKE, *FAR], [0.5] * (MORE_FRESH_IMAGES - 1) + [more])
    assert [len(one) for one in seen] == [2 * FRESH_IMAGES, MORE_FRESH_IMAGES]
    assert not set(seen[0]) & set(seen[1])
    assert (len(found.scored_errors), len(found.fresh_errors)) == (FRESH_IMAGES, FRESH_IMAGES + MORE_FRESH_IMAGES)
    assert verdict(found) is holds
