"""Your own sampler and the baseline on a network of the zoo: the suite of `oneclock wrap` and `harness.wrap`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import api
from harness.cli.new.suite import fitting_features
from harness.cli.new.suite_text import choose_from_zoo
from harness.config.suite import Suite
from harness.config.toml_files import validated
from harness.config.zoo_card import PREFIX, load_zoo_card
from harness.data.cards import load_card
from harness.errors import UsageError
from harness.identity import check_name
from harness.runs.tables import Tables
from harness.wrapping.user_code import find_code


def wrap(
    sampler: str | Callable[..., Any],
    network: str = "zoo:unet-8",
    steps: int | Sequence[int] = 10,
    *,
    schedule: str = "edm",
    n_images: int | None = None,
    **options: Any,
) -> Tables:
    """Run your own sampler(network, noise, steps) and DDIM on a network of the zoo; return the tables of both.

    `sampler` is FILE.py:NAME or the function itself, which must lie in a file. `schedule` is the baseline's.
    Further arguments are those of `run`. Raises UsageError as `run` does, and for code that is not there.
    """
    each = [steps] if isinstance(steps, int) else list(steps)
    return api.run(wrap_suite(sampler, network, each, schedule, n_images), **options)


def wrap_suite(
    sampler: str | Callable[..., Any], network: str, steps: Sequence[int], schedule: str, n_images: int | None
) -> Suite:
    """Return the suite of a wrapped sampler and DDIM on the same network, at the same steps.

    Raises UsageError for code that is not there, a network that is none of the zoo, and steps that are none.
    """
    target = sampler if isinstance(sampler, str) else _target_of(sampler)
    try:
        name = find_code(target)[1].lower().replace("_", "-")
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not network.startswith(PREFIX):
        raise UsageError(
            f'network is "{network}"; expected one of the zoo, such as {PREFIX}unet-8 (see `oneclock ls zoo`)'
        )
    if not steps or min(steps) < 1:
        raise UsageError(f"steps are {list(steps)}; expected whole numbers, 1 or more")

    # the network's own data, features and number of images
    card = load_zoo_card(network.removeprefix(PREFIX))
    features = fitting_features(load_card(card.data.name))
    chosen = choose_from_zoo(card.name, features.name)
    baseline = {"solver": "ddim", "schedule": schedule}

    tables = {
        "name": check_name(f"wrap-{name.strip('-')}", "the wrapped function's name"),
        "title": f"{target} beside ddim@{schedule} on {network}",
        "dataset": card.data.name,
        "network": card.name,
        "extractor": features.name,
        "n_images": n_images or chosen.n_images,
        "baseline": {**baseline, "clock_steps": steps[0]},
        "networks": {card.name: {"weights": network}},
        "trials": [{**baseline, "steps": list(steps)}, {"sampler": target, "steps": list(steps)}],
    }
    return validated(Suite, tables, f"wrap {target}")


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
