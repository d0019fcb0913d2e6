"""Checks of a plan: parts that do not fit, repeated trials, ambiguous names, missing controls."""

from __future__ import annotations

import fnmatch

from harness.config.network_card import NetworkCard
from harness.config.suite import Expectation
from harness.errors import UsageError, did_you_mean
from harness.identity import canonical_json, content_hash
from harness.planning.trial import Trial
from harness.sampling.network import network_params
from harness.specs.base import deciding_fields
from methods.parts import Denoiser, Executor, Method


def controlled_trials(control: Trial, trials: list[Trial]) -> list[Trial]:
    """Return the trials that a control belongs to, in its order.

    Raise UsageError if one is missing or named twice.
    """
    found = [_controlled(control, name, trials) for name in control.control_of]
    twice = next((name for k, name in enumerate(control.control_of) if found[k] in found[:k]), None)
    if twice is not None:
        raise UsageError(f'{control.short} is a control of "{twice}" twice; remove one of them')
    return found


def _controlled(control: Trial, name: str, trials: list[Trial]) -> Trial:
    """Return the trial of "METHOD[ @ NETWORK]" on a control's data, steps and seed set."""
    method, at, network = name.partition(" @ ")
    place = (control.dataset.name, network if at else control.network.name, control.steps, control.seed_set)
    others = [t for t in trials if (t.dataset.name, t.network.name, t.steps, t.seed_set) == place and t is not control]
    for trial in others:
        if trial.method == method:
            return trial
    raise UsageError(
        f'{control.short} is a control of "{name}", which is no other trial on the same data, '
        f"{'that' if at else 'the same'} network and the same steps{did_you_mean(method, {t.method for t in others})}"
    )


def is_expected_of(expected: Expectation, trial: Trial) -> bool:
    """Tell whether a known answer of the suite is about a trial."""
    return (expected.dataset, expected.method, expected.steps) == (trial.dataset.name, trial.method, trial.steps)


def matches_pattern(trial: Trial, pattern: str) -> bool:
    """Tell whether a shell pattern matches a trial's METHOD, METHOD-STEPS, a part or its network."""
    names = (trial.method, f"{trial.method}-{trial.steps}", *(m.name for m in trial.parts.values()), trial.network.name)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def check_compatible(parts: dict[str, Method], net: NetworkCard, steps: int) -> None:
    """Raise UsageError with the reason if the parts do not fit each other or the network."""
    size = network_params(net)
    for method in parts.values():
        if "*" not in method.families and net.family not in method.families:
            fits = ", ".join(method.families)
            raise UsageError(f'{method.part} "{method.name}" fits networks of family {fits}, not "{net.family}"')
        reason = method.refusal(parts, steps, size) or _memory_refusal(method, parts)
        if reason:
            raise UsageError(f'{method.part} "{method.name}" cannot be combined this way: {reason}')


def _memory_refusal(method: Method, parts: dict[str, Method]) -> str | None:
    """Return why a denoiser with memory does not fit a parallel executor, or None."""
    executor = parts["executor"]
    if isinstance(method, Denoiser) and method.has_memory and isinstance(executor, Executor) and executor.parallel:
        return (
            f'it remembers earlier calls of a trajectory, which the parallel executor "{executor.name}" takes up in '
            "several places at once; choose the executor serial"
        )
    return None


def find_ambiguous_name(trials: list[Trial]) -> str:
    """Return a display name that several combinations of parts share on one network, or ""."""
    meanings: dict[tuple[str, str, str], str] = {}
    for trial in trials:
        parts = canonical_json({p: [m.name, m.params.model_dump(mode="json")] for p, m in trial.parts.items()})
        if meanings.setdefault((trial.dataset.name, trial.network.name, trial.method), parts) != parts:
            return trial.method
    return ""


def find_repeated_trial(trials: list[Trial]) -> str:
    """Return the short name of a trial that is listed twice, or ""."""
    seen: set[str] = set()
    for trial in trials:
        key = f"{content_hash(deciding_fields(trial.sampler))} {trial.method}"
        if key in seen:
            return trial.short
        seen.add(key)
    return ""
