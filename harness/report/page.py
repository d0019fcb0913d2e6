"""What people read: templates filled in, every value escaped for the language around it.

Escaping is the environment's, not the template's: a template marks what is trusted (`safe`), and nothing else is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.formats import latex, markdown

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, **values: object) -> str:
    """Return a page that asks the network for nothing: everything inline, and a policy that forbids the rest.

    Values are escaped by jinja2; only our own style sheet and script are trusted, the script by its SHA-256.
    """
    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    trusted = {
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    }
    return _environment().get_template(template).render(**trusted, **values)


def render_markdown(template: str, **values: object) -> str:
    """Return a text in Markdown that shows every value as it is, without empty lines at its end."""
    environment = _environment(finalize=_escaping(markdown))
    return environment.get_template(template).render(**values).rstrip() + "\n"


def render_latex(template: str, **values: object) -> str:
    r"""Return a text for \input that typesets every value as it is; its template has << >> and <% %> for braces."""
    environment = _environment(
        finalize=_escaping(latex),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def _environment(**options: Any) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def _escaping(escape: Callable[[str], str]) -> Callable[[object], Markup]:
    """Return a function that makes any value text of a language; what it returns, jinja2 escapes no further."""

    def finalize(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(str(value)))

    return finalize
