"""What a plan says about its results before anything runs: a sentence for each thing that will be empty or bounded.

Notes refuse nothing: something sensible comes out. What cannot come out at all is refused by harness.planning.checks
and harness.planning.quality_checks. `plan` and `run` both print all notes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from harness.data.cards import DatasetCard
from harness.metrics.picture_shapes import picture_shape
from harness.planning.links import find_missing_links
from harness.planning.plan import Plan
from harness.planning.quality_checks import feature_count
from harness.planning.trainings import trainings_of
from harness.registry import registry
from harness.specs.fidelity import FidelitySpec
from harness.specs.score import ScoreSpec
from harness.stats import GROUPS, group_bounds

_NAMED = 3
"""So many names a sentence holds; of more it says how many."""


def plan_notes(plan: Plan) -> tuple[str, ...]:
    """Return the sentences on a plan, those on quality first; all trials of the suite count, whatever was chosen."""
    return (
        *plan.left_out,
        *_channel_notes(plan),
        *_interval_notes(plan),
        *_baseline_notes(plan),
        *_target_notes(plan),
        *_margin_notes(plan),
        *_training_notes(plan),
        *_batch_notes(plan),
        *_solution_notes(plan),
        *_partner_notes(plan),
        *_link_notes(plan),
    )


def _channel_notes(plan: Plan) -> Iterator[str]:
    """Pictures of other channels than the feature network was made for."""
    name, _ = plan.suite.feature_network
    shape = picture_shape(name)
    for card in _datasets(plan):
        if shape.channels not in (None, card.channels):
            yield (
                f"the extractor {name} was made for pictures of {_count(shape.channels, 'channel')}, and those of "
                f'"{card.name}" have {card.channels}: it {shape.converts}'
            )


def _interval_notes(plan: Plan) -> Iterator[str]:
    """FIDs without an interval: a jackknife replicate needs more images than features, too."""
    extractor = plan.trials[0].row.extractor
    for card in _datasets(plan):
        dim, n = feature_count(extractor, card), plan.suite.n_images
        if not has_interval(n, dim):
            enough = next(more for more in range(n, 2 * (n + dim) + 2 * GROUPS) if has_interval(more, dim))
            yield (
                f'FID on "{card.name}" will have no interval, so nothing will be shown to be better: its replicates '
                f"leave out a {GROUPS}th of n_images = {n:,} and need more than the {dim:,} features of "
                f"{extractor.name}; set n_images to {enough:,} or more"
            )


def has_interval(n_images: int, dim: int) -> bool:
    """Tell whether the FID of so many images by so many features has a jackknife interval."""
    bounds = group_bounds(n_images)
    largest = max(end - begin for begin, end in itertools.pairwise(bounds))
    return n_images >= 2 * GROUPS and n_images - largest > dim


def _baseline_notes(plan: Plan) -> Iterator[str]:
    """Baselines of one step count, which are no curve to read."""
    steps: dict[str, set[int]] = {}
    for trial in plan.listed:
        if plan.baseline.includes(trial):
            steps.setdefault(trial.dataset.name, set()).add(trial.steps)

    for dataset, found in sorted(steps.items()):
        if len(found) == 1:
            yield (
                f'the baseline stands at {min(found)} steps alone on "{dataset}", and a curve needs two points: every '
                "speed-up at equal quality will be a bound or empty; list the baseline at further step counts"
            )


def _target_notes(plan: Plan) -> Iterator[str]:
    """FID targets that are missing, that no method has a curve for, or that lie below what the networks can reach."""
    targets = plan.suite.quality.targets
    missing = [name for name in plan.datasets if not targets.get(name)]
    if missing:
        names = " and ".join(f'"{name}"' for name in sorted(missing))
        yield (
            f"the suite names no FID targets for {names}, so no time to quality will be read; add two or three falling "
            f"FIDs as quality.targets.{min(missing)}"
        )

    for name in sorted(plan.datasets.keys() - missing):
        if all(len(steps) == 1 for steps in _steps_by_line(plan, name).values()):
            yield (
                f'no method on "{name}" stands at two step counts, so every time to a FID target will be a bound or '
                "empty; list more steps"
            )
        yield from _low_target_notes(plan, name, targets[name])


def _low_target_notes(plan: Plan, dataset: str, targets: Sequence[float]) -> Iterator[str]:
    """Targets below the limits of all networks, where all limits are known."""
    limits = {p.trial.network.name: p.row.network_limit for p in plan.trials if p.trial.dataset.name == dataset}
    known = {name: limit.fid for name, limit in limits.items() if limit is not None}
    if len(known) < len(limits) or len(plan.trials) < len(plan.listed):
        return

    best = min(known, key=lambda name: known[name])
    low = [f"{target:g}" for target in targets if target < known[best]]
    if low:
        yield (
            f'no network on "{dataset}" has a limit below the FID {" and ".join(low)} of the targets, the best is '
            f"{best} with {known[best]:.2f}: such a time will mostly be empty; set quality.targets.{dataset} higher"
        )


def _margin_notes(plan: Plan) -> Iterator[str]:
    """Controls of a suite that does not say what counts as equal."""
    if plan.suite.quality.equivalence_margin is None and any(trial.control_of for trial in plan.listed):
        yield (
            "the suite has controls and no quality.equivalence_margin, so no row can be shown to equal its control; "
            "set the difference of FID that counts as none"
        )


def _training_notes(plan: Plan) -> Iterator[str]:
    """Networks that have one training in a suite of several."""
    wanted = plan.suite.trainings
    found = {trial.network.name: trainings_of(trial.network, wanted) for trial in plan.listed}
    fewer = sorted(f"{name} {number}" for name, number in found.items() if number < wanted)
    if fewer:
        yield (
            f"trainings = {wanted}, and of some networks there are fewer: {', '.join(fewer)} (one of exact networks "
            "and weights from a file); what one training shows is said of that training alone"
        )


def _batch_notes(plan: Plan) -> Iterator[str]:
    """Batches that are larger than all images together."""
    suite = plan.suite
    for key, batch in (("batch", suite.batch), ("timing.batch", suite.timing.batch)):
        if batch is not None and batch > suite.n_images:
            yield (
                f"{key} = {batch:,} is more than n_images = {suite.n_images:,}: batches will hold {suite.n_images:,}, "
                "and throughput is that of this size"
            )


def _solution_notes(plan: Plan) -> Iterator[str]:
    """Rows that take as many evaluations as the reference solution that judges them."""
    wanted = plan.suite.truncation
    if wanted is None:
        return

    fine = 2 * wanted.steps - 1  # Heun's method takes two a step, in the last one
    names = [
        trial.printed_name
        for trial in plan.listed
        if registry().network(trial.network.family).trainable and trial.evaluations >= fine
    ]
    if names:
        yield (
            f"the reference solution of truncation errors has {fine} evaluations, no more than {_list(names)}: "
            "those errors will be too large or too small; raise truncation.steps"
        )


def _partner_notes(plan: Plan) -> Iterator[str]:
    """Samplers that run although they are no rows, since rows are compared with their images."""
    specs = [task.spec for task in plan.tasks.values()]
    scored = {spec.images_id for spec in specs if isinstance(spec, ScoreSpec)}
    compared = {task.id: task.spec for task in plan.tasks.values() if isinstance(task.spec, FidelitySpec)}
    extra = {task_id for task_id, spec in compared.items() if spec.partner_images_id not in scored}

    names = [planned.row.partner for planned in plan.trials if planned.row.fidelity_id in extra]
    if names:
        yield (
            "images of accelerated rows are compared with those without acceleration, and what makes these is no row "
            f"of the suite: {_list(names)}; list it to see its FID, or set fidelity.measure = false to do without"
        )


def _link_notes(plan: Plan) -> Iterator[str]:
    """Links of gains that no two rows show, where the whole suite is planned."""
    if len(plan.trials) < len(plan.listed):
        return
    baselines = {trial.dataset.name: trial for trial in plan.listed if plan.baseline.includes(trial)}
    sentence = find_missing_links(plan.listed, baselines).sentence
    if sentence:
        yield sentence


def _datasets(plan: Plan) -> list[DatasetCard]:
    return [plan.datasets[name] for name in sorted(plan.datasets)]


def _steps_by_line(plan: Plan, dataset: str) -> Mapping[tuple[str, str], set[int]]:
    """Return the step counts of each network and method on a data set."""
    found: dict[tuple[str, str], set[int]] = {}
    for trial in plan.listed:
        if trial.dataset.name == dataset:
            found.setdefault((trial.network.name, trial.method), set()).add(trial.steps)
    return found


def _list(names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    return ", ".join(different[:_NAMED]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
