"""What templates do with values: each is escaped for its language, and one that is missing is an error."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

import pytest
from jinja2 import UndefinedError

from harness.report.leaderboard import Leaderboard
from harness.report.page import render_latex, render_markdown, render_page

Render = Callable[..., str]
EMPTY = Leaderboard((), (("<a_b>", "50 %", "$x$"),), "<0> & 1", None, (), "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("render", "template", "values", "shown"),
    [
        (render_page, "leaderboard.html.j2", {"board": EMPTY}, "<td>&lt;a_b&gt;</td><td>50 %</td><td>$x$</td>"),
        (render_markdown, "leaderboard.md.j2", {"board": EMPTY, "sections": {}}, r"| &lt;a\_b&gt; | 50 % | \$x\$ |"),
        (
            render_latex,
            "leaderboard.tex.j2",
            {"tables": (), "invalid": EMPTY.invalid},
            r"\textless{}a\_b\textgreater{} & 50 \% & \$x\$ \\",
        ),
    ],
)
def test_values_are_escaped_for_the_language_of_the_template(
    render: Render, template: str, values: dict[str, object], shown: str
) -> None:
    assert shown in render(template, **values)
    with pytest.raises(UndefinedError):
        render(template)


def test_scripts_run_by_their_hash_and_end_nowhere_too_early() -> None:
    scripts = ("const a = '</script><script>alert(1)</script>';", "const b = '<!-- <SCRIPT';")
    page = render_page("leaderboard.html.j2", scripts=scripts, styles=("p { color: red }",), board=EMPTY)
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert inline == [r"const a = '\x3C/script>\x3Cscript>alert(1)\x3C/script>';", r"const b = '\x3C!-- \x3CSCRIPT';"]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in inline]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'\"" in page.replace("&#39;", "'")
    assert "<style>p { color: red }</style>" in page


def test_a_page_without_scripts_allows_none() -> None:
    assert "script-src 'none'" in render_page("leaderboard.html.j2", board=EMPTY).replace("&#39;", "'")
