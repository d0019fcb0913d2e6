"""Your own sampler or pipeline, and what it is compared with: the suite of `oneclock wrap` and `harness.wrap`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import api
from harness.cli.new.suite import fitting_features
from harness.cli.new.suite_text import choose_from_zoo
from harness.config.network_card import OWN_NETWORK
from harness.config.settings import apply_settings, describe_settings
from harness.config.suite import Suite, wrapped_parts
from harness.config.toml_files import validated
from harness.config.zoo_card import PREFIX, load_zoo_card
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.identity import check_name
from harness.runs.tables import Tables
from harness.wrapping.user_code import find_code, find_kind

ZOO_NETWORK = f"{PREFIX}unet-8"


def wrap(
    sampler: str | Callable[..., Any],
    network: str | None = None,
    steps: int | Sequence[int] = 10,
    *,
    dataset: str | None = None,
    schedule: str = "edm",
    n_images: int | None = None,
    settings: Sequence[str] = (),
    **options: Any,
) -> Tables:
    """Run your own sampler(network, noise, steps) or pipeline(noise, steps) next to DDIM on a network of the zoo.

    `sampler` is FILE.py:NAME or the function itself, which must lie in a file; its parameters decide which of the two
    it is. A pipeline with `dataset` alone stands by itself, on that data set. `schedule` is the baseline's. `settings`
    are KEY=VALUE changes of the suite that is made. Further arguments are those of `run`. Return the tables. Raises
    UsageError as `run` does, and for code that is not there.
    """
    each = [steps] if isinstance(steps, int) else list(steps)
    return api.run(wrap_suite(sampler, network, each, schedule, n_images, dataset, settings), **options)


def wrap_suite(
    sampler: str | Callable[..., Any],
    network: str | None,
    steps: Sequence[int],
    schedule: str,
    n_images: int | None,
    dataset: str | None = None,
    settings: Sequence[str] = (),
) -> Suite:
    """Return the suite of wrapped code and DDIM on a network of the zoo, or of a pipeline alone on a data set.

    Raises UsageError for code that is not there or fits neither kind, a network that is none of the zoo, steps that
    are none, and settings that a suite does not have.
    """
    target = sampler if isinstance(sampler, str) else _target_of(sampler)
    try:
        name, kind = find_code(target)[1].lower().replace("_", "-"), find_kind(target)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not steps or min(steps) < 1:
        raise UsageError(f"steps are {list(steps)}; expected whole numbers, 1 or more")

    tables = {
        "name": check_name(f"wrap-{name.strip('-')}", "the wrapped function's name"),
        **_surroundings(target, kind, network, dataset, schedule, steps, n_images),
    }
    tables["trials"] = [*tables["trials"], {kind: target, "steps": list(steps)}]
    apply_settings(tables, list(settings))
    return validated(Suite, tables, f"wrap {target}", describe_settings(settings))


def _surroundings(
    target: str,
    kind: str,
    network: str | None,
    dataset: str | None,
    schedule: str,
    steps: Sequence[int],
    n_images: int | None,
) -> dict[str, Any]:
    """Return data, network, features, baseline and the baseline's trials of a suite."""
    if dataset is None:
        return _beside_ddim(target, network or ZOO_NETWORK, schedule, steps, n_images)
    if network is not None:
        raise UsageError(
            f'dataset is "{dataset}" and network "{network}", which has its own data; expected one of them'
        )
    if kind == "sampler":
        raise UsageError(f"{target} samples a network that it is given; expected a network of the zoo, not a data set")
    return _by_itself(target, dataset, steps, n_images)


def _beside_ddim(
    target: str, network: str, schedule: str, steps: Sequence[int], n_images: int | None
) -> dict[str, Any]:
    if not network.startswith(PREFIX):
        raise UsageError(
            f'network is "{network}"; expected one of the zoo, such as {ZOO_NETWORK} (see `oneclock ls zoo`)'
        )

    # the network's own data, features and number of images
    card = load_zoo_card(network.removeprefix(PREFIX))
    features = fitting_features(load_card(card.data.name))
    chosen = choose_from_zoo(card.name, features.name)
    baseline = {"solver": "ddim", "schedule": schedule}
    return {
        "title": f"{target} beside ddim@{schedule} on {network}",
        "dataset": card.data.name,
        "network": card.name,
        "extractor": features.name,
        "n_images": n_images or chosen.n_images,
        "baseline": {**baseline, "clock_steps": steps[0]},
        "networks": {card.name: {"weights": network}},
        "trials": [{**baseline, "steps": list(steps)}],
    }


def _by_itself(target: str, dataset: str, steps: Sequence[int], n_images: int | None) -> dict[str, Any]:
    """Return what surrounds a pipeline that is its own baseline."""
    features = fitting_features(load_card(dataset))
    own = wrapped_parts({"pipeline": target})["network"]
    return {
        "title": f"{target} with the network {own.removeprefix(OWN_NETWORK)} of its own",
        "dataset": dataset,
        "network": own,
        "extractor": features.name,
        "n_images": n_images or features.wanted_images,
        "baseline": {"pipeline": target, "clock_steps": steps[0]},
        "trials": [],
    }


def _target_of(sampler: Callable[..., Any]) -> str:
    """Return FILE.py:NAME of a function, the file relative to the working folder."""
    try:
        file = inspect.getsourcefile(sampler)
    except TypeError:
        file = None
    name = getattr(sampler, "__qualname__", type(sampler).__name__)
    if file is None or not Path(file).is_file():
        raise UsageError(f"{name} has no file, so workers cannot load it; put it into one and name it as FILE.py:NAME")
    return f"{os.path.relpath(file)}:{name}"
