"""The verb `site`: reads results folders, leaves out those with problems, and writes the pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from harness.cli.doctor import check_store
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.identity import canonical_json
from harness.planning.method_facts import collect_claims, collect_facts
from harness.report.facts import MethodFacts
from harness.report.site.addresses import FRONT
from harness.report.site.groups import SiteGroup, SiteSource
from harness.report.site.pages import site_files
from harness.report.web.sample_files import read_samples
from harness.runs.joined_tables import JoinedTables, group_by_suite, join_tables
from harness.runs.tables import Tables, load
from harness.storage.disk import swapped_folder

MARKER = "oneclock-site.json"
"""Names a folder as a site of ours, which may be replaced."""
_STORE = "store.json"


def write_site(places: Sequence[Path], to: Path) -> int:
    """Write the site of results folders, or of the folders in them; print what each brought; return its pages.

    A folder with problems is refused and listed with the reason. A site that is there is replaced as a whole.
    UsageError, and nothing is written, where no folder is left, or `to` is something else.
    """
    folders = _find_folders(places)
    _check_target(to, folders)
    names = _name_folders(folders)

    # what can be shown
    sources, taken = [], []
    for folder in folders:
        source, tables = _read_source(folder, names[folder])
        sources.append(source)
        taken += [tables] if tables is not None else []
        typer.echo(f"{source.name}: {source.reason or f'{source.rows} rows'}", err=bool(source.reason))
    if not taken:
        raise UsageError(f"{names[folders[0]]}: {sources[0].reason}; no folder is left, see `oneclock doctor`")

    joined = [join_tables(several) for several in group_by_suite(taken)]
    conflicts = [sentence for one in joined for sentence in one.conflicts]
    for sentence in conflicts:
        typer.echo(f"contradicts: {sentence}", err=True)

    facts = collect_facts()
    groups = [_make_group(one, names, facts) for one in joined]
    files = site_files(groups, sources, conflicts, _dataset_titles(groups))
    _write(files, to)
    return sum(name.endswith(".html") for name in files)


def _find_folders(places: Sequence[Path]) -> list[Path]:
    """Return results folders: those given, else those directly below one given, each once."""
    found: dict[Path, None] = {}
    for place in places:
        own = [place] if (place / _STORE).is_file() else sorted(path.parent for path in place.glob(f"*/{_STORE}"))
        if not own:
            raise UsageError(f"{place} holds no results; expected a results folder, or a folder of some")
        found.update(dict.fromkeys(path.resolve() for path in own))
    return list(found)


def _name_folders(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the names of folders on the pages: the last part of their path, two where several share it, no more."""
    last = Counter(folder.name for folder in folders)
    names = [folder.name if last[folder.name] == 1 else f"{folder.parent.name}/{folder.name}" for folder in folders]
    seen: Counter[str] = Counter()
    found = {}
    for folder, name in zip(folders, names, strict=True):
        seen[name] += 1
        found[folder] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return found


def _read_source(folder: Path, name: str) -> tuple[SiteSource, Tables | None]:
    """Return what a folder brings, or why it is refused; the reason names no path of this machine."""
    problems = [finding.sentence for finding in check_store(folder, fix=False) if finding.bad or finding.damage]
    if problems:
        reason = problems[0].removeprefix(f"{folder}: ").replace(str(folder), name)
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return SiteSource(name, reason=f"{reason}{more}"), None

    tables = load(folder)
    if tables.trials.empty:
        return SiteSource(name, reason="it holds no row of its plan"), None
    return SiteSource(name, tuple(sorted(set(map(str, tables.trials["suite"])))), len(tables.trials)), tables


def _make_group(joined: JoinedTables, names: dict[Path, str], facts: Sequence[MethodFacts]) -> SiteGroup:
    suites = sorted(set(map(str, joined.by_name["trials"]["suite"])))
    folders = dict.fromkeys(joined.folders.values())
    by_folder = {folder: [one for one, place in joined.folders.items() if place == folder] for folder in folders}

    pictures, claims = {}, {}
    for folder, trial_ids in by_folder.items():
        pictures.update(read_samples(folder / "samples", sorted(trial_ids)))
        claims.update({claim.name: claim for claim in collect_claims(folder.parent)})
    sources = {trial_id: names[folder] for trial_id, folder in joined.folders.items()}
    return SiteGroup(", ".join(suites), joined.by_name, facts, tuple(claims.values()), pictures, sources)


def _dataset_titles(groups: Sequence[SiteGroup]) -> dict[str, str]:
    """Return the titles of the data sets whose cards ship here."""
    found = {}
    for name in {str(name) for group in groups for name in group.tables["trials"]["dataset"]}:
        try:
            found[name] = load_card(name).title if not name.endswith(".toml") else ""
        except UsageError:
            continue
    return found


def _check_target(to: Path, folders: Sequence[Path]) -> None:
    """Raise UsageError for a target that is no site and not empty, or that lies in a results folder."""
    place = to.resolve()
    if inside := next((folder for folder in folders if folder == place or folder in place.parents), None):
        raise UsageError(f"{to} lies in the results folder {inside.name}; expected a folder of its own")
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise UsageError(f"{to} is no folder; expected a new one, or a site that is replaced")
    if to.is_dir() and any(to.iterdir()) and not (to / MARKER).is_file():
        raise UsageError(f"{to} is not empty and no site of this program; expected a new folder, or one with {MARKER}")


def _write(files: dict[str, bytes], to: Path) -> None:
    """Write all files to a new folder, which then takes the site's name."""
    marker = canonical_json({"format": "oneclock site", "front": FRONT}) + "\n"
    to.parent.mkdir(parents=True, exist_ok=True)
    with swapped_folder(to) as fresh:
        for name, data in {**files, MARKER: marker.encode()}.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
