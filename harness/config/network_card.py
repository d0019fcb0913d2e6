"""Network cards: one TOML file per network with its family, its size and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, field_validator

from harness.config.toml_files import lay_over, read_toml, validated
from harness.errors import UsageError, did_you_mean
from harness.identity import check_name
from harness.registry import registry
from harness.specs.base import Closed, Json
from harness.specs.sampler import NetworkSpec
from harness.specs.train import TrainSettings

CARDS = Path(__file__).resolve().parents[2] / "methods" / "networks" / "cards"
IMPORTED = Path("imported")
"""Where `oneclock import network` writes, from the present folder: a folder with a card for each name."""


OWN_NETWORK = "own:"
"""Before the name of a wrapped pipeline's network, of which there is no card."""


class NetworkCard(Closed):
    """The description of one network; `params` are the family's, `train` is absent if nothing is trained."""

    name: str
    title: str
    family: str
    params: Json = Field(default_factory=dict)
    state: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Channels, height and width of the only states that it knows; without it whatever it can be built for."""
    train: TrainSettings | None = None
    like: str | None = None
    """The card from which a suite derived this one, as for another training budget."""
    trainings: PositiveInt | None = None
    """At most so many trainings of it count in a suite of several, as where the zoo holds fewer of it."""
    weights: str | None = None
    """A safetensors file with trained weights; with it nothing is trained.

    A card that is given by its path may name it relative to its own folder.
    """

    @field_validator("name")
    @classmethod
    def _may_be_a_folder(cls, value: str) -> str:
        try:
            return check_name(value, "name")
        except UsageError as error:
            raise ValueError(str(error)) from None

    def spec(self) -> NetworkSpec:
        """Return the architecture as Specs of tasks hold it."""
        module = registry().network(self.family).__module__
        return NetworkSpec(name=self.name, family=self.family, params=self.params, module=module)


def network_names() -> list[str]:
    """Return the names of the shipped cards, sorted."""
    return sorted(path.stem for path in CARDS.glob("*.toml"))


def load_network_card(name_or_path: str | Path, changes: Mapping[str, Any] | None = None) -> NetworkCard:
    """Return a shipped or imported card by name, or a card by its path (it ends in .toml), with some entries changed.

    The file's name must be the card's; `changes` are nested tables like the card's own. With `like` among them they
    change the card of that name, which then gets the given name.
    """
    if str(name_or_path).startswith(OWN_NETWORK):
        name = str(name_or_path).removeprefix(OWN_NETWORK)
        return NetworkCard(name=name, title="the network of a wrapped pipeline", family="own")
    if changes and changes.get("like") is not None:
        like, rest = str(changes["like"]), {key: value for key, value in changes.items() if key != "like"}
        name = check_name(str(name_or_path), "network name")
        return load_network_card(like, rest).model_copy(update={"name": name, "like": like})

    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = _path_of(str(name_or_path))

    tables = lay_over(_with_own_weights(read_toml(path), path), changes or {})
    card = validated(NetworkCard, tables, str(path))
    if card.name != path.stem:
        raise UsageError(f'{path}: name is "{card.name}"; expected "{path.stem}", as the file is called')
    return card


def is_known_network(name_or_path: str) -> bool:
    """Tell whether a name is of a card that is shipped or imported here; a path counts as known."""
    return name_or_path.endswith(".toml") or name_or_path in {*network_names(), *_imported_cards()}


def _imported_cards() -> dict[str, Path]:
    return {path.stem: path for path in IMPORTED.glob("*/*.toml") if path.stem == path.parent.name}


def _path_of(name: str) -> Path:
    """Return where the card of a name lies; UsageError if it is neither shipped nor imported here."""
    if name in network_names():
        return CARDS / f"{name}.toml"
    imported = _imported_cards()
    if name not in imported:
        raise UsageError(f'network "{name}" is unknown{did_you_mean(name, [*network_names(), *sorted(imported)])}')
    return imported[name].absolute()


def _with_own_weights(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a card's tables with its file of weights found from the folder of the card."""
    weights = tables.get("weights")
    if not isinstance(weights, str) or weights.startswith("zoo:"):
        return tables
    return {**tables, "weights": str(path.parent / weights)}
