"""A package with a method of one's own: the method, its tests, and a suite with it and the baseline."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from harness.cli.new.next_commands import install_command, oneclock_command, python_command
from harness.cli.new.rendering import render_template, write_new_folder
from harness.cli.new.suite_text import BASELINE_STEPS, METHOD_STEPS, NewSuite, TrialLines, choose_from_zoo
from harness.errors import UsageError
from harness.identity import check_name
from harness.registry import registry

SUMMARIES = {
    "solver": "Euler's step with the estimate carried on (example)",
    "schedule": "levels that fall geometrically once a constant is added (example)",
    "denoiser": "forecasts the network's output at every third step (example)",
    "executor": "the serial loop on a few images at a time (example)",
}
"""What the example of each part is, by part."""
_DATASET, _NETWORK, _EXTRACTOR = "digits", "unet-8", "digits-cnn"
_BASELINE, _BESIDE = "ddim", "dpmpp-2m"


def create_method(part: str, name: str) -> Iterator[str]:
    """Write the package of a method into the current folder; yield what was written and the next commands.

    UsageError for a name that no module can have, or that a method, a module or a folder has already.
    """
    module = _choose_module(part, name)
    class_name = "".join(word.capitalize() for word in module.split("_"))
    values = {"part": part, "name": name, "module": module, "class": class_name, "summary": SUMMARIES[part]}
    texts = {
        "pyproject.toml": render_template("pyproject.toml.j2", **values),
        f"{module}.py": render_template(f"{part}.py.j2", **values),
        f"test_{module}.py": render_template(f"test_{part}.py.j2", **values),
        "suite.toml": _suite(part, name).text(f"oneclock new {part} {name}"),
    }
    write_new_folder(Path(name), texts)

    yield f"created {name}/: {', '.join(texts)}"
    yield "next:"
    yield f"  {install_command(name)}"
    yield f"  {python_command()} -m pytest {name}"
    yield f"  {oneclock_command()} check {_checked_name(part, name)}"
    yield f"  {oneclock_command()} plan {name}/suite.toml"
    yield f"  {oneclock_command()} run {name}/suite.toml"


def _choose_module(part: str, name: str) -> str:
    """Return the module of a method's name; UsageError if it cannot be one, or if name or module are taken."""
    check_name(name, f"the {part}'s name")
    module = name.replace("-", "_")
    hint = "choose another" if module.startswith("my_") else f'did you mean "my-{name}"?'
    if any(known.name == name for known in registry().methods(part)):
        raise UsageError(f'the {part} "{name}" exists already (see `oneclock ls methods`); {hint}')

    # the module must be one, and no other
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UsageError(f'the {part} "{name}" would be the module {module}, which is no name in Python; {hint}')
    if not Path(name).exists() and importlib.util.find_spec(module) is not None:
        raise UsageError(f'the {part} "{name}" would be the module {module}, which exists already; {hint}')

    # nor may installing it replace a package
    if not Path(name).exists() and module in {_normal_name(one.name) for one in distributions() if one.name}:
        raise UsageError(f'the {part} "{name}" would replace the installed package of this name; {hint}')
    return module


def _checked_name(part: str, name: str) -> str:
    """Return the method as `check` takes it: with its part where another part has a method of that name."""
    return f"{part}/{name}" if any(known.name == name for known in registry().methods()) else name


def _normal_name(package: str) -> str:
    """Return a package's name as all its spellings are compared: in small letters, with underscores."""
    return re.sub(r"[-_.]+", "_", package).lower()


def _suite(part: str, name: str) -> NewSuite:
    """Return a suite of a new method, the plain sampler and a good solver, on a network of the zoo."""
    return NewSuite(
        name=name,
        title=f"The {part} {name}, {_BASELINE} and {_BESIDE} on handwritten digits",
        dataset=_DATASET,
        card_name=_DATASET,
        extractor=_EXTRACTOR,
        network=choose_from_zoo(_NETWORK, _EXTRACTOR),
        baseline={"solver": _BASELINE},
        trials=[
            TrialLines({"solver": _BASELINE}, BASELINE_STEPS, "the baseline's curve"),
            TrialLines({"solver": _BESIDE}, METHOD_STEPS, "a good solver"),
            _own_trials(part, name),
        ],
    )


def _own_trials(part: str, name: str) -> TrialLines:
    if part == "solver":
        return TrialLines({part: name}, METHOD_STEPS, "yours")
    return TrialLines({part: name, "solver": [_BASELINE, _BESIDE]}, METHOD_STEPS[1:], "yours")
