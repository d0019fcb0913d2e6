"""Checks of a plan: parts that do not fit, repeated trials, ambiguous names, missing controls; and `--only`.

Checks refuse with UsageError. What is merely empty or bounded is said by harness.planning.notes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from harness.config.network_card import NetworkCard
from harness.config.suite import Expectation, Suite
from harness.errors import UsageError, did_you_mean
from harness.identity import canonical_json, content_hash
from harness.planning.trial import Trial
from harness.registry import registry
from harness.sampling.network import network_params
from harness.schema import REAL, TRIALS, WHOLE
from harness.schema.trial_name import method_line_name
from harness.specs.base import deciding_fields
from methods.parts import Denoiser, Executor, Method


def controlled_trials(control: Trial, trials: list[Trial]) -> list[Trial]:
    """Return the trials of the same training that a control belongs to, in its order.

    Raise UsageError if one is missing or named twice. One whose network has a single training is
    missing in the others, where it is left out.
    """
    found = [_controlled(control, name, trials) for name in control.control_of]
    twice = next((name for k, name in enumerate(control.control_of) if found[k] and found[k] in found[:k]), None)
    if twice is not None:
        raise UsageError(f'{control.short} is a control of "{twice}" twice; remove one of them')
    return [trial for trial in found if trial is not None]


def _controlled(control: Trial, name: str, trials: list[Trial]) -> Trial | None:
    """Return the trial of "METHOD[ @ NETWORK]" on a control's data, training, steps and seed set.

    One of other steps, as at equal FLOPs, is "METHOD-STEPS[ @ NETWORK]", as it is printed.
    """
    method, at, network = name.partition(" @ ")
    place = (control.dataset.name, network if at else control.network.name, control.seed_set)
    there = [t for t in trials if (t.dataset.name, t.network.name, t.seed_set) == place]

    # itself is no control of itself, in no training
    own = (control.method, control.network.name, control.steps)
    others = [t for t in there if (t.method, t.network.name, t.steps) != own]
    at_equal_steps = [t for t in others if t.steps == control.steps]
    found = [t for t in at_equal_steps if t.method == method] or [t for t in others if _with_steps(t) == method]
    if not found:
        raise UsageError(
            f'{control.short} is a control of "{name}", which is no other trial on the same data, '
            f"{'that' if at else 'the same'} network and the same steps"
            f"{did_you_mean(method, {t.method for t in at_equal_steps} | {_with_steps(t) for t in others})}"
        )
    return next((trial for trial in found if trial.training == control.training), None)


def _with_steps(trial: Trial) -> str:
    """Return a trial's name without its network, as `--only` and `control_of` take it."""
    return f"{trial.method}-{trial.steps}"


def is_expected_of(expected: Expectation, trial: Trial) -> bool:
    """Tell whether a known answer of the suite is about a trial."""
    return (expected.dataset, expected.method, expected.steps) == (trial.dataset.name, trial.method, trial.steps)


def choose_trials(trials: list[Trial], only: str) -> list[Trial]:
    """Return the trials that `--only` names.

    Literally by a name that is printed, since names hold brackets and stars; if there is none, by
    a shell pattern that matches one. Raises UsageError if none matches.
    """
    chosen = [t for t in trials if only in _names(t)]
    chosen = chosen or [t for t in trials if any(fnmatch.fnmatchcase(name, only) for name in _names(t))]
    if not chosen:
        known = {name for t in trials for name in (t.printed_name, t.method)}
        hint = _describe_unused_part(only, trials) or did_you_mean(only, known)
        raise UsageError(f'--only "{only}" matches none of the {len(trials)} trials{hint}')
    return chosen


def _describe_unused_part(only: str, trials: list[Trial]) -> str:
    """Return a hint if `--only` names a method that exists and stands in no trial, else ""."""
    used = {(part, method.name) for trial in trials for part, method in trial.parts.items()}
    words = [re.sub(r"\(.*\)", "", word) for word in re.split(r"[:/@]", only)]
    for method in registry().methods():
        named = any(re.fullmatch(rf"{re.escape(method.name)}(-\d+)?", word) for word in words)
        if named and (method.part, method.name) not in used:
            return f'; the {method.part} "{method.name}" exists but stands in no trial, so add it to the suite'
    return ""


def _names(trial: Trial) -> tuple[str, ...]:
    """Return the names of a trial: as printed, without network or steps or both, its parts and its network."""
    short = _with_steps(trial)
    parts = (method.name for method in trial.parts.values())
    line = method_line_name(trial.network.name, trial.method)
    return (trial.printed_name, trial.short, short, line, trial.method, *parts, trial.network.name)


def check_compatible(parts: dict[str, Method], net: NetworkCard, steps: int) -> None:
    """Raise UsageError with the reason if the parts do not fit each other or the network."""
    size = network_params(net)
    if net.family == "own" and parts["executor"].name != "wrapped-pipeline":
        raise UsageError(
            f'network "{net.name}" is a wrapped pipeline\'s own; expected pipeline = "FILE.py:NAME" in the trial'
        )
    for method in parts.values():
        if "*" not in method.families and net.family not in method.families:
            fits = ", ".join(method.families)
            raise UsageError(f'{method.part} "{method.name}" fits networks of family {fits}, not "{net.family}"')
        reason = method.refusal(parts, steps, size) or _memory_refusal(method, parts)
        if reason:
            raise UsageError(f'{method.part} "{method.name}" cannot be combined this way: {reason}')


def check_resources(suite: Suite, trials: Iterable[Trial]) -> None:
    """Raise UsageError for trials that need more than all workers."""
    for trial in trials:
        if suite.workers is not None and suite.workers < trial.devices and not trial.optional:
            raise UsageError(
                f"{trial.short} needs {trial.devices} devices at once, and the suite has workers = {suite.workers}; "
                f"expected {trial.devices} or more, or none named, or optional = true on the trial"
            )


def _memory_refusal(method: Method, parts: dict[str, Method]) -> str | None:
    """Return why a denoiser with memory does not fit a parallel executor, or None."""
    executor = parts["executor"]
    if isinstance(method, Denoiser) and method.has_memory and isinstance(executor, Executor) and executor.parallel:
        return (
            f'it remembers earlier calls of a trajectory, which the parallel executor "{executor.name}" takes up in '
            "several places at once; choose the executor serial"
        )
    return None


def check_unique(suite: Suite, trials: list[Trial]) -> None:
    """Raise UsageError for a trial that is listed twice, and for a printed name of several trials."""
    if name := _find_repeated_trial(trials):
        raise UsageError(f'suite "{suite.name}" lists a trial twice: {name}; remove one of them')
    if name := _find_ambiguous_name(trials):
        raise UsageError(
            f'suite "{suite.name}" calls several combinations of parts "{name}"; give each a label of its own, or none'
        )
    if name := _find_ambiguous_network(trials):
        raise UsageError(f'suite "{suite.name}" uses several networks called "{name}"; expected a name for each')


def check_names(suite: Suite, trials: list[Trial], networks: Iterable[str]) -> None:
    """Raise UsageError for settings of networks and data sets that no trial uses, and known values of no trial."""
    for name in suite.networks:
        if name not in networks:
            raise UsageError(
                f'suite "{suite.name}" changes the network "{name}", which none of its trials uses'
                f"{did_you_mean(name, networks)}"
            )

    datasets = {trial.dataset.name for trial in trials}
    for name in suite.quality.targets:
        if name not in datasets:
            raise UsageError(
                f'suite "{suite.name}" has targets for the data set "{name}", which none of its trials uses'
                f"{did_you_mean(name, datasets)}"
            )

    if suite.quality.more_steps_in == suite.name:
        raise UsageError(f'suite "{suite.name}" has more_steps_in = "{suite.name}"; expected another suite, or none')

    known = {column.name for column in TRIALS.columns if column.type in (REAL, WHOLE)}
    for number, expected in enumerate(suite.expect):
        if expected.column not in known:
            hint = did_you_mean(expected.column, known)
            raise UsageError(f'expect.{number}: "{expected.column}" is no column of numbers{hint}')
        if not any(is_expected_of(expected, trial) for trial in trials):
            names = {f"{t.dataset.name} {t.method} {t.steps}" for t in trials}
            wanted = f"{expected.dataset} {expected.method} {expected.steps}"
            raise UsageError(f'expect.{number}: "{wanted}" is none of the trials{did_you_mean(wanted, names)}')


def _find_ambiguous_name(trials: list[Trial]) -> str:
    """Return a display name that several combinations of parts share on one network, or ""."""
    meanings: dict[tuple[str, str, str], str] = {}
    for trial in trials:
        parts = canonical_json({p: [m.name, m.params.model_dump(mode="json")] for p, m in trial.parts.items()})
        if meanings.setdefault((trial.dataset.name, trial.network.name, trial.method), parts) != parts:
            return trial.method
    return ""


def _find_ambiguous_network(trials: list[Trial]) -> str:
    """Return a name that several networks share, such as a shipped card and a file, or ""."""
    meanings: dict[tuple[str, int], NetworkCard] = {}
    for trial in trials:
        if meanings.setdefault((trial.network.name, trial.training), trial.network) != trial.network:
            return trial.network.name
    return ""


def _find_repeated_trial(trials: list[Trial]) -> str:
    """Return the name of a trial that is listed twice, or ""."""
    seen: set[str] = set()
    for trial in trials:
        key = f"{content_hash(deciding_fields(trial.sampler))} {trial.method}"
        if key in seen:
            return trial.short
        seen.add(key)
    return ""
