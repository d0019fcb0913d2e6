"""The documentation's fenced blocks, and what runs them: files are written, Python is executed, commands are typed.

A line `<!-- test: slow -->` before a block keeps it for the slow tests, `<!-- test: no -->` from being run at all.
A block with a title is a file of that name. In a block `console` a line that begins with "$ " is a command; the lines
after it must be in what it prints, with `...` for anything.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.registry import registry
from kit.cli_kit import Command
from kit.new_kit import make_known
from kit.python_path import prepended

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
SMALL = ("n_images=70", "timing.tier=smoke", "timing.batch=10")
"""What is set besides in every `oneclock run` and `oneclock retime` of a page, so that it takes seconds."""
_FENCE = re.compile(r'^(?:<!-- test: (\w+) -->\n)?```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True)
class Fence:
    """One fenced block of a page."""

    line: int
    test: str
    """slow, no, or empty."""
    language: str
    title: str
    text: str


def pages() -> list[Path]:
    """Return every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def fences(page: Path) -> list[Fence]:
    """Return the fenced blocks of a page in order, with files that they include."""
    text = page.read_text(encoding="utf-8")
    return [
        Fence(text[: found.start()].count("\n") + 1, found[1] or "", found[2], found[3] or "", _included(found[4]))
        for found in _FENCE.finditer(text)
    ]


def _included(text: str) -> str:
    return re.sub(
        r"^--8<--\n(\S+)\n--8<--\n", lambda found: (EXAMPLES / found[1]).read_text(encoding="utf-8"), text, flags=re.M
    )


class PageRunner:
    """Runs the blocks of one page in the current folder, one after the other."""

    def __init__(self, command: Command, site: Path) -> None:
        self.command = command
        self.site = site
        """Where packages go that a page installs; it must be on the search path."""
        self.names: dict[str, Any] = {"__name__": "page"}

    def run(self, fence: Fence) -> None:
        """Run one block; whatever it raises."""
        if fence.title:
            path = Path(fence.title)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fence.text, encoding="utf-8")
        elif fence.language == "python":
            exec(compile(fence.text, f"line {fence.line}", "exec"), self.names)
        elif fence.language == "console":
            for line, expected in commands(fence.text):
                check_output(self._typed(line), expected, line)

    def _typed(self, line: str) -> str:
        """Return what a command prints; it must succeed."""
        words = shlex.split(line, comments=True)
        if words[0] == "oneclock":
            small = [word for one in SMALL for word in ("--set", one)] if words[1] in ("run", "retime") else []
            said = self.command(*words[1:], *small)
            assert said.code == 0, f"{line}\n{said.out}{said.err}"
            return said.out
        if words[:3] == ["python", "-m", "pip"]:
            return self._installed(Path(words[-1]))
        assert words[:3] == ["python", "-m", "pytest"], f"no way to test {line}"
        return self._process([sys.executable, "-P", *words[1:], "-q", "-p", "no:cacheprovider"])

    def _installed(self, package: Path) -> str:
        make_known(package, self.site)
        importlib.invalidate_caches()
        registry.cache_clear()
        return ""

    def _process(self, words: list[str]) -> str:
        environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": prepended(self.site, ROOT)}
        done = subprocess.run(words, capture_output=True, text=True, timeout=250, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the commands of a block, each with the lines that it should print."""
    line, expected = "", list[str]()
    for row in text.splitlines():
        if row.startswith("$ "):
            if line:
                yield line, expected
            line, expected = row[2:], []
        elif row:
            expected.append(row)
    if line:
        yield line, expected


def check_output(printed: str, expected: list[str], line: str) -> None:
    """Raise AssertionError unless each expected line is in what was printed, blanks aside, in order."""
    rest = " ".join(printed.split())
    for one in expected:
        words = re.escape(" ".join(one.split())).replace(re.escape("..."), ".*?")
        found = re.search(words, rest)
        assert found, f"{line}: expected {one!r} in\n{printed}"
        rest = rest[found.end() :]
