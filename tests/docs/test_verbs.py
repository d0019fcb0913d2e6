"""The page of verbs is the command line's own help.

Write it anew with `python -P tests/docs/test_verbs.py`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "verbs.md"
HEAD = """# Verbs: every option

`oneclock VERB --help` says the same. Results go to standard output or into files, messages to standard error. Exit
codes: 0 all is well, 1 a row is INVALID or a comparison fails, 2 a mistake in what was typed, 3 the results folder is
in use, 4 stored results are damaged, 5 the disk is full, 130 interrupted, 143 terminated. In a clone, `make benchmark`,
`make plan`, `make report`, `make submit` and `make attach` are short for the commonest; `make help` lists them.
"""
KINDS = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "PATH"}


def page() -> str:
    """Return the whole page, as the command line is now."""
    import typer

    from harness.cli.app import app

    return HEAD + "".join(_verbs(typer.main.get_command(app), "oneclock"))


def _verbs(group: Any, before: str) -> Iterator[str]:
    """Yield the sections of a group's verbs, and of groups of verbs below it."""
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{before} {name}")
        else:
            yield _section(f"{before} {name}", command)


def _section(called: str, command: Any) -> str:
    """Return the section of one verb: what it does, arguments, options, an example."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    parts = [f"\n## {' '.join(called.split()[1:])}\n\n```text\n{' '.join([called, *map(_usage, arguments)])}\n```\n"]

    for paragraph in re.split(r"\n\s*\n", command.help or ""):
        parts.append(f"\n{_escaped(' '.join(paragraph.split()))}\n")
    if command.params:
        parts.append("\n| | default | meaning |\n| --- | --- | --- |\n")
    parts += [f"| `{_named(one)}` | {_default(one)} | {_escaped(one.help or '')} |\n" for one in (*arguments, *options)]
    example = (command.epilog or "").removeprefix("Example: ")
    return "".join(parts) + (f"\nExample: `{example}`\n" if example else "")


def _usage(argument: Any) -> str:
    name = argument.name.upper()
    return f"{name if argument.required else f'[{name}]'}{'...' if argument.nargs == -1 else ''}"


def _named(one: Any) -> str:
    if one.param_type_name == "argument":
        return one.name.upper()
    kind = one.type_descriptor.annotation
    kind = (*getattr(kind, "__args__", ()), kind)[0]
    words = "/".join(item.value for item in kind) if issubclass(kind, Enum) else KINDS.get(kind)
    return max(one.opts, key=len) if one.is_flag else f"{max(one.opts, key=len)} {words}"


def _default(one: Any) -> str:
    if one.required:
        return "required"
    default = getattr(one.default, "value", one.default)
    return "" if default in (None, False, "", ()) else f"`{default}`"


def _escaped(text: str) -> str:
    """Return a text as Markdown shows it, also in a cell of a table."""
    return re.sub(r"(?<!\w)([*_<|])|([*_<|])(?!\w)", r"\\\1\2", " ".join(text.split()))


def test_the_page_of_verbs_is_the_command_line() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_it_has_every_verb_and_option() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^## ", text, re.M)) >= 20
    for part in ("## run\n", "## export schedule\n", "| `--only TEXT` |", "| `--in-process` |", "oneclock run SUITE\n"):
        assert part in text


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    PAGE.write_text(page(), encoding="utf-8")
