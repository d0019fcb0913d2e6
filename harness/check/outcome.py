"""What a check gives: pass, fail or not applicable, with what was found, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.errors import Terminated


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
        found = CheckOutcome(
            CheckState.failed,
            f"{type(error).__name__}: {text}" if text else type(error).__name__,
            "no exception",
            "see where it is raised: `oneclock run SUITE --pdb` opens Python's debugger there",
        )
    return replace(found, name=name or name_of(check))


def name_of(check: Callable[..., CheckOutcome]) -> str:
    """Return the name of a check, which is that of its function."""
    return check.__name__.removeprefix("check_").replace("_", "-")
