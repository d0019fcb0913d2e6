"""Device-seconds of tasks before they run: from kept rates, an evaluation timed just now, or a guess from FLOPs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.planning.cost.flops_guess import AssumedSpeed, EvaluationFlops, assumed_speed, decoder_flops
from harness.planning.cost.schedule import TaskSeconds
from harness.planning.cost.unfinished import KeptTasks
from harness.planning.cost.work import Work, network_key, rest_keys, round_work, search_key, task_work, warm_up_seconds
from harness.planning.plan import Plan
from harness.specs.prepare import PrepareSpec
from harness.specs.rules.timing import ENERGY_SECONDS, TIERS
from harness.specs.time import TimeSpec
from harness.storage.run_rates import DeviceRates
from harness.task import Task

KEPT, NEAR, MEASURED, GUESSED = "kept", "near", "measured", "guessed"
"""Where an estimate comes from: the same work in an earlier run, other work like it, one evaluation, FLOPs."""
_DOUBTS = {KEPT: 0.2, NEAR: 0.35, MEASURED: 0.6, GUESSED: 1.1}
"""Half the width of a range, as a logarithm; what runs showed to differ comes on top."""
_FIXED = {"weights": 1.5, "reference": 2.0, "score": 0.2, "fidelity": 0.2, "fidelity-lpips": 10.0}
"""Seconds of tasks without a network, where no run has left a rate."""
_UNKNOWN_JOBS = 10


@dataclass(frozen=True)
class Estimate:
    """Seconds with a range, and where they come from."""

    seconds: float
    doubt: float
    """The range is from seconds / exp(doubt) to seconds * exp(doubt)."""
    source: str

    @property
    def low(self) -> float:
        return self.seconds * math.exp(-self.doubt)

    @property
    def high(self) -> float:
        return self.seconds * math.exp(self.doubt)


@dataclass(frozen=True)
class TaskEstimate:
    """What is left of a task: its device-seconds, and the longest part of them that runs in a row."""

    task: Task
    total: Estimate
    chain_share: float

    def at(self, seconds: float) -> TaskSeconds:
        """Return total and chain where the total is `seconds`."""
        return TaskSeconds(seconds, seconds * self.chain_share)


def speed_of(plan: Plan, rates: DeviceRates) -> AssumedSpeed:
    """Return the speed at which FLOPs are taken to run: that of all sampling in earlier runs, else an assumed one."""
    assumed, kept = assumed_speed(plan.device_class), rates.rates.get("flop")
    if kept is None:
        return assumed
    per_second = 1.0 / kept.value
    if not plan.device_class.startswith("cpu") and per_second < assumed.flops_per_second:
        return assumed  # small networks leave a GPU idle, larger ones do not
    words = f"the {per_second / 1e9:,.3g} GFLOP/s of sampling there"
    return AssumedSpeed(per_second, assumed.call_seconds, words, assumed.half_factor)


class TaskEstimator:
    """Estimates the tasks of one plan on one class of devices; `measured` holds seconds of an evaluation by network."""

    def __init__(
        self,
        plan: Plan,
        rates: DeviceRates,
        kept: KeptTasks,
        measured: Mapping[str, float] | None = None,
        batch: int = 1,
    ) -> None:
        self._plan, self._rates, self._kept = plan, rates, kept
        self._measured = measured or {}
        self.speed = speed_of(plan, rates)
        self._batch = batch
        flops = {key.removeprefix("flops "): one.value for key, one in rates.rates.items() if key.startswith("flops ")}
        cards = {network_key(planned.trial.model): planned.trial.network for planned in plan.trials}
        self._flops = EvaluationFlops(flops, cards)
        self.unknown: set[str] = set()
        """Networks whose FLOPs could not be had and of which no rate is kept: nothing is counted for them."""

    def estimate(self, task: Task) -> TaskEstimate:
        """Return what is left of a task."""
        if isinstance(task.spec, TimeSpec):
            return TaskEstimate(task, self._timing(task.spec), 1.0)
        if isinstance(task.spec, PrepareSpec) and task.spec.jobs is not None:
            return self._search(task, task.spec)

        # the share that is left
        units = self._kept.missing_units(task)
        share = 1.0 - self._kept.trained_share(task)
        if task.cut is not None:
            spans = [task.cut.span(number) for number in units]
            share = sum(span.stop - span.start for span in spans) / (task.cut.stop - task.cut.start)
        whole = self._seconds(task_work(task, self._plan.tasks))
        left = Estimate(whole.seconds * share, whole.doubt, whole.source)
        return TaskEstimate(task, left, 1.0 / max(len(units), 1))

    def fixed(self, keys: tuple[str, ...], amount: float, default: float) -> Estimate:
        """Return what is kept under the first known key times `amount`, else a default."""
        return self._from_rates(keys, amount) or Estimate(default, _DOUBTS[GUESSED], GUESSED)

    def _seconds(self, work: Work) -> Estimate:
        """Return the seconds of a whole task: by its own rates, else by those of its network's evaluations."""
        found = self._from_rates(work.keys, work.amount)
        if found is not None:
            return found
        if work.model is None:
            kind = work.keys[-1].split()[0]
            return Estimate(_FIXED.get(kind, 1.0), _DOUBTS[GUESSED], GUESSED)
        return self._evaluating(work, work.evaluations / max(self._batch, 1))

    def _evaluating(self, work: Work, calls: float) -> Estimate:
        """Return the seconds of the evaluations of some work, in so many calls."""
        model, evaluations = work.model, work.evaluations
        assert model is not None
        net = network_key(model)
        if net in self._measured:
            return Estimate(self._measured[net] * evaluations, _DOUBTS[MEASURED], MEASURED)
        kept = self._from_rates((f"evaluation {net}",), evaluations)
        if kept is not None:
            return Estimate(kept.seconds, max(kept.doubt, _DOUBTS[NEAR]), NEAR)

        flops = self._flops.of(model)
        if flops is None:
            self.unknown.add(model.network.name)
            return Estimate(0.0, _DOUBTS[GUESSED], GUESSED)
        seconds = evaluations * flops / self.speed.flops_in(work.precision) + calls * self.speed.call_seconds
        return Estimate(seconds + self._decoding_seconds(work), _DOUBTS[GUESSED], GUESSED)

    def _decoding_seconds(self, work: Work) -> float:
        """Return the seconds of decoding latents, by FLOPs; 0 where states are pictures, or nothing is known of it."""
        if work.decoder is None or work.model is None:
            return 0.0
        flops = decoder_flops(work.decoder, work.model.data.state_shape)
        if flops is None:
            self.unknown.add(work.decoder.name)
            return 0.0
        return work.decoded * flops / self.speed.flops_in("float32")

    def _timing(self, spec: TimeSpec) -> Estimate:
        """Return the seconds of a timing: warm-up, blocks of rounds, and the rest."""
        tier, work = TIERS[spec.tier], round_work(spec)
        one = self._from_rates(work.keys, work.amount)
        if one is None:
            one = self._evaluating(work, 2 * work.amount)
        blocks = self.fixed((f"blocks {spec.tier}",), 1.0, 1.0)
        rest = self.fixed(rest_keys(spec), 1.0, 0.5 + ENERGY_SECONDS * self._plan.device_class.startswith("cuda"))

        rounds = max(tier.seconds, tier.rounds * one.seconds)
        warm_up = warm_up_seconds(tier, one.seconds)
        doubt = one.doubt if rounds > tier.seconds else min(one.doubt, _DOUBTS[KEPT])
        return Estimate(blocks.seconds * rounds + warm_up + rest.seconds, doubt, one.source)

    def _search(self, task: Task, spec: PrepareSpec) -> TaskEstimate:
        """Return the seconds of a search: its jobs that are left, in rounds, and its conclusion."""
        assert spec.jobs is not None
        job_spec = spec.jobs.model_copy(update={"job": {}})
        job = self._from_rates(task_work(Task("", job_spec, ""), {}).keys, 1.0)
        done, in_round = self._kept.search_jobs(task)
        wanted = self.fixed(search_key(spec), 1.0, float(max(done + 2 * in_round, _UNKNOWN_JOBS)))
        left = max(wanted.seconds - done, float(in_round), 0.0)
        end = self._from_rates(task_work(task, {}).keys, 1.0)

        if job is None:  # the parameters tell of the whole search
            whole = self._seconds(Work((), 0.0, spec.model, task_work(task, {}).evaluations))
            return TaskEstimate(task, whole, 1.0 / max(in_round, 1))
        conclusion = 0.5 if end is None else end.seconds
        total = left * job.seconds + conclusion
        chain = (left / max(in_round, 1) * job.seconds + conclusion) / total if total else 1.0
        return TaskEstimate(task, Estimate(total, job.doubt, job.source), min(chain, 1.0))

    def _from_rates(self, keys: tuple[str, ...], amount: float) -> Estimate | None:
        """Return what is kept under the first key that is known; None if none is."""
        for number, key in enumerate(keys):
            rate = self._rates.rates.get(key)
            if rate is not None:
                source = KEPT if number == 0 else NEAR
                return Estimate(rate.value * amount, math.hypot(_DOUBTS[source], rate.spread), source)
        return None
