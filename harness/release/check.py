"""All checks before a release, in their order: what costs nothing first."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from harness.errors import UsageError, did_you_mean
from harness.release.documents import check_changelog, check_citation, check_version
from harness.release.findings import ReleaseFinding
from harness.release.reference_runs import check_reference_runs
from harness.release.wheel import FailedStepError, WheelCheck
from harness.source_tree import is_source_tree

PARTS = ("version", "changelog", "citation", "tree", "reference", "wheel", "install", "run")
_OF_WHEEL = ("wheel", "install", "run")
"""Parts each of which needs what the one before it made."""


def choose_release_parts(only: str | None) -> tuple[str, ...]:
    """Return the named parts in their order, all without a name; UsageError for another name."""
    wanted = [name.strip() for name in only.split(",")] if only else list(PARTS)
    for name in wanted:
        if name not in PARTS:
            raise UsageError(f'found the part "{name}"{did_you_mean(name, PARTS)}')
    return tuple(name for name in PARTS if name in wanted)


def check_release(root: Path, parts: Iterable[str], suite: str, options: Sequence[str]) -> Iterator[ReleaseFinding]:
    """Yield the findings of the parts as they come; `options` are those of the run.

    UsageError for a folder that is not this project's source tree.
    """
    if not is_source_tree(root):
        raise UsageError(f"{root} is no source tree of oneclock; expected a clone, since a release is made from one")
    with tempfile.TemporaryDirectory(prefix="oneclock-release-") as scratch:
        wheel = WheelCheck(root, Path(scratch))
        known: dict[str, Callable[[], Iterable[ReleaseFinding]]] = {
            "version": lambda: [check_version(root)],
            "changelog": lambda: [check_changelog(root)],
            "citation": lambda: [check_citation(root)],
            "tree": lambda: [_check_tree(root)],
            "reference": lambda: check_reference_runs(root),
            # those of the wheel
            "wheel": lambda: [wheel.check_contents()],
            "install": lambda: [wheel.check_installed()],
            "run": lambda: [wheel.check_run(suite, options)],
        }
        broken = ""
        for part in parts:
            if broken and part in _OF_WHEEL:
                yield ReleaseFinding(part, f"not tried, since {broken} failed", "mend that first")
                continue
            try:
                yield from known[part]()
            except FailedStepError as error:
                broken = part
                yield ReleaseFinding(part, str(error), "mend it, then check again")


def _check_tree(root: Path) -> ReleaseFinding:
    """Check that git knows of no change, so that the wheel is that of the commit."""
    done = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return ReleaseFinding("tree", "git knows no commit here", "check a clone")
    changed = done.stdout.splitlines()
    if changed:
        return ReleaseFinding("tree", f"{len(changed)} files are changed, such as {changed[0][3:]}", "commit them")
    return ReleaseFinding("tree", "everything is committed")
