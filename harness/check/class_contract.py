"""What every method declares: its name and summary, its parameters, and the attributes that a plan reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from harness.check.candidate import Candidate
from harness.check.outcome import CheckOutcome, conclude
from harness.config.network_card import NetworkCard
from harness.identity import canonical_json
from harness.sampling.network import network_params
from methods.parts import Denoiser, Executor, Method, Solver

LONGEST_SUMMARY = 100
"""Characters of a summary: `ls methods` prints it on one line."""
_PREPARED_FOR = {"steps", "schedule", "solver"}
_SEE = "the interface is methods/parts.py, its base class methods/method.py"


def check_name_and_summary(candidate: Candidate) -> CheckOutcome:
    """Compare what `ls methods` and tables print with what they have room for."""
    method = type(candidate.method)
    faults = list(_describe_faults_of_text(method))
    found = "; ".join(faults) or f'{method.name}: "{method.summary}"'
    expected = f"a docstring of its own, and a summary of one line of up to {LONGEST_SUMMARY} characters"
    return conclude(not faults, found, expected, "write them in the class's body")


def _describe_faults_of_text(method: type[Method]) -> Iterator[str]:
    summary = getattr(method, "summary", None)
    if not isinstance(summary, str) or not summary.strip():
        yield "no summary"
    elif "\n" in summary or len(summary) > LONGEST_SUMMARY:
        yield f"a summary of {len(summary)} characters on {summary.count(chr(10)) + 1} lines"
    if not (vars(method).get("__doc__") or _module_docstring(method)):
        yield "no docstring"


def _module_docstring(method: type[Method]) -> str:
    """Return the docstring of the module, which may say what the class is."""
    return getattr(sys.modules.get(method.__module__), "__doc__", None) or ""


def check_parameters(candidate: Candidate) -> CheckOutcome:
    """Check that parameters are closed, and the same after they were written as JSON and read."""
    method = candidate.method
    params, faults = type(method).Params, []
    if params.model_config.get("extra") != "forbid":
        faults.append("Params takes unknown keys")
    if not params.model_config.get("frozen"):
        faults.append("Params can be changed")

    # as a task's spec holds them
    written = method.params.model_dump(mode="json")
    canonical_json(written)
    try:
        if params(**written) != method.params:
            faults.append("parameters change when they are written and read")
    except ValidationError as error:
        faults.append(f"written parameters are refused ({error.errors()[0]['msg']})")

    names = ", ".join(f"{name}={value}" for name, value in written.items()) or "none"
    return conclude(
        not faults,
        "; ".join(faults) or names,
        "closed, frozen, of plain JSON values",
        "derive Params from methods.parts.Params, and give its fields types such as int, float, str, bool",
    )


def check_declarations(candidate: Candidate) -> CheckOutcome:
    """Check the types of all class attributes, and what the calls of planning return."""
    method, network = candidate.method, candidate.zoo_card.network
    faults = [
        *(f"{name} is {value!r}" for name, value, holds in _list_declarations(method) if not holds),
        *_describe_faulty_calls(candidate, network),
    ]
    count = len(list(_list_declarations(method)))
    found = "; ".join(faults) or f"{count} attributes, and the calls of planning"
    return conclude(not faults, found, "each of its type", f"correct them; {_SEE}")


def _list_declarations(method: Method) -> Iterator[tuple[str, Any, bool]]:
    """Yield name and value of each attribute, and whether it may have that value."""
    fields = set(type(method).Params.model_fields)
    yield "families", method.families, _is_names(method.families) and bool(method.families)
    for name in ("prepares", "scores"):
        yield name, getattr(method, name), isinstance(getattr(method, name), bool)
    yield (
        "prepares_for",
        method.prepares_for,
        _is_names(method.prepares_for) and set(method.prepares_for) <= _PREPARED_FOR,
    )
    for name in ("sampling_only", "search_only"):
        value = getattr(method, name)
        yield name, value, _is_names(value) and set(value) <= fields

    # of its part
    if isinstance(method, Solver):
        for name in ("order", "evaluations_per_step"):
            value = getattr(method, name, None)
            yield name, value, type(value) is int and value >= 1
    flags = {Solver: ("stochastic", "multistep"), Denoiser: ("has_memory", "own_flow"), Executor: ("parallel",)}
    for part, names in flags.items():
        for name in names if isinstance(method, part) else ():
            yield name, getattr(method, name), isinstance(getattr(method, name), bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str) for one in value)


def _describe_faulty_calls(candidate: Candidate, network: NetworkCard) -> Iterator[str]:
    """Yield which calls of planning return something else than their interface says."""
    method, size = candidate.method, network_params(network)
    group = method.device_group()
    if type(group) is not int or group < 1:
        yield f"device_group() is {group!r}"
    if not isinstance(method.fixed_work(candidate.parts, size), bool):
        yield f"fixed_work() is {method.fixed_work(candidate.parts, size)!r}"
    refusal = method.refusal(candidate.parts, candidate.steps, size)
    if refusal is not None and not isinstance(refusal, str):
        yield f"refusal() is {refusal!r}"
