"""The rules by which a row is VALID. Each is one function, named as the reason that it gives.

A rule yields what it found, what it expected, and whether that holds; nothing where it does not apply. Where it applies
and what it needs is not there, it says why. Bounds and their reasons stand in `harness.specs.rules.bounds`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.rows.evidence import RuleFinding, TrialEvidence, per_image
from harness.rows.expected import describe_work, expected_value, mean_work, refined_work
from harness.specs.rules.bounds import (
    FEW_EVALUATIONS,
    GREY_TOLERANCE,
    LEAST_BATCH_RATIO,
    LEAST_ESTIMATE_RESPONSE,
    LEAST_FRESH_ERROR,
    LEAST_LOW_LEVELS,
    LEAST_MEDIAN_RATIO,
    LOW_LEVEL,
    MOST_BESIDE_RATIO,
    MOST_FRESH_ERROR,
    MOST_IMAGE_RATIO,
    MOST_MISMATCH,
    MOST_MISMATCH_OF_FEW,
    MOST_NEW_RATIO,
    MOST_NOISE_RESPONSE,
    MOST_OVER_UNITS,
    MOST_REPEATED_RATIO,
    MOST_SEED_DIFFERENCE,
    STATE_TOLERANCE,
)
from harness.specs.rules.timing import MOST_DRIFT, TIERS
from harness.specs.sample import Cost, SampleOutput

_ERROR = "truncation_error"
_NO_IMAGES = "the reference is a file of mean and covariance, so no image was compared with its images"
NOT_PAIRED = "own noise, not paired"
UNSEEN_NETWORK = "a wrapped pipeline owns its network, whose calls are not seen"
_LOG = logging.getLogger("oneclock.rows.rules")


@dataclass(frozen=True)
class RuleCheck:
    """A rule and its finding; one without a finding does not apply."""

    rule: str
    finding: RuleFinding

    @property
    def reason(self) -> str:
        """Return the sentence of a row that breaks the rule."""
        return f"{self.rule}: {self.finding.found}, expected {self.finding.expected}"


Rule = Callable[[TrialEvidence], Iterator[RuleFinding]]


def judge(known: TrialEvidence) -> list[RuleCheck]:
    """Return the checks of all rules that apply, in their order; each is logged."""
    checks = [RuleCheck(rule_name(rule), finding) for rule in RULES for finding in _find(rule, known)]
    for one in checks:
        state = {True: "holds", False: "broken", None: "not tried"}[one.finding.holds]
        _LOG.debug("rule %s %s: found %s; expected %s", one.rule, state, one.finding.found, one.finding.expected)
    return checks


def _find(rule: Rule, known: TrialEvidence) -> Iterator[RuleFinding]:
    """Yield what a rule finds; of a pipeline that owns its network, that it cannot be tried without its calls."""
    if known.sees_network or rule not in _OF_SEEN_NETWORKS:
        return rule(known)
    return _untried(known, UNSEEN_NETWORK, " ".join((rule.__doc__ or "").split("\n")[0].split()))


def rule_name(rule: Rule) -> str:
    """Return the name of a rule as rows have it."""
    return rule.__name__.replace("_", "-")


# The images


def wrong_shape(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The sampler returns states of the shape that it was given."""
    wrong = [shard.wrong_shape for shard in known.shards if shard.wrong_shape is not None]
    found = f"the sampler returned {wrong[0]}" if wrong else "the shape that it was given"
    yield RuleFinding(not wrong, found, "the shape that it was given")


def nan_samples(known: TrialEvidence) -> Iterator[RuleFinding]:
    """No image holds NaN or infinity."""
    bad = sum(shard.not_finite for shard in known.shards)
    first = min((s.first_not_finite for s in known.shards if s.first_not_finite is not None), default=None)
    where = f", the first is image {first}" if bad else ""
    yield RuleFinding(not bad, f"{bad} of {known.n_images} images hold NaN or infinity{where}", "none")


def constant_images(known: TrialEvidence) -> Iterator[RuleFinding]:
    """At most half of the images have a single grey level."""
    constant = sum(shard.constant for shard in known.shards)
    found = f"{constant} of {known.n_images} images have a single grey level"
    yield RuleFinding(constant <= known.n_images / 2, found, "at most half")


def no_fid(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The images have an FID."""
    has = known.row.get("fid") is not None
    found = "an FID" if has else "; ".join(known.quality_reasons) or "the images could not be scored"
    yield RuleFinding(has, found, "an FID")


def fid_below_floor(known: TrialEvidence) -> Iterator[RuleFinding]:
    """FID is not below that of as many images drawn from the reference set itself, with replacement."""
    fid, least = known.row.get("fid"), known.row.get("fid_least")
    if fid is not None and least is not None:
        expected = f"at least {least:.4g}, which images drawn from the reference set itself have but once in a million"
        yield RuleFinding(fid >= least, f"FID {fid:.4g}", expected)


def seed_sets_disagree(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The same trial has the same FID from other initial noise, within what noise gives."""
    for difference, error in known.seed_differences:
        most = MOST_SEED_DIFFERENCE * error
        found = f"FID differs by {abs(difference):.3g} from that of another seed set"
        yield RuleFinding(abs(difference) <= most, found, f"at most {most:.3g}")


def copies_training_images(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The generated images are not those of the reference set."""
    if (copies := known.copies) is not None:
        found = f"{copies.rate:.1%} of {copies.images} images are nearer to a reference image than its neighbours allow"
        yield RuleFinding(copies.rate <= copies.highest, found, f"at most {copies.highest:.1%}")
    elif not known.has_reference_features:
        yield from _untried(known, _NO_IMAGES, "few images that are copies")


def nears_training_images(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The images as a whole are no nearer to reference images than those are to each other."""
    if (copies := known.copies) is not None:
        found = f"half of the images are nearer than {copies.median_ratio:.3g} of the distance between neighbours"
        yield RuleFinding(copies.median_ratio >= LEAST_MEDIAN_RATIO, found, f"at least {LEAST_MEDIAN_RATIO:g}")
    elif not known.has_reference_features:
        yield from _untried(known, _NO_IMAGES, "images as far from the reference as its own")


def leaves_the_flow(known: TrialEvidence) -> Iterator[RuleFinding]:
    """A deterministic sampler comes nearer to the exact solution of its noise than to that of other noise.

    One step cannot: it returns the mean of all images that the noise allows.
    """
    parts = [shard.distances[_ERROR] for shard in known.shards if _ERROR in shard.distances]
    mismatch = sum(value for part in parts for value in part.squared_mismatches)
    if mismatch > 0 and known.row["steps"] > 1:
        ratio = math.sqrt(sum(value for part in parts for value in part.squared_errors) / mismatch)
        found = f"a truncation error of {ratio:.3g} of the distance to solutions of other images"
        few = (known.row.get("nfe") or 0.0) < FEW_EVALUATIONS
        most = MOST_MISMATCH_OF_FEW if few or _is_coarse(known.shards[0].cost) else MOST_MISMATCH
        yield RuleFinding(ratio <= most, found, f"at most {most:g}")


def _is_coarse(cost: Cost | None) -> bool:
    """Tell whether nearly all levels of a grid are so high that the network's estimate there is a mean of images."""
    if cost is None:
        return False
    estimated = cost.sigmas[:-1]
    return sum(sigma < LOW_LEVEL * estimated[0] for sigma in estimated) < LEAST_LOW_LEVELS


# What an image may depend on


def depends_on_batch(known: TrialEvidence) -> Iterator[RuleFinding]:
    """An image is the same in another batch, in another order, and after other images."""
    most = STATE_TOLERANCE[known.rounding]
    differences = [one for probe in known.probes for one in probe.reordered]
    if not differences:
        yield from _untried(known, "no image was made again")
        return
    wrong = sum(one > most for one in differences)
    found = f"{wrong} of {len(differences)} images made again in other company differ, by up to {max(differences):.2g}"
    if wrong == len(differences) and known.row.get("solver") == "own":
        found += f" ({NOT_PAIRED})"
    yield RuleFinding(wrong <= known.may_differ(len(differences)), found, f"relative differences up to {most:g}")


def answers_from_noise(known: TrialEvidence) -> Iterator[RuleFinding]:
    """An image follows its noise: a small change of the noise changes it, and little."""
    for probe in known.probes:
        response = [change / probe.noise_change for change in probe.changes]
        rounding = STATE_TOLERANCE[known.rounding] / probe.noise_change
        middle = sorted(response)[len(response) // 2]
        found = f"a change of the noise by {probe.noise_change:g} changes images by {middle:.3g} times that"
        yield RuleFinding(0 < middle <= max(MOST_NOISE_RESPONSE, rounding), found, "more than 0, and no other images")


def worse_on_new_noise(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Images of noise that was never scored are as near to the flow as the scored ones."""
    for probe in known.probes:
        if not probe.fresh_errors or not probe.scored_errors:
            continue
        nearest, farthest = min(probe.fresh_errors), max(probe.scored_errors)
        most = max(MOST_FRESH_ERROR * farthest, LEAST_FRESH_ERROR)
        found = (
            f"a distance to the flow of at least {nearest:.3g} for new noise, at most {farthest:.3g} for scored images"
        )
        yield RuleFinding(nearest <= most, found, f"some of new noise at most at {most:.3g}")


def ignores_the_network(known: TrialEvidence) -> Iterator[RuleFinding]:
    """An image follows what the network estimates: a change of all estimates changes it as much."""
    for probe in known.probes:
        middle = sorted(probe.estimate_changes)[len(probe.estimate_changes) // 2] / probe.estimate_change
        found = f"a change of all estimates by {probe.estimate_change:g} changes images by {middle:.3g} times that"
        yield RuleFinding(middle >= LEAST_ESTIMATE_RESPONSE, found, f"at least {LEAST_ESTIMATE_RESPONSE:g}")


def weights_changed(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The network's weights are the same before and after."""
    changed = known.weights_changed or any(shard.weights_changed for shard in known.shards)
    found = "the weights of the network are others after the task" if changed else "the same weights"
    yield RuleFinding(not changed, found, "the same weights")


# The work


def no_network_calls(known: TrialEvidence) -> Iterator[RuleFinding]:
    """A trial on a network that has FLOPs evaluates it, and has FLOPs."""
    nfe, flops = known.row.get("nfe") or 0.0, known.row.get("flops_per_image") or 0.0
    if not known.sees_network:
        yield RuleFinding(flops > 0, f"{flops:.4g} FLOPs an image", "more than 0, by operators of torch")
    if not known.network_flops:
        return
    found = f"{nfe:.4g} evaluations and {flops:.4g} FLOPs an image"
    yield RuleFinding(nfe > 0 and flops > 0, found, f"more than 0 of both, of a network with {known.network_flops:.4g}")


def unknown_units(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Every unit that ran is one that the denoiser can run by itself, so that its FLOPs are known."""
    if known.shards and (cost := known.shards[0].cost) is not None:
        ran = {name for shard in known.shards for units in shard.counts.units.values() for name in units}
        unknown = sorted(ran - set(cost.units))
        expected = f"units of the denoiser: {', '.join(sorted(cost.units))}"
        yield RuleFinding(not unknown, f"units that ran: {', '.join(unknown or sorted(ran))}", expected)


def uncounted_flops(known: TrialEvidence) -> Iterator[RuleFinding]:
    """No operator runs that was not counted, at the network's boundary or as decoding."""
    for seen, counted in (pair for work in known.counted for pair in known.seen_and_counted(work)):
        found = f"operators did {seen:.5g} FLOPs where {counted:.5g} were counted"
        yield RuleFinding(seen <= counted, found, "no more than counted")


def work_not_done(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Operators do all the work that is counted, at the network's boundary and as decoding."""
    for seen, counted in (pair for work in known.counted for pair in known.seen_and_counted(work)):
        found = f"operators did {seen:.5g} FLOPs where {counted:.5g} were counted"
        yield RuleFinding(seen >= counted, found, "no less than counted")


def other_precision(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The network runs in the number format that the row says, and a decoder in float32."""
    for work in known.counted:
        total, decoding = sum(work.operator_flops.values()), work.decoding_flops
        other = total - work.operator_flops.get(known.precision, 0)
        other += sum(decoding.values()) - decoding.get("float32", 0)
        formats = ", ".join(f"{share / total:.0%} {name}" for name, share in work.operator_flops.items() if total)
        yield RuleFinding(not other, f"FLOPs in {formats or 'no format'}", f"all in {known.precision}")


def flop_counters_disagree(known: TrialEvidence) -> Iterator[RuleFinding]:
    """FlopCounterMode counts twice DeepSpeed's multiply-adds on this network."""
    if known.counters_agree is not None:
        found = (
            "two counters agree" if known.counters_agree else "FlopCounterMode is not twice DeepSpeed's multiply-adds"
        )
        yield RuleFinding(known.counters_agree, found, "FLOPs = 2 MACs")


def flop_coverage(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The counter saw the work of every matrix parameter."""
    share = known.row.get("flop_coverage")
    if share is not None:
        yield RuleFinding(share >= 1.0, f"the counter saw {share:.1%} of the matrix parameters run", "all")


# The time


def timed_images_differ(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Images of timed batches are the scored ones, byte for byte."""
    batches = [one for one in known.timed if one.images_sha256]
    wrong = [one for one in batches if known.scored_sha256.get((one.first, one.images)) != one.images_sha256]
    if wrong and not known.equal_bytes:
        yield RuleFinding(None, "kernels that a GPU chooses by their speed give other bytes elsewhere", "equal bytes")
    elif batches:
        found = f"{len(wrong)} of {len(batches)} timed batches are not the scored images"
        first = min((one.first for one in wrong), default=None)
        yield RuleFinding(not wrong, found + (f": from image {first} on" if wrong else ""), "equal bytes")
    elif known.timed:
        yield RuleFinding(None, "no timed batch is a scored one", "equal bytes")


def timed_alone_differs(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Images of timed calls of another size are the scored ones but for rounding."""
    others = [one for one in known.timed if not one.images_sha256]
    differences = [value for one in others for value in one.differences]
    most = GREY_TOLERANCE[known.rounding]
    if differences:
        wrong = sum(value > most for value in differences)
        found = f"{wrong} of {len(differences)} images differ from those of a batch, by up to {max(differences):.3g}"
        yield RuleFinding(
            wrong <= known.may_differ(len(differences)), found, f"mean differences up to {most:g} grey levels"
        )
    elif others:
        yield RuleFinding(None, "no image timed alone is among those kept of a batch", "equal images")


def timed_evaluations_differ(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Timed calls do the work of the scored ones: batch by batch, and alone for an image."""
    batches = {(batch.first, batch.images): batch for batch in known.batches}
    if not known.timed:
        return
    if not batches:
        yield RuleFinding(None, "the work of scored batches was not recorded", "equal work")
        return

    # the same batch: exactly
    same = [(one, batches[one.first, one.images]) for one in known.timed if (one.first, one.images) in batches]
    wrong = [one for one, batch in same if one.work != batch.work]
    if same:
        detail = f": {describe_work(wrong[0])}" if wrong else ""
        yield RuleFinding(not wrong, f"{len(wrong)} of {len(same)} timed batches did other work{detail}", "equal work")

    # other calls: each image, exactly where all images take equal work, else on average
    others = [one for one in known.timed if (one.first, one.images) not in batches and one.work.evaluations is not None]
    if others and known.equal_work and known.refines:
        yield from refined_work(known, others)
    elif others and known.equal_work:
        scored = per_image(known.batches[0].work, known.batches[0].images)
        unlike = [one for one in others if per_image(one.work, one.images) != scored]
        found = f"{len(unlike)} of {len(others)} kinds of call did other work" + (
            f": {describe_work(unlike[0])}" if unlike else ""
        )
        yield RuleFinding(not unlike, found, f"{scored[0]:.6g} evaluations an image, and equal units")
    elif others:
        yield from mean_work(known, others)


def timed_work_differs(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The training that was timed in this one's place takes as many FLOPs."""
    found = known.row.get("flops_per_image")
    if known.timed_flops is not None:
        text = f"an image takes {found:.4g} FLOPs, in the training that was timed {known.timed_flops:.4g}"
        yield RuleFinding(found == known.timed_flops, text, "as many, since all parts have fixed_work")


def latency_contradicts_throughput(known: TrialEvidence) -> Iterator[RuleFinding]:
    """A batch takes no less time than one image, and an image of it not much more than alone."""
    batch = known.row.get("throughput_batch")
    if known.ratio is None or not batch:
        return
    expected = f"{LEAST_BATCH_RATIO:g} to {MOST_IMAGE_RATIO * batch:g}"
    if known.row.get("devices", 1) > 1:
        yield from _untried(known, "its devices wait for each other, in a call with one image too", expected)
        return
    found = f"a call with {batch} images takes {known.ratio:.3g} times as long as a call with one"
    yield RuleFinding(LEAST_BATCH_RATIO <= known.ratio <= MOST_IMAGE_RATIO * batch, found, expected)


def remembers_images(known: TrialEvidence) -> Iterator[RuleFinding]:
    """Images that were never made before take as long as the timed ones."""
    if known.new_images_ratio is not None:
        found = f"new images take {known.new_images_ratio:.3g} times as long as the timed ones"
        yield RuleFinding(known.new_images_ratio <= MOST_NEW_RATIO, found, f"at most {MOST_NEW_RATIO:g}")
    for kind, one in known.repeats.items():
        ratio = one.new_seconds / one.timed_seconds
        found = f"in {kind}, new images take {ratio:.3g} times as long as images made before"
        yield RuleFinding(ratio <= MOST_REPEATED_RATIO, found, f"at most {MOST_REPEATED_RATIO:g}")
        found = f"in {kind}, new images take {one.new_flops:.6g} FLOPs, the same again {one.repeated_flops:.6g}"
        yield RuleFinding(one.new_flops == one.repeated_flops, found, "as many")


def uncounted_time(known: TrialEvidence) -> Iterator[RuleFinding]:
    """A batch takes little longer than the units of the network that it reports."""
    if known.row.get("devices", 1) > 1:
        found = "its devices wait for each other, so a batch takes longer than the units"
        yield from _untried(known, found, f"at most {MOST_OVER_UNITS:g} times as long")
    elif known.over_units is not None:
        found = f"a batch takes {known.over_units:.3g} times as long as the units that it reports"
        yield RuleFinding(known.over_units <= MOST_OVER_UNITS, found, f"at most {MOST_OVER_UNITS:g}")


def timing_too_short(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The timing did what its tier demands."""
    row = known.row
    rules = TIERS[row["timing_tier"]]
    pairs = (
        ("rounds", row["timing_rounds"], rules.rounds),
        ("seconds", row["timing_block_seconds"], rules.seconds),
        ("warm-up calls", row["warm_up_calls"], rules.warm_up_calls),
    )
    short = [f"{found:.4g} {what} of {least:g}" for what, found, least in pairs if found < least]
    found = ", ".join(short or [f"{found:.4g} {what}" for what, found, _ in pairs])
    yield RuleFinding(not short, found, f"what the tier {row['timing_tier']} demands")


# The device that was timed; nothing on a CPU


def foreign_process(known: TrialEvidence) -> Iterator[RuleFinding]:
    """No other process used the GPU during the timing block that counts, nor when it began."""
    check, share = known.row.get("foreign_check"), known.row.get("foreign_share")
    expected = "none"
    if check and share is None:
        yield from _untried(known, "NVML tells nothing of other processes, and torch nothing of memory", expected)
    elif check:
        yield RuleFinding(not share, f"{share:.0%} of the readings found another process, by {check}", expected)


def throttled(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The GPU was not throttled by heat or a fault of the power supply; a power limit is part of the device."""
    share = known.row.get("throttled_share")
    if share is not None:
        hottest = known.row.get("temperature_celsius")
        heat = "" if hottest is None else f", at up to {hottest:.0f} °C"
        yield RuleFinding(not share, f"{share:.0%} of the readings found the GPU throttled{heat}", "none")
    elif known.row.get("foreign_check"):
        yield from _untried(known, "NVML does not tell why the GPU's clock is what it is", "none")


def clock_drifts(known: TrialEvidence) -> Iterator[RuleFinding]:
    """On a GPU the clock trial takes as long in the second half of the block as in the first."""
    drift = known.row.get("clock_trial_drift")
    if drift is not None and known.row.get("foreign_check"):
        yield RuleFinding(abs(drift) <= MOST_DRIFT, f"its seconds moved by {drift:+.1%}", f"at most {MOST_DRIFT:.0%}")


def slowed_by_neighbours(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The clock trial takes as long next to the node's other GPUs as with the node to itself.

    Not for the tier "smoke", whose times rank with nothing.
    """
    if known.row["timing_tier"] == "smoke":
        return
    ratio, expected = known.row.get("clock_over_alone"), f"at most {MOST_BESIDE_RATIO:g}"
    if ratio is not None and known.on_clocks_node:
        found = f"beside its neighbours the clock takes {ratio:.3g} times as long as alone"
        yield RuleFinding(ratio <= MOST_BESIDE_RATIO, found, expected)
    elif known.row.get("timed_alone") == "device":
        why = "was timed alone on another node" if ratio is not None else "has no timing of its own"
        yield from _untried(known, f"the clock {why}", expected)


# What is known beforehand


def baseline_out_of_band(known: TrialEvidence) -> Iterator[RuleFinding]:
    """The baseline's FID lies where the suite says."""
    if known.band is not None and known.clock_fid is not None:
        low, high = known.band
        found = f"the baseline's FID is {known.clock_fid:.4g}"
        yield RuleFinding(low <= known.clock_fid <= high, found, f"{low:g} to {high:g}")


def known_answer(known: TrialEvidence) -> Iterator[RuleFinding]:
    """A column has the value that theory gives."""
    row = known.row
    for one in known.expectations:
        if (one.dataset, one.method, one.steps) != (row["dataset"], row["method"], row["steps"]):
            continue
        found = row.get(one.column)
        value, slack = expected_value(one, known.n_images)
        holds = found is not None and abs(found - value) <= slack
        yield RuleFinding(holds, f"{one.column} is {found}", f"{value:g} within {slack:.3g} ({one.source})")


RULES: tuple[Rule, ...] = (
    wrong_shape, nan_samples, constant_images, no_fid, fid_below_floor, seed_sets_disagree,
    copies_training_images, nears_training_images,
    leaves_the_flow, depends_on_batch, answers_from_noise, worse_on_new_noise, ignores_the_network, weights_changed,
    no_network_calls, unknown_units, uncounted_flops, work_not_done, other_precision, flop_counters_disagree,
    flop_coverage,
    timed_images_differ, timed_alone_differs, timed_evaluations_differ, timed_work_differs,
    latency_contradicts_throughput, remembers_images, uncounted_time, timing_too_short,
    foreign_process, throttled, clock_drifts, slowed_by_neighbours,
    baseline_out_of_band, known_answer,
)  # fmt: skip
"""All, in the order of a row's reasons."""

_OF_SEEN_NETWORKS = frozenset({
    leaves_the_flow, worse_on_new_noise, ignores_the_network, weights_changed, unknown_units, uncounted_flops,
    work_not_done, flop_counters_disagree, flop_coverage, timed_evaluations_differ, uncounted_time,
})  # fmt: skip
"""Rules that need the calls of the network."""


def unsound(shards: Sequence[SampleOutput], n_images: int) -> Iterator[str]:
    """Yield why the images are no images."""
    known = TrialEvidence({"n_images": n_images}, shards)
    for rule in (wrong_shape, nan_samples):
        yield from (RuleCheck(rule_name(rule), one).reason for one in rule(known) if not one.holds)


def _untried(known: TrialEvidence, why: str, expected: str = "the same images") -> Iterator[RuleFinding]:
    """Yield that a rule could not be tried, for images that are sound."""
    if all(shard.sound for shard in known.shards):
        yield RuleFinding(None, why, expected)
