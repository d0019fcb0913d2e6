"""Names of methods as people type and tables print them: a part alone, or DENOISER/SOLVER@SCHEDULE/EXECUTOR."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import UsageError, did_you_mean
from harness.registry import registry
from methods.parts import PARTS


def parse_method(text: str, usual: Mapping[str, str]) -> dict[str, str]:
    """Return the parts that a name means, by part; a part alone replaces its own of the `usual` ones.

    UsageError for an unknown name, and for one of several parts.
    """
    if "(" in text:
        raise UsageError(
            f'"{text}" has parameters; expected a name without them, so add them in the file that is written'
        )
    words, at, schedule = text.partition("@")
    schedule, slash, executor = schedule.partition("/")
    if not at:
        return _parse_words(text, words.split("/"), usual)
    parts = _parse_words(text, [*words.split("/"), *([executor] if slash else [])], usual)
    return {**parts, "schedule": _checked("schedule", schedule)}


def _parse_words(text: str, words: list[str], usual: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of words around a slash: a solver with what stands before and after it, or a part alone."""
    if len(words) == 1:
        found = [part for part in PARTS if words[0] in _names(part)]
        if len(found) > 1:
            raise UsageError(
                f'"{text}" is a {" and a ".join(found)}; expected which, as tables name it: '
                "DENOISER/SOLVER@SCHEDULE/EXECUTOR"
            )
        if not found:
            known = {name for part in PARTS for name in _names(part)}
            raise UsageError(f'the method "{text}" is unknown{did_you_mean(text, known)} (see `oneclock ls methods`)')
        return {**usual, found[0]: words[0]}

    # a denoiser before the solver, an executor after it
    solver = next((k for k, word in enumerate(words) if word in _names("solver")), 0)
    order = [None, "denoiser", "solver", "executor", None]
    parts = {}
    for k, word in enumerate(words):
        place = 2 + k - solver
        part = order[place] if 0 <= place < len(order) else None
        if part is None:
            raise UsageError(f'"{text}" is no method; expected DENOISER/SOLVER@SCHEDULE/EXECUTOR')
        parts[part] = _checked(part, word)
    return parts


def _checked(part: str, name: str) -> str:
    return registry().method(part, name).name


def _names(part: str) -> set[str]:
    return {method.name for method in registry().methods(part)}
