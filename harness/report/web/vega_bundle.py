"""Vega-Lite with Vega and vega-embed as one script, as vl-convert brings them.

Bundling takes seconds, so the script is kept in the user's cache folder, by its version.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from harness.report.web.bundle import Bundle

_SNIPPET = "globalThis.vegaEmbed = vegaEmbed;"
_KEPT_MARK = "// whole\n"
"""The last line of a kept script: a file without it is not used."""


@cache
def vega_bundle() -> Bundle:
    """Return a script that sets the global name `vegaEmbed` and nothing else."""
    release = version("vl-convert-python")
    kept = _cache_folder() / f"vega-{release}.js"
    script = _read_kept(kept)
    if not script:
        script = _make_bundle()
        _keep(kept, script)
    note = (
        "Chart: Vega-Lite, Vega and vega-embed (BSD licence), described by altair "
        f"{version('altair')} (BSD) and bundled by vl-convert {release} (BSD), {len(script.encode()) / 1e6:.2f} MB of "
        "this page. Expressions are interpreted, not evaluated as code."
    )
    return Bundle(script, note)


def _make_bundle() -> str:
    """Return the script, as a function of its own: its names stay inside."""
    import vl_convert

    return f'"use strict";(()=>{{{vl_convert.javascript_bundle(_SNIPPET)}\n}})();\n{_KEPT_MARK}'


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oneclock"


def _read_kept(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.endswith(_KEPT_MARK) else ""


def _keep(path: Path, script: str) -> None:
    """Write the script for later reports; a folder that cannot be written only costs time."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(script, encoding="utf-8")
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
