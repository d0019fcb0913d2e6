"""Which trainings a name picks: a network's name those of all its seeds, NETWORK-seedN one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import UsageError
from harness.zoo import recipes
from harness.zoo.processes import run_trainings
from harness.zoo.recipes import pick_trainings, select_unfinished

LISTED = """
[[trainings]]
dataset = "digits"
network = "unet-8"
seeds = [0, 1, 2]

[[trainings]]
dataset = "digits"
network = "slim-8"
seeds = [0, 1]
"""


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Put a list of two networks in place of the shipped one; return the names that are finished."""
    (tmp_path / "trainings.toml").write_text(LISTED)
    finished: set[str] = set()
    monkeypatch.setattr("harness.config.zoo_card._ZOO", tmp_path)
    monkeypatch.setattr(recipes, "zoo_names", lambda: [*finished, "slim-8-seed1"])
    monkeypatch.setattr(
        recipes, "load_zoo_card", lambda name: SimpleNamespace(training=SimpleNamespace(finished=name in finished))
    )
    return finished


def names(*wanted: str) -> list[str]:
    return [training.name for training in pick_trainings(wanted)]


def test_no_name_picks_all_first_seeds_first() -> None:
    assert names() == ["unet-8", "slim-8", "unet-8-seed1", "slim-8-seed1", "unet-8-seed2"]


def test_a_networks_name_picks_the_trainings_of_all_its_seeds() -> None:
    assert names("unet-8") == ["unet-8", "unet-8-seed1", "unet-8-seed2"]
    assert names("slim-8", "unet-8") == names()


def test_a_name_with_a_seed_picks_one_training() -> None:
    assert names("unet-8-seed1") == ["unet-8-seed1"]
    assert names("unet-8-seed0", "slim-8-seed1") == ["unet-8", "slim-8-seed1"]


@pytest.mark.parametrize(
    ("name", "hint"), [("unet-9", "unet-8"), ("unet-8-seed3", "unet-8-seed2"), ("slim-8-seed", "slim-8-seed")]
)
def test_a_name_that_picks_none_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f'zoo training "{name}" is not listed; did you mean "{hint}'):
        pick_trainings(["slim-8", name])


def test_a_network_is_unfinished_while_one_of_its_seeds_is(zoo: set[str]) -> None:
    zoo.update({"slim-8", "unet-8"})
    assert [training.name for training in select_unfinished(pick_trainings(["slim-8"]))] == ["slim-8-seed1"]


def test_finished_trainings_are_said_by_the_names_that_picked_them(
    zoo: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo.update({"slim-8", "slim-8-seed1"})
    run_trainings(tmp_path, ["slim-8"])
    assert capsys.readouterr().err == "zoo: every training of slim-8 is finished\n"
    zoo.update(names())
    run_trainings(tmp_path)
    assert capsys.readouterr().err == "zoo: every training is finished\n"
