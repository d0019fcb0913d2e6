"""What a check gives: pass, fail or not applicable, with what was found, what was expected and what to do."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from harness.errors import Terminated

_HARNESS = Path(__file__).resolve().parents[1]
_STANDARD = sysconfig.get_path("stdlib")
_LIBRARIES = ("torch", "numpy", "scipy", "pydantic")
_SEE_THERE = "see what is raised there: `oneclock run SUITE --pdb` opens Python's debugger at it"


class CheckState(StrEnum):
    """How a check ended, as it is printed."""

    passed = "pass"
    failed = "FAIL"
    absent = "n/a"


@dataclass(frozen=True)
class CheckOutcome:
    """The end of one check. `to_do` is one sentence for the author; only a failure has one."""

    state: CheckState
    found: str
    expected: str = ""
    to_do: str = ""
    name: str = ""


def conclude(passed: bool, found: str, expected: str, to_do: str) -> CheckOutcome:
    """Return a pass, or a failure with what to do."""
    state = CheckState.passed if passed else CheckState.failed
    return CheckOutcome(state, found, expected, "" if passed else to_do)


def not_applicable(why: str) -> CheckOutcome:
    """Return that a check says nothing about this method."""
    return CheckOutcome(CheckState.absent, why)


def run_check(check: Callable[..., CheckOutcome], *subjects: object, name: str = "") -> CheckOutcome:
    """Return the outcome of a check under its name, by default that of the function; an exception is a failure."""
    try:
        found = check(*subjects)
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300]
        sentence = f"{type(error).__name__}: {text}" if text else type(error).__name__
        found = CheckOutcome(CheckState.failed, f"{sentence}{_place(error)}", "no exception", _SEE_THERE)
    return replace(found, name=name or name_of(check))


def _place(error: BaseException) -> str:
    """Return file and line of a method's code that an exception passed last; "" where it passed none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not Path(one.filename).is_relative_to(_HARNESS) and not _is_library(one.filename)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _is_library(file: str) -> bool:
    """Tell whether a file is none of a method's: plug-ins are installed where libraries are."""
    path = Path(file)
    is_installed = any(part.endswith("-packages") for part in path.parts)
    is_standard = file.startswith("<") or (path.is_relative_to(_STANDARD) and not is_installed)
    return is_standard or any(part in _LIBRARIES for part in path.parts)


def name_of(check: Callable[..., CheckOutcome]) -> str:
    """Return the name of a check, which is that of its function."""
    return check.__name__.removeprefix("check_").replace("_", "-")
