"""Several trainings of a suite: the network of each, and which of them is timed."""

from __future__ import annotations

from collections.abc import Iterable

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import PREFIX, zoo_entry_name, zoo_names
from harness.errors import UsageError
from harness.planning.trial import Trial
from harness.registry import registry
from harness.sampling.network import network_params
from harness.specs.train import LARGEST_SEED


def has_trainings(net: NetworkCard) -> bool:
    """Tell whether a network can be trained more than once: not if it is exact, nor if a file holds its weights."""
    of_zoo = net.weights is None or net.weights.startswith(PREFIX)
    return registry().network(net.family).trainable and of_zoo


def trainings_of(net: NetworkCard, wanted: int) -> int:
    """Return how many of the suite's trainings a network takes part in."""
    return min(wanted, net.trainings or wanted) if has_trainings(net) else 1


def network_of_training(net: NetworkCard, dataset: str, training: int, trainings: int) -> NetworkCard:
    """Return the network's card as training `training` of `trainings` has it; number 0 is the card itself.

    Raises UsageError for a seed that the zoo lacks, and for weights that are themselves another
    seed's.
    """
    if trainings == 1:
        return net
    if net.weights is not None:
        weights = _zoo_weights(net, net.weights.removeprefix(PREFIX), dataset, training, trainings)
        return net.model_copy(update={"weights": weights})
    if training == 0 or net.train is None:
        return net

    seed = net.train.seed + training
    if seed > LARGEST_SEED:
        raise UsageError(f'network "{net.name}": training {training} has the seed {seed}; expected {LARGEST_SEED} most')
    return net.model_copy(update={"train": net.train.model_copy(update={"seed": seed})})


def _zoo_weights(net: NetworkCard, entry: str, dataset: str, training: int, trainings: int) -> str:
    """Return the weights of a training in the zoo, as "zoo:NAME-seedK"."""
    try:
        wanted = zoo_entry_name(entry, training)
    except UsageError:
        raise UsageError(
            f'network "{net.name}" names the weights {net.weights}, which are one training; with trainings = '
            f"{trainings} expected the name without its seed"
        ) from None
    if training and wanted not in zoo_names():
        raise UsageError(
            f'network "{net.name}" has trainings = {trainings}, but the zoo has no "{wanted}"; expected '
            f"networks.{net.name}.trainings = {training}, or train it: "
            f"`oneclock train {dataset} {entry} --set train.seed={training} --into zoo`"
        )
    return PREFIX + wanted


def timed_in_place(trials: Iterable[Trial]) -> dict[int, Trial]:
    """Return the trial of training 0 that is timed in place of another, by the other's `id()`.

    It is the same but for the training, and its work does not depend on the weights.
    """
    trials = list(trials)
    first = {_without_training(trial): trial for trial in trials if trial.training == 0}
    return {id(trial): first[_without_training(trial)] for trial in trials if trial.training and work_is_fixed(trial)}


def work_is_fixed(trial: Trial) -> bool:
    """Tell whether an image of a trial takes the same work whatever the weights are."""
    size = network_params(trial.network)
    return all(method.fixed_work(trial.parts, size) for method in trial.parts.values())


def _without_training(trial: Trial) -> tuple[str, str, int]:
    return trial.dataset.name, trial.printed_name, trial.seed_set
