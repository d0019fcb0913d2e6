"""The trainings of the zoo, in their order, with the rules that end each.

They are listed in `methods/networks/zoo/trainings.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.config.toml_files import read_toml, validated
from harness.config.zoo_card import load_zoo_card, zoo_entry_name, zoo_folder, zoo_names
from harness.errors import UsageError, did_you_mean

RECIPES_FILE = "trainings.toml"


class Rules(BaseModel):
    """When a training is checked, and when it ends; in images, so that batch sizes compare."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 3_000_000
    """The training sees at most so many images, over all legs."""
    check_images: Annotated[int, Field(ge=1)] = 100_000
    """Held-out loss and copy rate are measured every so many images."""
    patience: Annotated[int, Field(ge=1)] = 5
    """The training ends after so many checks without a new lowest held-out loss."""
    publish_images: Annotated[int, Field(ge=1)] | None = None
    """The best weights so far enter the zoo every so many images.

    By default only when the training ends.
    """


class TrainingRecipe(Rules):
    """One network on one data set, trained from each of several seeds."""

    dataset: str
    network: str
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]


class _RecipeList(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    trainings: list[TrainingRecipe] = []


class ListedTraining(BaseModel):
    """One network on one data set, trained from one seed."""

    model_config = ConfigDict(frozen=True)
    recipe: TrainingRecipe
    seed: int

    @property
    def name(self) -> str:
        """Return the name that the result has in the zoo."""
        return zoo_entry_name(self.recipe.network, self.seed)

    def is_called(self, name: str) -> bool:
        """Tell whether a name picks this training.

        Its network's name does, or that with `-seedN`.
        """
        network = self.recipe.network
        return name in (network, f"{network}-seed{self.seed}")


def load_recipes() -> list[TrainingRecipe]:
    """Return the recipes in their order; an empty list where the zoo lists none."""
    path = zoo_folder() / RECIPES_FILE
    return list(validated(_RecipeList, read_toml(path), str(path)).trainings) if path.is_file() else []


def find_rules(dataset: str, network: str) -> Rules:
    """Return the rules of a listed training, else the defaults."""
    found = (r for r in load_recipes() if (r.dataset, r.network) == (dataset, network))
    return next(found, Rules())


def list_trainings() -> list[ListedTraining]:
    """Return all trainings: the first seed of each recipe, then the second, and so on."""
    recipes = load_recipes()
    deepest = max((len(recipe.seeds) for recipe in recipes), default=0)
    return [
        ListedTraining(recipe=recipe, seed=recipe.seeds[turn])
        for turn in range(deepest)
        for recipe in recipes
        if turn < len(recipe.seeds)
    ]


def pick_trainings(names: Iterable[str]) -> list[ListedTraining]:
    """Return the listed trainings that names pick, in the list's order; all of them for no name.

    A network's name picks its trainings from every seed, `NETWORK-seedN` the one from seed N.
    Raises UsageError for a name that picks none.
    """
    wanted, listed = list(names), list_trainings()
    for name in wanted:
        if not any(training.is_called(name) for training in listed):
            known = {known for t in listed for known in (t.recipe.network, f"{t.recipe.network}-seed{t.seed}")}
            raise UsageError(f'zoo training "{name[:80]}" is not listed{did_you_mean(name, known)}')
    return [t for t in listed if not wanted or any(t.is_called(name) for name in wanted)]


def select_unfinished(trainings: Iterable[ListedTraining]) -> list[ListedTraining]:
    """Return the trainings without an entry in the zoo, or with one that is not finished."""
    known = set(zoo_names())
    return [t for t in trainings if t.name not in known or not load_zoo_card(t.name).training.finished]
