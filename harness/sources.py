"""Which code decides a result: the modules that an entry point imports, hashed without their prose, and the libraries.

A better comment, a moved file or a new import line must not invalidate results. So comments, docstrings, blank lines,
import statements and what a class says for reports are blanked by their position in the token stream; the tokens
themselves, and `ast.dump`, differ between versions of Python. A file's name is not hashed. Imports inside functions
count; those under `if TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import sys
import tokenize
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

LEFT_OUT = {
    "harness.errors": "messages of errors, and suggestions of names",
    "harness.version": "the number of a release",
    "harness.task": "types of driver and workers, no figure",
    "harness.specs": "their values are in the identity field by field",
    "harness.identity": "how identities themselves are written",
    "harness.registry": "finds classes by name; the class's own code and its parameters are in the identity",
    "harness.config.network_card": "family and parameters are in the identity by value",
    "harness.config.toml_files": "reads cards, whose values are in the identity",
    "harness.measure.device_names": "a device's name is in the identity by value",
    "harness.data.cards": "a card's values are in the identity, and its pixels by their fingerprint",
}
"""Modules and packages that decide no result, with the reason; neither they nor what they import is followed."""
FOLLOWED = "harness.specs.rules"
"""A package among them whose modules do decide: the rules of a measurement are values that no Spec holds."""
FOR_REPORTS = ("method_family", "claim")
"""Class attributes that reports print: as prose, where a class body sets them to a string."""
_OWN = ("harness", "methods")
_SPACE = {tokenize.NL, tokenize.COMMENT, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
"""Nodes below which statements may stand: none does below an expression."""
_Span = tuple[tuple[int, int], tuple[int, int]]


@cache
def code_sha256(*entries: str) -> str:
    """Return the SHA-256 over the code of modules and of all that they import of their own package and of ours."""
    return hashlib.sha256(
        "".join(sorted(_file_sha256(path) for path in import_closure(*entries).values())).encode()
    ).hexdigest()


@cache
def library_versions(*entries: str) -> dict[str, str]:
    """Return the versions of the installed distributions that the modules of a closure import, by name."""
    found: dict[str, str] = {}
    for path in import_closure(*entries).values():
        for name in _imported(path, None):
            for distribution in _distributions().get(name.partition(".")[0], ()):
                found[distribution] = _version(distribution)
    return dict(sorted(found.items()))


@cache
def import_closure(*entries: str) -> Mapping[str, Path]:
    """Return the files, by module name, that import statements reach from the entries.

    Our own packages and those of the entries are followed; the standard library and installed libraries are not.
    """
    tops = {*_OWN, *(entry.partition(".")[0] for entry in entries)}
    found: dict[str, Path] = {}
    todo = list(entries)

    while todo:
        name = todo.pop()
        if name in found or _left_out(name):
            continue
        path = _file(name)
        if path is None:
            continue
        found[name] = path
        todo += [other for other in _imported(path, _package(name, path)) if other.partition(".")[0] in tops]
    return found


def _left_out(name: str) -> bool:
    parts = name.split(".")
    if name.startswith(f"{FOLLOWED}."):
        return False
    return any(".".join(parts[:n]) in LEFT_OUT for n in range(1, len(parts) + 1))


def strip_prose(source: str) -> str:
    """Return source text without comments, docstrings, blank lines, import statements and FOR_REPORTS."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    prose = list(_prose(tokens, _lines_for_reports(source)))
    lines = source.splitlines(keepends=True)
    kept = {
        row
        for token in _outside(tokens, prose)
        if token.type not in _SPACE
        for row in range(token.start[0], token.end[0] + 1)
    }

    # blank the prose, last span first
    for (first, left), (last, right) in reversed(prose):
        for row in range(first, last + 1):
            line = lines[row - 1]
            begin, end = left if row == first else 0, right if row == last else len(line.rstrip("\n"))
            lines[row - 1] = line[:begin] + " " * (end - begin) + line[end:]

    inside = _inside_strings(tokens)  # whose blanks are their own
    return "".join(line if row in inside else line.rstrip() + "\n" for row, line in enumerate(lines, 1) if row in kept)


def _lines_for_reports(source: str) -> set[int]:
    """Return the lines on which a class body sets one of FOR_REPORTS to a string, or declares it alone."""
    if not any(name in source for name in FOR_REPORTS):
        return set()
    bodies = [node.body for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return {one.lineno for body in bodies for one in body if _is_for_reports(one)}


def _is_for_reports(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    value = statement.value
    said = value is None or (isinstance(value, ast.Constant) and isinstance(value.value, str))
    return said and all(isinstance(one, ast.Name) and one.id in FOR_REPORTS for one in targets)


def _prose(tokens: list[tokenize.TokenInfo], for_reports: set[int]) -> Iterator[_Span]:
    """Yield the spans of comments, strings alone, import statements, and statements that begin `for_reports`."""
    begins = True  # of a logical line

    for number, token in enumerate(tokens):
        if token.type == tokenize.COMMENT:
            yield token.start, token.end
        elif token.type in _SPACE:
            begins = begins or token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        else:
            if begins and token.type == tokenize.STRING and (end := _alone(tokens, number)):
                yield token.start, end
            elif begins and (token.string in ("import", "from") or _begins_for_reports(token, for_reports)):
                yield token.start, _statement_end(tokens, number)
            begins = token.string == ";"


def _begins_for_reports(token: tokenize.TokenInfo, lines: set[int]) -> bool:
    return token.string in FOR_REPORTS and token.start[0] in lines


def _alone(tokens: list[tokenize.TokenInfo], number: int) -> tuple[int, int] | None:
    """Return where a statement of strings alone ends; None for any other statement."""
    last = number
    while tokens[last + 1].type in (tokenize.STRING, tokenize.NL, tokenize.COMMENT):
        last += 1
    return tokens[last].end if tokens[last + 1].type in (tokenize.NEWLINE, tokenize.ENDMARKER) else None


def _statement_end(tokens: list[tokenize.TokenInfo], number: int) -> tuple[int, int]:
    end = next(i for i in range(number, len(tokens)) if tokens[i].type == tokenize.NEWLINE or tokens[i].string == ";")
    return tokens[end - 1].end


def _outside(tokens: list[tokenize.TokenInfo], spans: list[_Span]) -> Iterator[tokenize.TokenInfo]:
    """Yield the tokens that no span holds; tokens and spans come in the order in which they begin."""
    waiting, end = deque(spans), (0, 0)
    for token in tokens:
        while waiting and waiting[0][0] <= token.start:
            end = max(end, waiting.popleft()[1])
        if token.end > end:
            yield token


def _inside_strings(tokens: list[tokenize.TokenInfo]) -> set[int]:
    """Return the rows that end inside a string, whose trailing blanks belong to it."""
    rows: set[int] = set()
    for token in tokens:
        if token.type not in _SPACE and token.end[0] > token.start[0]:
            rows |= set(range(token.start[0], token.end[0]))
    return rows


@cache
def _file_sha256(path: Path) -> str:
    return hashlib.sha256(strip_prose(path.read_text(encoding="utf-8")).encode()).hexdigest()


@cache
def _file(name: str) -> Path | None:
    """Return a module's source file, without importing anything; None if there is none."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        return Path(origin) if origin is not None and origin.endswith(".py") else None

    # not imported: only the top package is looked up, which imports nothing
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or not spec.has_location:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None

    for folder in map(Path, spec.submodule_search_locations or ()):
        below = folder.joinpath(*rest)
        for found in (below / "__init__.py", below.with_name(f"{below.name}.py")):
            if found.is_file():
                return found
    return None


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


@cache
def _imported(path: Path, package: str | None) -> tuple[str, ...]:
    """Return the modules that a file's import statements may mean, at any depth; relative ones by `package`."""
    found: list[str] = []
    for node in _import_statements(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (package is not None or not node.level):
            dots = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(dots, package) if node.level else dots
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


@cache
def _import_statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Return a file's import statements but for those under `if TYPE_CHECKING`."""
    found: list[ast.Import | ast.ImportFrom] = []
    todo: list[ast.AST] = [ast.parse(path.read_bytes())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        elif isinstance(node, ast.If) and _for_type_checkers(node.test):
            todo += node.orelse
        else:
            todo += [inner for inner in ast.iter_child_nodes(node) if isinstance(inner, _STATEMENTS)]
    return tuple(found)


def _for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


@cache
def _distributions() -> dict[str, Iterable[str]]:
    return {name: tuple(dict.fromkeys(names)) for name, names in packages_distributions().items() if name not in _OWN}


@cache
def _version(distribution: str) -> str:
    return version(distribution)


def clear_caches() -> None:
    """Clear the caches: a process reads and hashes each file once, so later edits need this."""
    for cached in (code_sha256, library_versions, import_closure, _file_sha256, _file, _imported, _import_statements):
        cached.cache_clear()
