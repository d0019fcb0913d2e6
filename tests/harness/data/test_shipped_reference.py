"""Reference sets that ship: a run from one has the figures and the name of a run from the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.cli.reference import write_shipped
from harness.config.suite import Suite
from harness.data import shipped_reference
from harness.data.cards import load_card
from harness.data.shipped_reference import find_shipped_reference
from harness.errors import StoreDamagedError, UsageError
from harness.metrics.extractors import extractor_spec
from harness.planning.plan import make_plan

SUITE = {
    "name": "small", "title": "t", "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn",
    "n_images": 80, "batch": 40, "baseline": {"clock_steps": 2}, "timing": {"tier": "smoke"},
    "networks": {"unet-8": {"weights": "zoo:unet-8"}}, "trials": [{"steps": 2}],
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped reference set of digits."""
    folder = tmp_path_factory.mktemp("references")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped_reference, "_FOLDER", folder)
        path = write_shipped("digits", None)
    assert path == folder / "digits" / "digits-cnn.safetensors"
    return folder


@pytest.fixture
def found(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, found by plans, in a copy that a test may damage."""
    copy = tmp_path / "references"
    (copy / "digits").mkdir(parents=True)
    for path in (shipped / "digits").iterdir():
        (copy / "digits" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(shipped_reference, "_FOLDER", copy)
    return copy / "digits"


def plan(**changes: object) -> object:
    return make_plan(Suite.model_validate({**SUITE, **changes}), "cpu:a chip", "a chip")


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(card: object, split: str) -> None:
        raise AssertionError("a picture was read")

    monkeypatch.setattr("harness.planning.plan.load_split", refuse)
    monkeypatch.setattr("harness.planning.plan.load_whole_split", refuse)
    monkeypatch.setattr("harness.planning.zoo_networks.load_split", refuse)


def test_a_run_without_pictures_has_the_figures_of_one_with_them(
    found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"in_process": True, "quiet": True, "report": False}
    whole = Suite.model_validate({**SUITE, "reference": "pictures"})
    by_pictures = harness.run(whole, results=tmp_path / "pictures", **settings).trials.iloc[0]
    without_pictures(monkeypatch)
    row = harness.run(Suite.model_validate(SUITE), results=tmp_path / "shipped", **settings).trials.iloc[0]
    assert row["verdict"] == "VALID", row["reasons"]
    same = ("fid", "fid_low", "fid_high", "fid_floor", "reference", "images_sha256")
    assert {name: row[name] for name in same} == {name: by_pictures[name] for name in same}
    for name in ("kid", "precision", "recall", "copy_rate"):
        assert row[name] == pytest.approx(by_pictures[name], rel=2e-3, abs=1e-4), name


def test_what_learns_reads_the_pictures(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan(trials=[{"steps": 2, "schedule": "few-step"}, {"steps": 2}])
    kinds = {task.spec.kind for task in made.tasks.values()}  # type: ignore[attr-defined]
    assert "prepare" in kinds
    without_pictures(monkeypatch)
    with pytest.raises(AssertionError, match="a picture was read"):
        plan(trials=[{"steps": 2, "schedule": "few-step"}, {"steps": 2}])


def test_a_file_unlike_its_card_is_damage(found: Path) -> None:
    (found / "digits-cnn.safetensors").write_bytes(b"other")
    with pytest.raises(StoreDamagedError, match=r"found SHA-256 .* restore the file"):
        plan()
    (found / "digits-cnn.safetensors").unlink()
    with pytest.raises(StoreDamagedError, match="the file is missing"):
        plan()
    (found / "digits-cnn.toml").write_text("dataset = 1")
    with pytest.raises(StoreDamagedError, match="restore the file from the repository") as caught:
        plan()
    assert str(caught.value).count("digits-cnn.toml") == 1


@pytest.mark.parametrize("key", ["pixels", "extractor_sha256"])
def test_a_file_of_other_pictures_or_another_network_is_not_taken(key: str, found: Path) -> None:
    card = found / "digits-cnn.toml"
    lines = [f'{key} = "{"0" * 64}"' if line.startswith(f"{key} =") else line for line in card.read_text().splitlines()]
    card.write_text("\n".join(lines))
    assert find_shipped_reference(load_card("digits"), extractor_spec("digits-cnn")) is None


def test_what_ships_is_whole() -> None:
    made = find_shipped_reference(load_card("cifar10-16"), extractor_spec("cifar10-16-cnn"))
    assert made is not None
    assert (made.images, made.kept_features, made.coded_features) == (50_000, 10_000, 50_000)
    total = sum(path.stat().st_size for path in shipped_reference.reference_folder().rglob("*") if path.is_file())
    assert total < 4_000_000


def test_pictures_that_no_card_pins_do_not_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card("digits")
    bare = {name: split.model_copy(update={"sha256": None}) for name, split in card.splits.items()}
    monkeypatch.setattr("harness.cli.reference.load_card", lambda name: card.model_copy(update={"splits": bare}))
    with pytest.raises(UsageError, match="are pinned nowhere in its card"):
        write_shipped("digits", None)
