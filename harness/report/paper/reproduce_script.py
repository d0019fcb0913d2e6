"""The script that measures a paper's rows again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from pandas import DataFrame

from harness.report.formats import one_line

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_HEAD = """#!/bin/sh
# Written by oneclock paper: measures the rows of this paper again, each suite at the commit that measured it.
set -eu
"""


def reproduce_script(
    trials: DataFrame,
    address: str,
    shipped: Collection[str],
    settings: Sequence[str] = (),
    plug_ins: Sequence[str] = (),
) -> str:
    """Return a shell script for trials by suite and commit.

    `address` is the repository's; where it is empty, and for a suite that is not `shipped`, the script wants it as a
    variable, and so it does for methods from elsewhere, `plug_ins`. `settings` are the run's, as `--set` has them.
    """
    repository = "REPOSITORY=${REPOSITORY:?expected the address of a repository of oneclock}\n"
    lines = [_HEAD, f"REPOSITORY=${{REPOSITORY:-{shlex.quote(address)}}}\n" if address else repository]
    lines.append('git clone "$REPOSITORY" oneclock\ncd oneclock\n')

    measured = trials.assign(git_sha=trials["git_sha"].fillna(""), dirty=trials["git_dirty"].fillna(False).astype(bool))
    for (suite, sha), rows in measured.groupby(["suite", "git_sha"], sort=True):
        devices = sorted({one_line(name) or "an unnamed device" for name in rows["device_name"].fillna("")})
        lines.append(f"\n# {len(rows)} trials, measured on {' and '.join(devices)}\n")
        if rows["dirty"].any():
            lines.append("# changes that were not committed were part of this code: the figures may be others\n")
        known = _COMMIT.fullmatch(str(sha)) is not None
        lines.append(f"git checkout --quiet {sha}\n" if known else "# the rows do not say at which commit\n")
        lines.append(_install_plug_ins(plug_ins))
        lines.append(_run_suite(str(suite), str(suite) in shipped, settings))
    return "".join(lines)


def _install_plug_ins(names: Sequence[str]) -> str:
    """Return the lines that install methods that are not shipped; nothing where there are none."""
    if not names:
        return ""
    folders = '"${PLUG_INS:?expected the folder or package of the methods that oneclock does not ship}"'
    return (
        f"# not part of oneclock: {one_line(', '.join(names))}; PLUG_INS is the folder or package that has them\n"
        f"make install\n.venv/bin/python -m pip install --no-deps --no-build-isolation {folders}\n"
    )


def _run_suite(suite: str, is_shipped: bool, settings: Sequence[str]) -> str:
    name, before = shlex.quote(suite), ""
    if not is_shipped:
        before = f"# the suite {' '.join(suite.split())} is not shipped: SUITE_FILE is the path of its TOML file\n"
        name = '"${SUITE_FILE:?expected the path of the TOML file of the suite}"'
    if not settings:
        return f"{before}make benchmark SUITE={name}\n"
    words = " ".join(f"--set {shlex.quote(one)}" for one in settings)
    return f"{before}make install\n.venv/bin/python -m harness run {name} {words}\n"
