"""A suite for a data set: a network and a feature network that fit, the baseline at several steps, methods at fewer."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.cli.new.feature_network import FeatureNetwork, describe_no_feature_network, fitting_feature_network
from harness.cli.new.method_names import parse_method
from harness.cli.new.network_choice import choose_network
from harness.cli.new.next_commands import oneclock_command
from harness.cli.new.rendering import write_new_file
from harness.cli.new.suite_text import BASELINE_STEPS, CLOCK_STEPS, METHOD_STEPS, NewSuite, TrialLines
from harness.config.suite import Suite, suite_names
from harness.config.toml_files import validated
from harness.data.cards import DatasetCard, card_names, load_card
from harness.data.splits import count_images
from harness.errors import UsageError
from harness.identity import check_name
from harness.registry import registry


def write_suite(name: str, dataset: str, methods: str, vs: str, network: str | None) -> Iterator[str]:
    """Write NAME.toml into the current folder; yield what it holds and the next commands.

    UsageError, before anything is written, for names that mean nothing, for parts that do not fit together, and for
    pictures of which no FID can be computed.
    """
    path = _choose_path(name)
    dataset = _find_dataset(dataset)
    card = load_card(dataset)
    card.check_trains()
    features = fitting_features(card)
    baseline = parse_method(vs, {"solver": "ddim"})
    parts = _parse_methods(methods, baseline)

    suite = NewSuite(
        name=name,
        title=f"{', '.join(parts)} against {vs} on {card.name}",
        dataset=dataset,
        card_name=card.name,
        extractor=features.name,
        network=choose_network(card, features, network, [baseline, *parts.values()]),
        baseline=baseline,
        trials=_trials(baseline, parts),
        clock_steps=_steps(baseline, (CLOCK_STEPS,))[0],
    )
    text = suite.text(_command(name, dataset, methods, vs, network))
    trials = _count_trials(text, path)
    write_new_file(path, text)

    # what it is
    curve = ", ".join(map(str, suite.trials[0].steps))
    yield f"{path}: {trials} trials, baseline {vs} at {curve} steps, {suite.network.n_images:,} images a trial"
    yield f"network {suite.network.name}: {suite.network.said} · feature network {features.name}"
    if suite.network.is_timed:
        yield "a step of the training was timed for that; `plan` guesses it from FLOPs until a run has left its rates"
    yield f"next: {oneclock_command()} plan {name}"
    yield f"      {oneclock_command()} run {name}"


def _trials(baseline: Mapping[str, str], methods: Mapping[str, Mapping[str, str]]) -> list[TrialLines]:
    """Return the baseline's curve, and each method at fewer steps."""
    own = [TrialLines(parts, _steps(parts)) for parts in methods.values()]
    return [TrialLines(baseline, _steps(baseline, BASELINE_STEPS), "the baseline's curve"), *own]


def _choose_path(name: str) -> Path:
    check_name(name, "the suite's name")
    if name in suite_names():
        raise UsageError(f'the suite "{name}" exists already (see `oneclock ls suites`); did you mean "my-{name}"?')
    path = Path(f"{name}.toml")
    if path.exists():
        raise UsageError(f"{path} exists and is left as it is; expected a new name, or remove it first")
    return path


def _find_dataset(dataset: str) -> str:
    """Return the name as it is, or the path of a card of this name in the current folder."""
    here = Path(f"{dataset}.toml")
    return str(here) if dataset not in card_names() and here.is_file() else dataset


def fitting_features(card: DatasetCard) -> FeatureNetwork:
    """Return the feature network for a data set; UsageError where none fits or its pictures are too few."""
    found = fitting_feature_network(card.channels, card.resolution)
    if found is None:
        raise UsageError(f'data set "{card.name}": {describe_no_feature_network(card.resolution)}')
    n = count_images(card, card.reference)
    if n is not None and n <= found.dim:
        raise UsageError(
            f'data set "{card.name}": found {n:,} pictures for the {found.dim} features of {found.name}; expected more '
            f"pictures than features, which FID needs, and better {found.wanted_images}"
        )
    return found


def _parse_methods(methods: str, baseline: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the parts of each method, by its name as typed."""
    parts = {text.strip(): parse_method(text.strip(), baseline) for text in methods.split(",") if text.strip()}
    if not parts:
        raise UsageError("--methods is empty; expected names with commas, such as dpmpp-2m,unipc")
    for text, found in parts.items():
        if found == baseline:
            raise UsageError(f'--methods has the baseline "{text}" itself; leave it out, it is in the suite by --vs')
    return parts


def _steps(parts: Mapping[str, str], evaluations: Sequence[int] = METHOD_STEPS) -> Sequence[int]:
    """Return step counts of so many evaluations, by default those of a method."""
    solver = registry().make("solver", parts["solver"], {})
    return tuple(sorted({max(1, count // solver.evaluations_per_step) for count in evaluations}))


def _count_trials(text: str, path: Path) -> int:
    """Return how many trials a suite has; UsageError if it cannot be planned."""
    from harness import api

    suite = validated(Suite, tomllib.loads(text), f"suite {path}")
    return len(api.plan(suite).trials)


def _command(name: str, dataset: str, methods: str, vs: str, network: str | None) -> str:
    own = f" --network {network}" if network else ""
    return f"oneclock new suite {name} --dataset {dataset} --methods {methods} --vs {vs}{own}"
