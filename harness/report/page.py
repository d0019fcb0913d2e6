"""Fills in templates; every value is escaped for the language around it.

The environment escapes, not the template.
A template marks what is trusted (`safe`), and nothing else is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report.formats import escape_latex, escape_markdown

TEMPLATES = Path(__file__).parent / "templates"


def render_page(template: str, scripts: Sequence[str] = (), styles: Sequence[str] = (), **values: object) -> str:
    """Return an HTML page that loads nothing: everything is inline, and its policy forbids the rest.

    Values are escaped by jinja2.
    `scripts` run in their order at the end of the page; `styles` follow the style sheet that all pages have.
    Both are trusted, and the policy names each script by its SHA-256, so no other one runs.
    """
    inline = [_inline_script(script) for script in scripts]
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in inline) or "'none'"
    trusted = {
        "styles": [Markup(style) for style in (read_template("style.css"), *styles)],
        "scripts": [Markup(script) for script in inline],
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}",
    }
    return _html_environment().get_template(template).render(**trusted, **values)


def read_template(name: str) -> str:
    """Return the text of a file of the folder of templates, such as a script or a style sheet."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _inline_script(script: str) -> str:
    """Return a script that HTML ends nowhere too early; `<` is escaped where it stands in strings of JavaScript."""
    return re.sub(r"<(?=!--|/?script)", r"\\x3C", script, flags=re.IGNORECASE)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render_markdown(template: str, **values: object) -> str:
    """Return Markdown that shows every value unchanged, without empty lines at its end."""
    environment = _environment(finalize=_escaping(escape_markdown))
    return environment.get_template(template).render(**values).rstrip() + "\n"


def render_latex(template: str, **values: object) -> str:
    r"""Return LaTeX for \input that typesets every value unchanged.

    Its template has << >> and <% %> in place of braces.
    """
    environment = _environment(
        finalize=_escaping(escape_latex),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


@cache
def _html_environment() -> Environment:
    """Return the environment of pages, which keeps compiled templates: a site has hundreds of pages."""
    return _environment()


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
    """Return a function that escapes any value; jinja2 escapes its result no further."""

    def finalize(value: object) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(str(value)))

    return finalize
