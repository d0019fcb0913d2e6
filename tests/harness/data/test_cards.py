"""Cards: found by name or path, closed, and refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.card_kit import EIGHT_LINES, write_card

from harness.data.cards import DatasetCard, card_names, load_card
from harness.errors import UsageError
from harness.identity import canonical_json, content_hash
from harness.specs.base import deciding_fields


def sentence(folder: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_card(write_card(folder, text))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_cards_load_under_their_names() -> None:
    assert {"cifar10", "cifar10-16", "digits", "gaussian", "gaussian-mixture"} <= set(card_names())
    for name in card_names():
        card = load_card(name)
        assert card.name == name
        assert card.reference in card.splits
        assert card.licence


def test_eight_lines_are_a_card(tmp_path: Path) -> None:
    card = load_card(write_card(tmp_path, EIGHT_LINES))
    assert (card.labels, card.sigma_data, card.reference) == (0, 0.5, "train")
    assert card.arguments.model_dump()["path"] == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    "name",
    ["..", "../x", "/etc/passwd", "a/b", "a\0b", "a" * 300, "con", "digits.", "dıgits", "", "Digits", "a\0.toml"],
)
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="data set name is"):
        load_card(name)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match='did you mean "digits"'):
        load_card("digit")


def test_a_missing_card_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"found no card file nowhere/x\.toml"):
        load_card("nowhere/x.toml")


def test_own_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets").mkdir()
    write_card(tmp_path / "datasets", EIGHT_LINES)
    monkeypatch.chdir(tmp_path)
    assert load_card("mine").title == "My own images"
    (tmp_path / "cards").mkdir()
    write_card(tmp_path / "cards", EIGHT_LINES.replace("My own images", "From the setting"))
    monkeypatch.setenv("ONECLOCK_DATASETS", str(tmp_path / "cards"))
    assert load_card("mine").title == "From the setting"
    assert {"mine", "digits"} <= set(card_names())


def test_a_wrong_folder_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONECLOCK_DATASETS", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="ONECLOCK_DATASETS"):
        load_card("digits")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("resolution", "resolutoin", 'unknown key "resolutoin"; did you mean "resolution"?'),
        ("{ n = 2,", "{ n = 2, sha265 = 1,", 'unknown key "splits.train.sha265"; did you mean "sha256"?'),
        ("{ path", "{ resizee = 1, path", 'unknown key "resizee"; did you mean "resize"?'),
        ("resolution = 4\n", "", 'the key "resolution" is missing'),
        ("n = 2", "n = -2", '"splits.train.n" is -2; input should be greater than 0'),
        ("channels = 3", "channels = 2", '"channels" is 2'),
        ("resolution = 4", "resolution = 4\nsigma_data = nan", '"sigma_data" is nan'),
        ("resolution = 4", "resolution = 4\nsigma_min = 90.0", "sigma_min is 90; expected less than sigma_max = 80"),
        ("resolution = 4", "resolution = 4\nresolution = 8", "not valid TOML"),
        ("resolution = 4", 'resolution = "1e1"', "\"resolution\" is '1e1'"),
        ("channels = 3", 'channels = 3\nreference = "tset"', 'reference is "tset"; expected one of the splits train'),
        ("splits.train", 'splits."../x"', "split name is '../x'"),
        ('"mine"', '"../mine"', "name is '../mine'"),
        ('"mine"', '"other"', 'name is "other"; expected "mine"'),
        ("image-folder", "image-folders", 'did you mean "image-folder"?'),
        ('reader = "image-folder"\n', "", "reader is None"),
        ("{ path", "{ resize = 'stretch', path", "\"resize\" is 'stretch'"),
        ("arguments = { path", "arguments = [{ path", "not valid TOML"),
        (
            "licence",
            "variants.unpinned = {note='', sha256={train='" + "0" * 64 + "'}}\nlicence",
            "expected another name",
        ),
        ("licence", "variants.x = {note='', sha256={tran='" + "0" * 64 + "'}}\nlicence", 'did you mean "train"?'),
        ("licence", "splits.test = { n = 2, source = '.' }\nlicence", "two splits have the same source"),
    ],
)
def test_a_wrong_card_is_one_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    said = sentence(tmp_path, EIGHT_LINES.replace(old, new))
    assert expected in said
    assert "mine.toml" in said


def test_an_oversized_card_is_refused(tmp_path: Path) -> None:
    assert "larger than 1,000,000 bytes" in sentence(tmp_path, EIGHT_LINES + "# " + "x" * 1_000_000)


def test_a_deeply_nested_card_is_refused(tmp_path: Path) -> None:
    assert "mine.toml" in sentence(tmp_path, EIGHT_LINES + "deep = " + "[" * 100_000)


def test_a_card_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_card(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("stds = [0.2]", "stds = [0.2, 0.1]", "1 means, 2 stds and 1 weights"),
        ("stds = [0.2]", "stds = [-0.2]", "not positive"),
        ("weights = [1.0]", "weights = [0.5]", "weights add up to 0.5; expected 1"),
        ("resolution = 4", "resolution = 5", "means have [16] values; expected 25"),
    ],
)
def test_a_wrong_mixture_is_one_sentence(tmp_path: Path, old: str, new: str, expected: str) -> None:
    text = (Path(__file__).parents[3] / "datasets" / "gaussian.toml").read_text().replace('"gaussian"', '"mine"', 1)
    assert expected in sentence(tmp_path, text.replace(old, new))


def test_the_shape_of_a_mixture_carries_the_distribution() -> None:
    shape = load_card("gaussian-mixture").shape()
    assert (shape.channels, shape.resolution) == (1, 4)
    assert [len(mean) for mean in shape.facts["means"]] == [16] * 6
    assert len(shape.facts["stds"]) == len(shape.facts["weights"]) == 6
    assert load_card("digits").shape().facts == {}


def test_identity_facts_are_json_and_ignore_where_the_data_lie(tmp_path: Path) -> None:
    here = load_card(write_card(tmp_path, EIGHT_LINES))
    canonical_json(deciding_fields(load_card("gaussian-mixture").spec()))
    there = load_card(write_card(tmp_path, EIGHT_LINES.replace("pictures", "elsewhere").replace("CC0", "other")))
    assert here.spec() == there.spec()
    smaller = load_card(write_card(tmp_path, EIGHT_LINES.replace("n = 2", "n = 1")))
    assert content_hash(deciding_fields(here.spec())) != content_hash(deciding_fields(smaller.spec()))


@pytest.mark.parametrize("folder", ["../x", "/etc"])
def test_a_folder_that_leaves_the_data_is_refused(tmp_path: Path, folder: str) -> None:
    text = EIGHT_LINES.replace('"image-folder"', '"parquet"').replace('path = "pictures"', f'folder = "{folder}"')
    said = sentence(tmp_path, text)
    assert "expected a relative path below ONECLOCK_DATA" in said
    assert "mine.toml" in said


def test_an_unknown_split_gets_a_suggestion() -> None:
    card: DatasetCard = load_card("digits")
    with pytest.raises(UsageError, match='has no split "tran"; did you mean "train"'):
        card.wanted_split("tran")
