"""What the documents name exists: paths, tests, targets of make, verbs of the command line; the citation's version."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from harness.cli.app import app
from harness.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    *("CONTRIBUTING.md", "RELEASING.md", "README.md"),
    *(f"docs/{name}.md" for name in ("audits", "clusters", "faults", "networks", "photos", "reading", "reproduce")),
    *(f"docs/{name}.md" for name in ("samplers", "sharing", "timing", "zoo")),
)
FOLDERS = ("harness", "methods", "datasets", "tests", "results/reference", "docs")
WRITTEN = {
    *(
        "results/quick",
        "results/trainings",
        "plots",
        "steps",
        "timings",
        "checks",
        "searches",
        "calibration",
        "cifar10",
    ),
    *("mine.toml", "my-euler", "./pictures", "./ddpm-cifar10-32", "imported/NAME", "origin.json"),
}
"""What runs write and users bring: named in documents with or without a slash at the end, in no clone."""
PATH = re.compile(r"(?!\.venv/)[\w.*-]+(/[\w.*-]+)*/?(::\w+)?")
SUFFIX = re.compile(r"[\w.*-]*\w\.(py|toml|md|cff|csv|html|lock|safetensors|json)(::\w+)?|Makefile|LICENSE")


def spans(text: str) -> Iterator[str]:
    """Yield what stands between backticks on a line, outside of fenced blocks."""
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def commands(text: str) -> Iterator[str]:
    """Yield what may be commands: spans, and lines that are indented by four without their comments."""
    yield from spans(text)
    unfenced = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for line in re.findall(r"^    ((?:make|\.venv/bin/|git|python)\S* ?.*)$", unfenced, re.M):
        yield line.partition(" #")[0]


def exists(path: str) -> bool:
    """Tell whether a path is there; NAME in it stands for any name, `::test` for a test in the file."""
    name, _, test = path.partition("::")
    pattern = name.replace("NAME", "*").rstrip("/")
    if "/" in pattern or (ROOT / pattern).exists():
        found = sorted(ROOT.glob(pattern))
    else:
        found = [one for folder in FOLDERS for one in (ROOT / folder).rglob(pattern)]
    return bool(found) and (not test or any(f"def {test}(" in one.read_text(encoding="utf-8") for one in found))


def paths(text: str) -> Iterator[str]:
    """Yield the words of spans and commands that are paths, and where links lead to."""
    for span in commands(text):
        for word in span.split():
            if PATH.fullmatch(word) and ("/" in word or SUFFIX.fullmatch(word)) and word.rstrip("/") not in WRITTEN:
                yield word
    yield from (link.partition("#")[0].removeprefix("../") for link in re.findall(r"\]\(([^):]+)\)", text))


def targets(text: str) -> Iterator[str]:
    """Yield the targets of make that are named."""
    for span in commands(text):
        if found := re.match(r"make ([a-z][a-z-]*)", span):
            yield found[1]


def verbs(text: str) -> Iterator[list[str]]:
    """Yield the words after `oneclock`."""
    for span in commands(text):
        if found := re.match(r"(?:\.venv/bin/)?oneclock (.+)", span):
            yield shlex.split(found[1])


def is_verb(words: list[str]) -> bool:
    """Tell whether the first word is a verb, and the second one too where the first is a group of verbs."""
    command = typer.main.get_command(app)
    while (known := getattr(command, "commands", None)) is not None:
        if not words or words[0] not in known:
            return False
        command, words = known[words[0]], words[1:]
    return True


def missing(text: str) -> list[str]:
    """Return everything that a document names and that does not exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return [
        *(path for path in paths(text) if not exists(path)),
        *(f"make {target}" for target in targets(text) if not re.search(rf"^{target}:", makefile, re.M)),
        *(f"oneclock {' '.join(words)}" for words in verbs(text) if not is_verb(words)),
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_exists(name: str) -> None:
    assert missing((ROOT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(("name", "least"), [("CONTRIBUTING.md", (60, 8, 1)), ("RELEASING.md", (8, 8, 0))])
def test_a_document_is_really_looked_at(name: str, least: tuple[int, int, int]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = (len(set(paths(text))), len(list(targets(text))), len(list(verbs(text))))
    assert all(one >= wanted for one, wanted in zip(found, least, strict=True)), found


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("see `harness/nothing.py`", "harness/nothing.py"),
        ("see `nothing_of_this_name.py`", "nothing_of_this_name.py"),
        ("see `tests/nothing/`", "tests/nothing/"),
        ("write `harness/nothing/NAME.py`", "harness/nothing/NAME.py"),
        ("run `python -P tests/test_nothing.py`", "tests/test_nothing.py"),
        ("`tests/test_readme.py::test_nothing` fails", "tests/test_readme.py::test_nothing"),
        ("see [this](NOTHING.md)", "NOTHING.md"),
        ("run `make nothing`", "make nothing"),
        ("run\n\n    make nothing SUITE=quick   # why\n", "make nothing"),
        ("run `oneclock nothing`", "oneclock nothing"),
        ("run `oneclock export nothing`", "oneclock export nothing"),
        ("run\n\n    .venv/bin/oneclock nothing\n", "oneclock nothing"),
    ],
)
def test_what_does_not_exist_is_found(text: str, named: str) -> None:
    assert missing(text) == [named]


@pytest.mark.parametrize(
    "text",
    [
        "`harness/identity.py`, `LICENSE`, `harness/specs/NAME.py`, `early_exit.py`, [it](README.md#run-it)",
        "`tests/test_readme.py::test_make_targets_exist`, `make zoo ZOO=unet-8`, `oneclock zoo train unet-16`",
        "`git tag -a v0.1.0`, `u / n`, `http://HEAD:8265`, `2 / 3`",
    ],
)
def test_what_exists_is_not_missed(text: str) -> None:
    assert missing(text) == []


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == VERSION
    assert (str(cited["cff-version"]), cited["type"], cited["license"]) == ("1.2.0", "software", "Apache-2.0")
    assert cited["message"]
    assert cited["title"]
    assert cited["authors"]
