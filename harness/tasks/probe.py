"""Probe: a few scored images are made again in other company, while a counter of operators watches.

An image must not depend on its batch, its place in it, or earlier images, and must follow its noise continuously: a
sampler that looks up finished images by their noise does not. Which images are probed is drawn after they were made.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.measure.flow_error import flow_errors
from harness.measure.operator_flops import operator_flops
from harness.sampling.call_counts import CallCounts
from harness.sampling.ranks import Group
from harness.sampling.sampler import Sampler
from harness.specs.audits import CountedWork, Probe
from harness.specs.rules.audits import (
    FRESH_IMAGES,
    MORE_FRESH_FROM,
    MORE_FRESH_IMAGES,
    PROBE_ESTIMATE_CHANGE,
    PROBE_NOISE_CHANGE,
    PROBE_NOISE_CHANGE_OF_PICTURES,
    PROBED_IMAGES,
    PROBED_SPANS,
    WATCHED_PROBES,
)
from methods.networks.base import Network

_SEED = 1
"""Rank zero's command that all ranks take this number."""
_FIRST_FRESH = 1 << 42
"""Above all indices of scored images."""
_FIRST_OF_MORE = 1 << 43
"""Above all of the first fresh ones."""
_UNSOUND = 1 << 31
"""In place of a seed."""


@dataclass
class ProbedBatch:
    """A batch of a span, of which some images are probed after all are made; which batch cannot be foreseen."""

    number: int | None
    """Its place in the span; None where the span is not probed."""
    is_first: bool = False
    """Whether it is of the trial's first span."""
    indices: range = range(0)
    states: Tensor | None = None

    @classmethod
    def draw(cls, group: Group, first_span: bool, batches: int) -> ProbedBatch:
        """Return a batch of the span, the same on all ranks; the first span always has one, some others too."""
        wanted = first_span or secrets.randbelow(PROBED_SPANS) == 0
        drawn = share_number(group, secrets.randbelow(batches) if wanted else batches)
        return cls(drawn if drawn < batches else None, first_span)

    def keep(self, number: int, indices: range, states: Tensor) -> None:
        """Keep the final states [n, ...] of a batch if it is the one."""
        if number == self.number:
            self.indices, self.states = indices, states


def run_probe(sampler: Sampler, network: Network, group: Group, batch: ProbedBatch, sound: bool) -> Iterator[Probe]:
    """Yield the probe of a batch that was kept; nothing if rank zero found unsound images.

    All ranks must call. Its calls are not counted for the trial.
    """
    seed = share_number(group, secrets.randbelow(1 << 31) if sound else _UNSOUND)
    if batch.states is None or seed == _UNSOUND:
        return
    generator = torch.Generator().manual_seed(seed)
    is_watched = secrets.randbelow(WATCHED_PROBES) == 0
    rows = torch.randperm(len(batch.indices), generator=generator)[:PROBED_IMAGES].tolist()
    chosen = [batch.indices[row] for row in rows]

    # the same images in another order, among images of new noise, and with slightly other noise
    fresh = range(_FIRST_FRESH + FRESH_IMAGES * seed, _FIRST_FRESH + FRESH_IMAGES * (seed + batch.is_first))
    n, call_counts = len(chosen), CallCounts()
    initial = sampler.initial_state([*chosen, *fresh])
    change = PROBE_NOISE_CHANGE_OF_PICTURES if sampler.owns_network else PROBE_NOISE_CHANGE
    moved = _move(initial[:n], generator, change)
    watching: AbstractContextManager[Mapping[str, int]] = operator_flops() if is_watched else nullcontext({})
    with watching as flops:
        states = sampler.run([*chosen, *fresh, *chosen], call_counts, torch.cat([initial, moved]))
    again, new, changed = states[:n], states[n:-n], states[-n:]

    # with slightly other estimates, where they are seen
    few = 0 if sampler.owns_network else min(n, 2)
    stretched = again[:0]
    if few:
        stretched = sampler.run(chosen[:few], initial_state=initial[:few], factor=1 + PROBE_ESTIMATE_CHANGE)

    # distances to the flow, once in a trial
    known, errors = batch.indices[: len(fresh)], list[float]()
    if batch.is_first and not sampler.owns_network:
        errors = _flow_errors(sampler, network, [*known, *fresh], [batch.states[: len(known)], new])
        if share_number(group, _stands_out(errors, len(known))):
            more = range(_FIRST_OF_MORE + MORE_FRESH_IMAGES * seed, _FIRST_OF_MORE + MORE_FRESH_IMAGES * (seed + 1))
            errors += _flow_errors(sampler, network, more, [sampler.run(more)])

    scored = batch.states[rows]
    yield Probe(
        indices=chosen,
        reordered=relative_distances(again, scored),
        noise_change=change,
        changes=relative_distances(changed, again),
        estimate_change=PROBE_ESTIMATE_CHANGE,
        estimate_changes=relative_distances(stretched, again[:few]),
        work=counted_work(call_counts, flops) if is_watched else None,
        scored_errors=errors[: len(known)],
        fresh_errors=errors[len(known) :],
    )


def _flow_errors(sampler: Sampler, network: Network, indices: Sequence[int], finals: Sequence[Tensor]) -> list[float]:
    """Return the errors of final states; none where they are not of their shape."""
    initial = sampler.initial_state(indices)
    if sum(map(len, finals)) != len(initial) or any(one.shape[1:] != initial.shape[1:] for one in finals):
        return []
    sigmas = float(sampler.sigmas[0]), float(sampler.sigmas[-1])
    return flow_errors(
        sampler.whole_estimate(network, indices), initial, torch.cat(list(finals)), *sigmas, sampler.denoises_last
    )


def _stands_out(errors: Sequence[float], n_scored: int) -> bool:
    """Tell whether all images of new noise are farther from the flow than scored ones by a factor."""
    scored, fresh = errors[:n_scored], errors[n_scored:]
    return bool(scored and fresh) and min(fresh) > MORE_FRESH_FROM * max(scored)


def counted_work(call_counts: CallCounts, flops: Mapping[str, int]) -> CountedWork:
    """Return what the boundary counted, summed over steps, and what the operators did."""
    return CountedWork(units=call_counts.total_units(), operator_flops=dict(flops))


def relative_distances(states: Tensor, others: Tensor) -> list[float]:
    """Return, for each row, the RMS of the difference over that of the other; infinite where shapes or values fail."""
    if states.shape != others.shape:
        return [float(torch.finfo(torch.float64).max)] * len(others)
    states, others = states.double().flatten(1), others.double().flatten(1)
    found = (states - others).norm(dim=1) / others.norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.nan_to_num(found, nan=float("inf")).clamp(max=torch.finfo(torch.float64).max).tolist()


def share_number(group: Group, number: int) -> int:
    """Return rank zero's number, on every rank."""
    if group.size == 1:
        return number
    if group.is_rank_zero:
        group.broadcast_command(_SEED, number, 0)
        return number
    _, found = next(group.commands())
    return found.start


def _move(initial: Tensor, generator: torch.Generator, change: float) -> Tensor:
    """Return the states with each row's noise changed in a random direction, by this share of its norm."""
    direction = torch.randn(initial.shape, generator=generator, dtype=torch.float64).to(initial)
    length = initial.flatten(1).norm(dim=1) / direction.flatten(1).norm(dim=1)
    return initial + change * direction * length.view(-1, *[1] * (initial.ndim - 1))
