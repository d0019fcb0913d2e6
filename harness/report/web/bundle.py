"""The script of DataTables, as the installed package itables brings it, made fit to run inside a page.

It is read when a page is rendered; the project holds no copy.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

_EXPORTS = re.compile(r"export\s*\{([^{}]*)\};?")
_DEFAULT = re.compile(r"([\w$]+) as default")
_COMPONENT = re.compile(r"\*! DataTables (\d+\.\d[\d.]*)")


@dataclass(frozen=True)
class Bundle:
    """A library that runs inside the page, and the sentence that names its version, size and licence."""

    script: str
    note: str


@cache
def datatables_bundle() -> Bundle:
    """Return DataTables as a script that sets the global name `DataTable` and nothing else.

    The package holds an ES module, which a page without a server cannot import: its exports are taken off.
    Raises RuntimeError where the installed package is of another form.
    """
    text = (_package_folder("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    exports = list(_EXPORTS.finditer(text))
    default = _DEFAULT.search(exports[-1][1]) if exports else None
    if default is None:
        raise RuntimeError("itables' html/dt_bundle.js exports no default; expected DataTables as an ES module")

    # the module as a function of its own
    start, end = exports[-1].span()
    script = f'"use strict";(()=>{{{text[:start]}globalThis.DataTable={default[1]};{text[end:]}\n}})();'
    component = _COMPONENT.search(text)
    return Bundle(
        script,
        f"Tables: DataTables {component[1] if component else ''} (MIT licence) with jQuery (MIT), out of the "
        f"package itables {version('itables')} (MIT), {len(script.encode()) / 1e6:.2f} MB of this page.",
    )


def _package_folder(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed; `make install` installs it")
    return Path(spec.origin).parent
