"""Refuses plans whose rows cannot have the quality figures that make a row VALID.

A row without FID is INVALID, and no table, figure or rank shows it. So a suite that can have no FID is refused, also
where its times alone are wanted: no row of it would be shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.suite import Suite
from harness.data.cards import DatasetCard
from harness.data.splits import count_images
from harness.errors import UsageError
from harness.metrics.picture_shapes import find_extractors, picture_shape
from harness.planning.checks import is_expected_of
from harness.planning.trial import Trial
from harness.registry import registry
from harness.specs.reference import StatisticsSpec
from harness.specs.sampler import ExtractorSpec
from methods.networks.base import Network
from methods.parts import Executor, Method

_OF_SOLUTION = ("truncation_error", "own_truncation_error", "truncation_images")
_OF_OVERLAP = ("iterations", "distance_to_serial", "serial_latency_seconds", "speedup_over_serial")
"""How the columns begin that only executors fill which overlap steps."""


def check_quality(
    suite: Suite, trials: Sequence[Trial], extractor: ExtractorSpec, statistics: StatisticsSpec | None = None
) -> None:
    """Raise UsageError where no row on a data set can have a FID, or a known answer has no column to be read in.

    `statistics` are those of a file that stands for the reference split.
    """
    for card in {trial.dataset.name: trial.dataset for trial in trials}.values():
        check_picture_size(card, extractor)
        reference = count_images(card, card.reference) if statistics is None else statistics.n
        _check_count(card, extractor, suite.n_images, reference)

    for trial in trials:
        for method in trial.parts.values():
            _check_search(method, trial, extractor)
    _check_expected_columns(suite, trials)


def feature_count(extractor: ExtractorSpec, card: DatasetCard) -> int:
    """Return the features per image: the extractor's own number, else as many as an image has values."""
    return card.channels * card.resolution**2 if extractor.dim is None else extractor.dim


def check_picture_size(card: DatasetCard, extractor: ExtractorSpec) -> None:
    """Raise UsageError where a feature network was made for pictures of another size."""
    side, found = picture_shape(extractor.name).side, card.resolution
    if side not in (None, found):
        others = " or ".join(find_extractors(found))
        raise UsageError(
            f'the extractor {extractor.name} was made for {side}x{side} pictures, and those of "{card.name}" are '
            f"{found}x{found}; expected one that takes them, so set extractor to {others}"
        )


def _check_count(card: DatasetCard, extractor: ExtractorSpec, n_images: int, reference: int | None) -> None:
    """Refuse fewer images than features and one, on either side."""
    dim = feature_count(extractor, card)
    rule = f"for the {dim:,} features of {extractor.name}, and FID needs more images than features"
    if n_images <= dim:
        raise UsageError(
            f'every row on "{card.name}" would be INVALID: found n_images = {n_images:,} {rule}; '
            f"set n_images to {dim + 1:,} or more"
        )
    if reference is not None and reference <= dim:
        raise UsageError(
            f'every row on "{card.name}" would be INVALID: found {reference:,} reference images {rule}; '
            "choose an extractor of fewer features or a larger reference split"
        )


def _check_search(method: Method, trial: Trial, extractor: ExtractorSpec) -> None:
    """Refuse a search that scores its candidates by too few images."""
    found, dim = getattr(method.params, "search_images", None), feature_count(extractor, trial.dataset)
    if method.prepares and method.scores and isinstance(found, int) and found <= dim:
        raise UsageError(
            f"{trial.short} scores its candidates by search_images = {found:,} images for the {dim:,} features of "
            f"{extractor.name}, and FID needs more images than features; set search_images to {dim + 1:,} or more"
        )


def _check_expected_columns(suite: Suite, trials: Sequence[Trial]) -> None:
    """Refuse each known answer in a column that will be empty in the row that it is about."""
    for number, expected in enumerate(suite.expect):
        for trial in trials:
            reason = _why_empty(expected.column, trial, suite) if is_expected_of(expected, trial) else ""
            if reason:
                raise UsageError(
                    f'expect.{number}: "{expected.column}" of {trial.short} will be empty, as {reason}; '
                    "change that or remove the known answer"
                )


def _why_empty(column: str, trial: Trial, suite: Suite) -> str:
    """Return why a row will have no value in a column; "" where it may have one."""
    has_closed_form = registry().network(trial.network.family).flow is not Network.flow
    if column.startswith(_OF_SOLUTION) and suite.truncation is None and not has_closed_form:
        return f'the network "{trial.network.name}" has no exact solution and the suite no [truncation]'

    executor = trial.parts["executor"]
    if column.startswith(_OF_OVERLAP) and isinstance(executor, Executor) and not executor.parallel:
        return f'the executor "{executor.name}" overlaps no steps'
    return ""
