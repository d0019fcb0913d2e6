"""What decides a result: prose, places and imports do not, every other letter of a module in the closure does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import sources

CODE = '''"""Head."""

from __future__ import annotations

import os  # why
from pathlib import (
    Path,  # a
    PurePath,
)

X = 1  # one
"""An attribute's sentence."""


def f(a: int) -> str:
    """Sentence."""
    import json

    text = """
    kept___

    # not a comment
    """
    return json.dumps(a) + text + f"{a!r:>{4}} # neither"


class C:
    "Sentence."

    import re; y = 2
'''.replace("___", "   ")
LEFT = '''X = 1
def f(a: int) -> str:
    text = """
    kept___

    # not a comment
    """
    return json.dumps(a) + text + f"{a!r:>{4}} # neither"
class C:
             ; y = 2
'''.replace("___", "   ")


def test_code_is_what_runs() -> None:
    assert sources.strip_prose(CODE) == LEFT


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Head."""', '"""Another head,\n\nlonger.\n"""', True),
        ('"""Head."""\n', "", True),
        ("# one", "# two", True),
        ("\n\n\ndef f", "\n\n\n\n# aside\ndef f", True),
        ('"""Sentence."""', "'''Other'''", True),
        ("import os  # why", "import sys", True),
        ("X = 1", "X = 2", False),
        ("kept   \n", "kept\n", False),
        ("# not a comment", "# a comment", False),
        ("kept   \n\n", "kept   \n", False),
        ("a!r", "a!s", False),
        ("y = 2", "y = 3", False),
        ("def f(a: int)", "def f(a: int = 1)", False),
    ],
)
def test_what_is_prose_and_what_is_not(old: str, new: str, same: bool) -> None:
    assert CODE.count(old) == 1
    assert (sources.strip_prose(CODE.replace(old, new)) == LEFT) == same


SAID = """class C:
    claim = (
        "it is "  # why
        "fast"
    )
    method_family: str = "a"
    name = "c"; claim = "b"

    def f(self):
        claim = "c"
        return claim
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"fast"', '"slow"', True),
        ('    method_family: str = "a"\n', "", True),
        ('claim = "b"', 'claim = "d"', True),
        ('name = "c"', 'name = "d"', False),
        ('        claim = "c"', '        claim = "d"', False),
        ('claim = "b"', "claim = compute()", False),
        ("claim = (", "claims = (", False),
    ],
)
def test_what_a_class_says_for_reports_decides_nothing(old: str, new: str, same: bool) -> None:
    assert SAID.count(old) == 1
    assert (sources.strip_prose(SAID.replace(old, new)) == sources.strip_prose(SAID)) == same
    assert "return claim" in sources.strip_prose(SAID)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a package `plug`, whose entry imports helpers in several ways."""
    files = {
        "__init__": "",
        "entry": "from . import near\ndef f():\n    from plug.inside import g\n    import plug.deep.below\n",
        "near": "import typing\nif typing.TYPE_CHECKING:\n    import plug.typed\nelse:\n    import plug.other\n",
        "inside": "import numpy as np\ng = 1\n",
        "typed": "a = 1\n",
        "other": "from plug import nothing\n",
        "deep/__init__": "",
        "deep/below": "from ..inside import g\nfrom .beside import h\n",
        "deep/beside": "h = 1\n",
        "apart": "b = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / "plug" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "plug"  # type: ignore[misc]
    for name in [name for name in sys.modules if name.partition(".")[0] == "plug"]:
        del sys.modules[name]
    sources.clear_caches()


def test_a_closure_follows_imports_wherever_they_stand(package: Path) -> None:
    found = set(sources.import_closure("plug.entry"))
    reached = {"plug", "plug.entry", "plug.near", "plug.inside", "plug.other", "plug.deep.below", "plug.deep.beside"}
    assert found == reached


def test_an_entry_outside_of_every_package_is_its_own_closure(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (package.parent / "alone.py").write_text("import json\n")
    assert list(sources.import_closure("alone")) == ["alone"]


@pytest.mark.parametrize(
    ("file", "text", "same"),
    [
        ("inside", "import numpy as np\ng = 2\n", False),
        ("inside", '"""A sentence."""\nimport numpy as np\n\n# why one\ng = 1\n', True),
        ("deep/beside", "h = 2\n", False),
        ("typed", "a = 2\n", True),
        ("apart", "b = 2\n", True),
    ],
)
def test_the_hash_changes_with_code_in_the_closure_alone(package: Path, file: str, text: str, same: bool) -> None:
    before = sources.code_sha256("plug.entry")
    (package / f"{file}.py").write_text(text)
    sources.clear_caches()
    assert (sources.code_sha256("plug.entry") == before) == same


def test_a_moved_module_is_the_same_code(package: Path) -> None:
    before = sources.code_sha256("plug.entry")
    (package / "deep" / "beside.py").rename(package / "deep" / "elsewhere.py")
    (package / "deep" / "below.py").write_text("from ..inside import g\nfrom .elsewhere import h\n")
    sources.clear_caches()
    assert sources.code_sha256("plug.entry") == before


def test_libraries_are_those_that_the_closure_imports(package: Path) -> None:
    assert list(sources.library_versions("plug.entry")) == ["numpy"]
    assert sources.library_versions("plug.apart") == {}
    assert {"deepspeed", "torch"} <= sources.library_versions("harness.training.trainer").keys()


def test_words_are_left_out_with_their_reasons() -> None:
    assert "harness.errors" not in sources.import_closure("harness.training.trainer")
    assert all(reason for reason in sources.LEFT_OUT.values())
