"""Which networks the zoo trains, in which order, and when each training ends: `methods/networks/zoo/trainings.toml`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.config.toml_files import read_toml, validated
from harness.config.zoo_card import load_zoo_card, zoo_entry_name, zoo_folder, zoo_names

RECIPES_FILE = "trainings.toml"


class Rules(BaseModel):
    """When a training is looked at, and when it ends; all in images, so that batch sizes compare."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)] = 3_000_000
    """At most so many images are trained on, over all legs."""
    check_images: Annotated[int, Field(ge=1)] = 100_000
    """Held-out loss and copy rate are measured every so many images."""
    patience: Annotated[int, Field(ge=1)] = 5
    """The training ends after so many checks without a new lowest held-out loss."""
    publish_images: Annotated[int, Field(ge=1)] | None = None
    """The best weights so far enter the zoo every so many images; by default only when the training ends."""


class Recipe(Rules):
    """One network on one data set, trained from each of several seeds."""

    dataset: str
    network: str
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = [0]


class _Recipes(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    trainings: list[Recipe] = []


class Training(BaseModel):
    """One training of a recipe."""

    model_config = ConfigDict(frozen=True)
    recipe: Recipe
    seed: int

    @property
    def name(self) -> str:
        """Return the name that the result has in the zoo."""
        return zoo_entry_name(self.recipe.network, self.seed)


def load_recipes() -> list[Recipe]:
    """Return the recipes in their order; none where the zoo lists none."""
    path = zoo_folder() / RECIPES_FILE
    return list(validated(_Recipes, read_toml(path), str(path)).trainings) if path.is_file() else []


def rules_for(dataset: str, network: str) -> Rules:
    """Return the rules of a listed training, else the usual ones."""
    found = (r for r in load_recipes() if (r.dataset, r.network) == (dataset, network))
    return next(found, Rules())


def all_trainings() -> list[Training]:
    """Return every training of the list: the first seed of each recipe, then the second, and so on."""
    recipes = load_recipes()
    deepest = max((len(recipe.seeds) for recipe in recipes), default=0)
    return [
        Training(recipe=recipe, seed=recipe.seeds[turn])
        for turn in range(deepest)
        for recipe in recipes
        if turn < len(recipe.seeds)
    ]


def unfinished(trainings: Iterable[Training]) -> Iterator[Training]:
    """Yield those of the trainings whose result is not in the zoo, or is there but goes on."""
    known = set(zoo_names())
    for training in trainings:
        if training.name not in known or not load_zoo_card(training.name).training.finished:
            yield training
