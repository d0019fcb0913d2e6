"""Limits of time and rules of repetition stand in `harness.specs.limits` and `harness.specs.rules`, nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.specs import limits
from harness.specs.rules import counting, quality, timing

ROOT = Path(__file__).resolve().parents[2]
HOMES = (limits, counting, quality, timing)
FILES = sorted(set((ROOT / "harness").rglob("*.py")) - {Path(str(home.__file__)).resolve() for home in HOMES})
WAITS = {"sleep", "wait", "join", "poll"}


def is_time(node: ast.expr | None) -> bool:
    """Tell whether an expression is a number, other than 0, which means not to wait."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value != 0


def bare_limits(tree: ast.Module) -> Iterator[int]:
    """Yield the lines that wait for a number of seconds, or name one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [word.value for word in node.keywords if word.arg in ("timeout", "timeout_s")]
            given += node.args[:1] if name in WAITS else []
            if any(map(is_time, given)):
                yield node.lineno
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            words = [word.id for one in names for word in ast.walk(one) if isinstance(word, ast.Name)]
            if any("SECONDS" in word.upper() for word in words) and any(map(is_time, values)):
                yield node.lineno
        if isinstance(node, ast.FunctionDef):
            given = [*node.args.posonlyargs, *node.args.args]
            pairs = [*zip(reversed(given), reversed(node.args.defaults), strict=False)]
            pairs += [*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
            if any(word.arg.endswith("seconds") and is_time(value) for word, value in pairs):
                yield node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_has_a_limit_of_its_own(file: Path) -> None:
    assert not list(bare_limits(ast.parse(file.read_text()))), "move the number to harness/specs/limits.py"


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(0.5)",
        "subprocess.run([], timeout=10)",
        "event.wait(3)",
        "_WAIT_SECONDS = 1.0",
        "A_SECONDS, B = 2, 3",
        "class A:\n    seconds: float = 5.0",
        "def f(wait_seconds: float = 2.0): ...",
    ],
)
def test_what_counts_as_a_limit(line: str) -> None:
    assert list(bare_limits(ast.parse(line)))


@pytest.mark.parametrize("line", ["ray.wait(refs, timeout=0)", "def f(seconds: float = 0.0): ...", "time.sleep(left)"])
def test_what_is_none(line: str) -> None:
    assert not list(bare_limits(ast.parse(line)))


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.__name__)
def test_every_limit_and_rule_has_its_sentence(home: object) -> None:
    body = ast.parse(Path(str(vars(home)["__file__"])).read_text()).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            assert said, f"line {node.lineno} has no sentence"
