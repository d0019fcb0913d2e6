"""Words and paragraphs: lists of what is still to be mended, which may only shrink.

`debt.toml` holds, per rule, what breaks it today. A new offender fails; so does an entry that is mended and still
listed. Write it anew with `python -P tests/architecture/test_words.py`, and look at the difference: it must be shorter.
"""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBT = Path(__file__).with_name("debt.toml")
FORBIDDEN = ("told", "tells", "asked", "asks", "answers", "befell", "fate", "beside", "theirs", "whoever", "nobody")
"""Words of a story where the trade has a term; counted in comments and docstrings, file by file."""
LONGEST_RUN = 15
"""Lines of code in a function without a blank line or a comment."""
_INTERFACES = ("run", "main", "read", "recognises")
"""Names of functions that several modules have, since they are found by these names."""
SENTENCE_WORDS = 12
"""The median length of a docstring's sentence."""


@cache
def sources() -> dict[str, str]:
    """Return the text of every file of harness/ and methods/, by path."""
    files = sorted(path for room in ("harness", "methods") for path in (ROOT / room).rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}


def prose(text: str) -> Iterator[str]:
    """Yield the comments and docstrings of a file."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (found := ast.get_docstring(node)):
            yield found


def forbidden_words() -> dict[str, int]:
    """Return how many forbidden words each file has."""
    pattern = re.compile(rf"\b({'|'.join(FORBIDDEN)})\b", re.IGNORECASE)
    counts = {name: sum(len(pattern.findall(part)) for part in prose(text)) for name, text in sources().items()}
    return {name: count for name, count in counts.items() if count}


def unbroken_functions() -> dict[str, int]:
    """Return the functions with a run of lines without a break that is too long, and how long it is."""
    found = {}
    for name, text in sources().items():
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            run = longest = 0
            for line in lines[body[0].lineno - 1 : node.end_lineno] if body else ():
                run = 0 if not line.strip() or line.strip().startswith("#") else run + 1
                longest = max(longest, run)
            if longest > LONGEST_RUN:
                found[f"{name}:{node.name}"] = longest
    return found


def repeated_names() -> dict[str, int]:
    """Return public functions and classes that have more than one home.

    `run` and `main` are entries, `read` and `recognises` those of the formats that are imported.
    """
    homes: dict[str, set[str]] = defaultdict(set)
    for name, text in sources().items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes[node.name].add(name)
    return {name: len(files) for name, files in homes.items() if len(files) > 1 and name not in _INTERFACES}


RULES: dict[str, Callable[[], dict[str, int]]] = {
    "forbidden-words": forbidden_words,
    "unbroken-functions": unbroken_functions,
    "repeated-names": repeated_names,
}


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_added_to_what_is_still_to_be_mended(rule: str) -> None:
    allowed = tomllib.loads(DEBT.read_text(encoding="utf-8"))[rule]
    found = RULES[rule]()
    worse = {
        name: f"{count}, {allowed.get(name, 0)} before" for name, count in found.items() if count > allowed.get(name, 0)
    }
    mended = {
        name: f"{count} listed, {found.get(name, 0)} found"
        for name, count in allowed.items()
        if count > found.get(name, 0)
    }
    assert not worse, f"{rule}: mend these, or say it in the trade's words"
    assert not mended, f"{rule}: take these off {DEBT.name}"


def test_sentences_of_docstrings_are_short() -> None:
    parts = (part for text in sources().values() for part in prose(text))
    sentences = (
        sentence for part in parts for sentence in re.split(r"(?<=[.:;])\s+", part) if len(sentence.split()) > 2
    )
    assert statistics.median(len(sentence.split()) for sentence in sentences) <= SENTENCE_WORDS


def test_the_rules_find_what_they_are_for() -> None:
    assert Counter(prose('"""It tells."""\nx = 1  # whoever\n')) == {"It tells.": 1, "# whoever": 1}


if __name__ == "__main__":
    import tomli_w

    DEBT.write_text(
        tomli_w.dumps({rule: dict(sorted(find().items())) for rule, find in RULES.items()}), encoding="utf-8"
    )
