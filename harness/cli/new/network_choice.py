"""The network of a new suite: one of the zoo, an exact one, or one that is trained on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.cli.new.feature_network import FeatureNetwork
from harness.cli.new.suite_text import NetworkChoice, choose_from_zoo, describe_count
from harness.cli.new.training_time import describe_duration, time_training_image
from harness.config.network_card import NetworkCard, load_network_card
from harness.config.zoo_card import PREFIX, ZooCard, load_zoo_card, zoo_names
from harness.data.cards import DatasetCard
from harness.errors import UsageError
from harness.planning.checks import check_compatible
from harness.planning.network_checks import check_network_shape
from harness.planning.zoo_networks import zoo_entry
from harness.registry import registry
from harness.sampling.network import network_params
from harness.specs.limits import NEW_TRAINING_SECONDS
from methods.parts import PARTS

_EXACT, _SMALL, _USUAL_FAMILY = "analytic", "unet-tiny", "unet"
_USUAL = {"denoiser": "full", "schedule": "edm", "solver": "ddim", "executor": "serial"}
_CHECKED_STEPS = 10
Parts = Mapping[str, str]


def choose_network(
    card: DatasetCard, features: FeatureNetwork, wanted: str | None, methods: Sequence[Parts]
) -> NetworkChoice:
    """Return a network for a data set that all methods fit.

    The wanted one, else one of the zoo that was trained on these pictures, else an exact one where the distribution
    is known, else a small one with a training of about two minutes here. UsageError where none fits.
    """
    trained = _zoo_networks(card)
    if wanted is not None:
        name = wanted.removeprefix(PREFIX)
        return choose_from_zoo(name, features.name) if name in trained else _from_card(wanted, card, features)
    if trained:
        return choose_from_zoo(_first_fitting(trained, methods), features.name)
    if card.arguments.distribution():
        return _untrained(_EXACT, features, "exact, nothing is trained")
    return _small_training(card, features, methods)


def _zoo_networks(card: DatasetCard) -> dict[str, ZooCard]:
    """Return the networks of the zoo that were trained on these pictures, first seeds only, the usual family first."""
    found = {}
    for name in zoo_names():
        entry = load_zoo_card(name)
        if entry.training.seed == 0 and entry.data.name == card.name:
            try:
                found[name] = zoo_entry(f"{PREFIX}{name}", card, entry.network)
            except UsageError:  # other pixels under the same name
                continue
    return dict(sorted(found.items(), key=lambda one: (one[1].network.family != _USUAL_FAMILY, one[0])))


def _first_fitting(trained: Mapping[str, ZooCard], methods: Sequence[Parts]) -> str:
    """Return the first network that all methods fit; else the UsageError of the first."""
    errors = []
    for name, entry in trained.items():
        try:
            _check_methods(methods, entry.network)
        except UsageError as error:
            errors.append(error)
        else:
            return name
    raise errors[0]


def _check_methods(methods: Sequence[Parts], net: NetworkCard) -> None:
    for parts in methods:
        made = {part: registry().make(part, {**_USUAL, **parts}[part], {}) for part in PARTS}
        check_compatible(made, net, _CHECKED_STEPS)


def _from_card(name: str, card: DatasetCard, features: FeatureNetwork) -> NetworkChoice:
    """Return a network that is exact, has weights of its own, or is trained as its card says."""
    net = load_network_card(name)
    if not registry().network(net.family).trainable:
        return _untrained(name, features, "exact, nothing is trained")
    if net.weights is not None:
        check_network_shape(net, card)
        found = _untrained(name, features, "its weights are at hand, nothing is trained")
        return replace(found, knows_classes=network_params(net).class_count > 0)
    if net.train is None:
        raise UsageError(
            f'network "{name}" has no weights for "{card.name}" and no training in its card; choose another'
        )
    seconds = time_training_image(net, card.shape()) * net.train.steps * net.train.batch
    return replace(_untrained(name, features, f"trains about {describe_duration(seconds)} here"), is_timed=True)


def _small_training(card: DatasetCard, features: FeatureNetwork, methods: Sequence[Parts]) -> NetworkChoice:
    net = load_network_card(_SMALL)
    _check_methods(methods, net)
    assert net.train is not None
    per_step = time_training_image(net, card.shape()) * net.train.batch
    steps = max(net.train.steps, round(NEW_TRAINING_SECONDS / per_step, -1))
    said = f"trains about {describe_duration(steps * per_step)} here"
    note = (
        f"No network of the zoo was trained on these pictures. This one {said}: its images are no good, and",
        "differences between samplers may not carry over to a better one. With more steps, with another network",
        '(`oneclock ls networks`) or with weights of your own (weights = "FILE") they mean more.',
    )
    settings = {"train.steps": int(steps), "params.sigma_data": card.sigma_data}
    return replace(_untrained(_SMALL, features, said, settings, note), is_timed=True)


def _untrained(
    name: str,
    features: FeatureNetwork,
    said: str,
    settings: Mapping[str, float] | None = None,
    note: Sequence[str] = (),
) -> NetworkChoice:
    why = describe_count(features.dim)
    return NetworkChoice(name, settings or {}, features.wanted_images, why, said=said, note=note)
