"""All files of a site, by relative path. Their bytes depend on the groups and sources alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.page import read_template, render_page
from harness.report.site.addresses import (
    FRONT,
    SUBMIT,
    board_address,
    file_names,
    root_of,
    row_address,
    table_address,
)
from harness.report.site.boards import make_board, networks_of
from harness.report.site.groups import SiteGroup, SiteSource
from harness.report.site.row_sheets import RowSheets
from harness.schema import TABLES

_STYLES = ("site.css",)
_DIGITS = 12
"""Of a SHA-256 on the front page."""
Addresses = dict[tuple[str, str], str]
"""Pages by data set and network."""


@dataclass(frozen=True)
class Download:
    """A file that can be fetched."""

    name: str
    address: str
    size: str
    columns: int
    """Of a stored table; 0 for another file."""


@dataclass(frozen=True)
class DatasetEntry:
    """A data set on the front page."""

    name: str
    title: str
    address: str
    networks: tuple[tuple[str, str, int], ...]
    """Name, page and rows of each network."""
    extractors: tuple[str, ...]
    devices: tuple[str, ...]
    suites: tuple[str, ...]
    ranked: int
    unranked: int


def site_files(
    groups: Sequence[SiteGroup],
    sources: Sequence[SiteSource],
    conflicts: Sequence[str] = (),
    titles: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """Return every file of the site by its relative path.

    `sources` are the folders that were given, with those refused; `conflicts` are sentences on rows that contradict
    another. `titles` name the data sets of the cards.
    """
    files = file_names(group.name for group in groups)
    addresses = _board_addresses(groups)

    # the boards, then what lists them
    pages: dict[str, bytes] = {}
    entries = [
        _add_dataset(pages, groups, files, addresses, name, (titles or {}).get(name, "")) for name in _datasets(groups)
    ]
    downloads = {group.name: list(_add_downloads(pages, group, files[group.name])) for group in groups}
    for group in groups:
        _add_rows(pages, group, files[group.name], addresses)

    pages[FRONT] = _page(
        FRONT,
        "site-front.html.j2",
        entries=entries,
        families=_families(groups),
        sources=sources,
        conflicts=conflicts,
        downloads=downloads,
    )
    pages[SUBMIT] = _page(SUBMIT, "site-submit.html.j2")
    return dict(sorted(pages.items()))


def _page(address: str, template: str, **values: Any) -> bytes:
    styles = [read_template(name) for name in _STYLES]
    known = {"root": root_of(address), "front": FRONT, "submit": SUBMIT}
    return render_page(template, styles=styles, **known, **values).encode()


def _datasets(groups: Sequence[SiteGroup]) -> list[str]:
    return sorted({str(name) for group in groups for name in group.rows["dataset"]})


def _board_addresses(groups: Sequence[SiteGroup]) -> Addresses:
    """Return the page of each data set, under the network "", and of each network on it."""
    found: Addresses = {}
    for name, folder in file_names(_datasets(groups)).items():
        found[name, ""] = board_address(folder)
        for network, file in file_names(networks_of(groups, name)).items():
            found[name, network] = board_address(folder, file)
    return found


def _add_dataset(
    pages: dict[str, bytes],
    groups: Sequence[SiteGroup],
    files: Mapping[str, str],
    addresses: Addresses,
    name: str,
    title: str,
) -> DatasetEntry:
    """Add the pages of a data set and of its networks; return its entry."""
    names = networks_of(groups, name)
    boards = {network: make_board(groups, files, name, network) for network in ("", *names)}
    links = tuple((one, addresses[name, one], boards[one].ranked + len(boards[one].unranked)) for one in names)

    for network, board in boards.items():
        address = addresses[name, network]
        pages[address] = _page(
            address,
            "site-board.html.j2",
            dataset=name,
            title=title,
            network=network,
            whole=addresses[name, ""],
            networks=links,
            board=board,
        )

    # its line on the front page
    found = [part.of.source.iloc[0] for part in boards[""].parts]
    suites = {str(suite) for group in groups for suite in group.rows.loc[group.rows["dataset"] == name, "suite"]}
    extractors = {f"{row['extractor'] or 'unnamed'} ({row['extractor_sha256'][:_DIGITS]})" for row in found}
    devices = {f"{row['devices']:.0f} × {row['device_name'] or 'unnamed device'}" for row in found}
    return DatasetEntry(
        name=name,
        title=title,
        address=addresses[name, ""],
        networks=links,
        extractors=tuple(sorted(extractors)),
        devices=tuple(sorted(devices)),
        suites=tuple(sorted(suites)),
        ranked=boards[""].ranked,
        unranked=len(boards[""].unranked),
    )


def _add_downloads(pages: dict[str, bytes], group: SiteGroup, file: str) -> Iterator[Download]:
    for name, data in sorted(group.downloads().items()):
        address = table_address(file, name)
        pages[address] = data
        stored = TABLES.get(name.removesuffix(".parquet"))
        yield Download(name, address, _size(len(data)), len(stored.columns) if stored else 0)


def _add_rows(pages: dict[str, bytes], group: SiteGroup, file: str, addresses: Addresses) -> None:
    sheets = RowSheets(group, file)
    for trial_id in map(str, group.rows["trial_id"]):
        sheet = sheets.make(trial_id)
        address = row_address(file, trial_id)
        pages[address] = _page(
            address,
            "site-row.html.j2",
            row=sheet,
            trial_id=trial_id,
            whole=addresses[sheet.dataset, ""],
            board=addresses[sheet.dataset, sheet.network],
        )


def _families(groups: Sequence[SiteGroup]) -> list[tuple[str, int]]:
    """Return the families of all rows with how many rows each has."""
    counts: dict[str, int] = {}
    for group in groups:
        for family in group.rows["family"]:
            counts[str(family)] = counts.get(str(family), 0) + 1
    order = dict.fromkeys(family for group in groups for family in group.analysis.families)
    return [(family, counts[family]) for family in order if family in counts]


def _size(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.0f} kB"
