"""The trainings that the zoo lacks, side by side in bfloat16 for a stated time; weights go into the check's own folder.

The shipped zoo stays as it is: entries that are better are copied from the folder once it is home. A training that is
stopped goes on from its state with the next call.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict

from harness.config.toml_files import read_toml, validated
from harness.config.zoo_card import CARD_FILE, ZOO_VARIABLE, ZooCard, zoo_folder
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.errors import DataAbsentError
from harness.gpu_check.child import Child, ChildEnd
from harness.gpu_check.scale import CheckScale
from harness.specs.limits import CHECK_LAST_SECONDS
from harness.storage.blobs import Blobs
from harness.zoo.recipes import (
    RECIPES_FILE,
    ListedTraining,
    TrainingRecipe,
    load_recipes,
    pick_trainings,
    select_unfinished,
)
from harness.zoo.run import TRAININGS

PRECISION = "train.precision=bfloat16"
ZOO = "zoo"
"""Below the check's folder: the weights that its trainings put out, each with its card."""


class TrainingFinding(BaseModel):
    """What one training reached, over all calls."""

    model_config = ConfigDict(frozen=True)
    name: str
    dataset: str
    images: int = 0
    """Up to its last check, or to the weights that it ended with."""
    held_out_loss: float | None = None
    """The lowest so far."""
    seconds: float | None = None
    """Of training alone, up to the last check."""
    fid: float | None = None
    """Of its weights when solved out, where they were put out."""
    weights: str = ""
    """Where they lie below the check's folder; "" where there are none yet."""
    ended_by: str = ""
    """The rule that ended it; "" while it can go on."""
    problem: str = ""
    """Why it did not run."""
    end: ChildEnd | None = None


class TrainingsFinding(BaseModel):
    """All trainings of a call, and how long each was to run."""

    model_config = ConfigDict(frozen=True)
    seconds: float = 0.0
    trainings: list[TrainingFinding] = []


def run_check_trainings(
    folder: Path, scale: CheckScale, seconds: float, environment: dict[str, str]
) -> TrainingsFinding:
    """Run all that can run side by side, each for so many seconds, and say what each reached."""
    recipes = load_recipes() if scale.recipes is None else list(scale.recipes)
    listed = select_unfinished(pick_trainings([])) if scale.recipes is None else _first_seeds(recipes)
    _begin_zoo(folder / ZOO, recipes, listed)
    environment = {**environment, ZOO_VARIABLE: str((folder / ZOO).resolve()), "OMP_NUM_THREADS": "1"}

    # side by side, as long as pictures are there
    problems = {one.name: _why_not(one) for one in listed}
    children = {
        one.name: Child(_words(one, folder, seconds), folder / "logs" / f"{one.name}.txt", environment)
        for one in listed
        if not problems[one.name]
    }
    ends = {name: child.wait(seconds + CHECK_LAST_SECONDS) for name, child in children.items()}
    found = [_find(folder, one).model_copy(update={"end": ends.get(one.name)}) for one in listed]
    return TrainingsFinding(
        seconds=seconds, trainings=[one.model_copy(update={"problem": problems[one.name]}) for one in found]
    )


def _first_seeds(recipes: list[TrainingRecipe]) -> list[ListedTraining]:
    return [ListedTraining(recipe=recipe, seed=recipe.seeds[0]) for recipe in recipes]


def _begin_zoo(zoo: Path, recipes: list[TrainingRecipe], listed: list[ListedTraining]) -> None:
    """Make the check's own zoo: the recipes, and entries that a training goes on from."""
    zoo.mkdir(parents=True, exist_ok=True)
    tables = [recipe.model_dump(exclude_none=True) for recipe in recipes]
    (zoo / RECIPES_FILE).write_text(tomli_w.dumps({"trainings": tables}), encoding="utf-8")
    for one in listed:
        shipped, own = zoo_folder() / one.name, zoo / one.name
        if shipped.is_dir() and not own.exists():
            shutil.copytree(shipped, own)


def _why_not(training: ListedTraining) -> str:
    """Return why a training cannot run here: its pictures are absent; "" where it can."""
    card = load_card(training.recipe.dataset)
    try:
        load_split(card, card.training_split)
    except DataAbsentError as error:
        return str(error)
    return ""


def _words(training: ListedTraining, folder: Path, seconds: float) -> list[str]:
    recipe = training.recipe
    seed = ["--set", f"train.seed={training.seed}"] if training.seed else []
    verb = [sys.executable, "-m", "harness", "train", recipe.dataset, recipe.network, "--set", PRECISION, *seed]
    return [*verb, "--into", "zoo", "--minutes", f"{seconds / 60:g}", "--results", str(folder)]


def _find(folder: Path, training: ListedTraining) -> TrainingFinding:
    """Return what a training reached: by its card where it has weights, and by its state while it goes on."""
    name = training.name
    found = TrainingFinding(name=name, dataset=training.recipe.dataset)
    state = Blobs(folder / TRAININGS / name).get("state")
    if state is not None:
        found = found.model_copy(update=_of_checks(state[1]["history"]["checks"]))

    # the card of the weights that it put out
    path = folder / ZOO / name / CARD_FILE
    if not path.is_file():
        return found
    card = validated(ZooCard, read_toml(path), str(path))
    trained, judged = card.training, card.judged
    kept: dict[str, Any] = {"fid": judged.limit_fid, "weights": f"{ZOO}/{name}"}
    if state is None:
        kept |= {"images": trained.images_seen, "seconds": trained.seconds, "held_out_loss": judged.held_out_loss}
    return found.model_copy(update={**kept, "ended_by": trained.stopped if trained.finished else ""})


def _of_checks(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return images, seconds and the lowest held-out loss of the checks so far."""
    if not checks:
        return {}
    lowest = min(check["held_out_loss"] for check in checks)
    return {"images": checks[-1]["images"], "seconds": checks[-1]["seconds"], "held_out_loss": lowest}
