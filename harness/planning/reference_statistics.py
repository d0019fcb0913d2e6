"""A suite's file of reference statistics: read, checked against what is stated, and identified by its SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.config.suite import ReferenceSettings
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.fetching.lookup import find_file, offer_file
from harness.identity import file_sha256
from harness.planning.absent import ABSENT, AbsentThings
from harness.planning.quality_checks import feature_count
from harness.specs.reference import StatisticsSpec
from harness.specs.sampler import ExtractorSpec

if TYPE_CHECKING:
    from harness.metrics.statistics_file import StatisticsFile

_PROGRAMS = (".pkl", ".pickle", ".pt", ".pth")


def statistics_spec(
    given: ReferenceSettings, card: DatasetCard, extractor: ExtractorSpec, absent: AbsentThings
) -> StatisticsSpec:
    """Return the spec of a file of statistics for a data set and a feature network.

    UsageError for a file of another format, of another number of features, or made by another feature network or
    resize, and where one of these is not stated; an absent file is noted where it may be absent.
    """
    path = find_file(Path(given.statistics))
    if path.suffix.lower() in _PROGRAMS:
        raise UsageError(
            f"reference.statistics is {path}: {path.suffix} files can hold programs and are not read; expected the npz "
            "with mu and sigma, or a file of `oneclock reference`"
        )
    if not path.is_file():
        source = f" ({given.source})" if given.source else ""
        sentence = f"reference.statistics: found no file {path}; expected an npz with mu and sigma{source}"
        absent.add(UsageError(sentence), ", so put it there, or set reference.statistics to its path", offer_file(path))
        return _spec(given, extractor, path, ABSENT, given.n, given.source)

    from harness.metrics.statistics_file import read_statistics  # it imports what only metrics need

    found = read_statistics(path, str(path))
    _check_features(found, card, extractor, path)
    stated = _statements(given, found, path)
    _check_same_network(stated, found, extractor, path)
    if found.stated and found.stated["dataset"] != card.name:
        raise UsageError(f'{path} is of the data set "{found.stated["dataset"]}"; expected "{card.name}"')
    if found.n is not None and given.n not in (None, found.n):
        raise UsageError(f"{path} holds {found.n:,} images and reference.n is {given.n:,}; leave reference.n out")
    return _spec(given, extractor, path, file_sha256(path), found.n or given.n, given.source or _own_source(found))


def _spec(
    given: ReferenceSettings, extractor: ExtractorSpec, path: Path, sha256: str, n: int | None, source: str
) -> StatisticsSpec:
    return StatisticsSpec(
        path=str(path),
        sha256=sha256,
        n=n,
        extractor=given.extractor or extractor.name,
        resize=given.resize or extractor.resize,
        source=source,
    )


def _check_features(found: StatisticsFile, card: DatasetCard, extractor: ExtractorSpec, path: Path) -> None:
    wanted = feature_count(extractor, card)
    if len(found.mean) != wanted:
        raise UsageError(
            f"{path} is of {len(found.mean):,} features; expected the {wanted:,} of {extractor.name}, so give "
            "statistics that were made with it"
        )


def _statements(given: ReferenceSettings, found: StatisticsFile, path: Path) -> dict[str, str]:
    """Return extractor and resize: what the file says, else what the user states of it."""
    stated = {}
    for key in ("extractor", "resize"):
        wanted = getattr(given, key)
        if wanted is None and not found.stated:
            raise UsageError(
                f"{path} does not say which {key} made it; expected it with the path, as in reference = "
                '{ statistics = "FILE", extractor = "NAME", resize = "NAME" } (see `oneclock ls extractors`)'
            )
        if found.stated and wanted not in (None, found.stated[key]):
            raise UsageError(
                f'reference.{key} is "{wanted}" and {path} says "{found.stated[key]}"; leave reference.{key} out'
            )
        stated[key] = str(found.stated.get(key, wanted))
    return stated


def _check_same_network(stated: dict[str, str], found: StatisticsFile, extractor: ExtractorSpec, path: Path) -> None:
    """Refuse statistics of another feature network, resize or file of weights: their FIDs do not compare."""
    ours = {"extractor": extractor.name, "resize": extractor.resize}
    if found.stated:
        ours |= {"layer": extractor.layer, "extractor_sha256": extractor.sha256}
        stated = {key: found.stated[key] for key in ours}
    for key, wanted in ours.items():
        if stated[key] != wanted and wanted != ABSENT:
            raise UsageError(
                f'{path} was made with {key} = "{stated[key]}" and the suite measures with "{wanted}"; their FID would '
                "mean nothing, so give statistics of the same feature network"
            )


def _own_source(found: StatisticsFile) -> str:
    return f"{found.stated['dataset']} {found.stated['split']}, oneclock reference" if found.stated else ""
