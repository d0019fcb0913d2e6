"""How many images a split has: as its card states, which must be true, or as many as are found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit.card_kit import EIGHT_LINES, write_card
from kit.reader_kit import encoded, first_pixels, read, refusal, target

from harness.config.suite import Suite
from harness.data.cards import load_card
from harness.data.splits import count_images, load_split
from harness.errors import DataAbsentError, UsageError
from harness.planning.plan import Plan, make_plan

UNCOUNTED = EIGHT_LINES.replace("n = 2, ", "")


def pictures(folder: Path, n: int) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(n):
        (folder / f"{number:03}.png").write_bytes(encoded(number))
    return folder


def planned(card: str, absent: bool = True, scored: bool = False, **changes: object) -> Plan:
    suite = Suite.model_validate(
        {
            "name": "counts",
            "title": "counts",
            "dataset": card,
            "network": "unet-tiny",
            "extractor": "pixels",
            "n_images": 60,
            "baseline": {"clock_steps": 2},
            "trials": [{"steps": 2}],
            **changes,
        }
    )
    return make_plan(suite, "cpu:a chip", "a chip", data_may_be_absent=absent, trains_only=not scored)


def test_a_card_may_leave_its_number_to_what_is_found(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", 5)
    card = load_card(write_card(tmp_path, UNCOUNTED))
    assert card.splits["train"].n is None
    assert len(load_split(card, "train").images) == count_images(card, "train") == 5


def test_a_number_that_is_stated_needs_no_image(tmp_path: Path) -> None:
    card = load_card(write_card(tmp_path, EIGHT_LINES))
    assert count_images(card, "train") == 2
    assert count_images(load_card(write_card(tmp_path, UNCOUNTED)), "train") is None


def test_stating_the_number_that_is_found_changes_no_identity_and_another_picture_changes_it(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 5)
    stated = planned(write_card(tmp_path, EIGHT_LINES.replace("n = 2", "n = 5"))).listed_ids
    assert planned(write_card(tmp_path, UNCOUNTED)).listed_ids == stated
    (folder / "more.png").write_bytes(encoded(0))
    assert planned(write_card(tmp_path, UNCOUNTED)).listed_ids != stated


@pytest.mark.parametrize("make", [planned, lambda card: planned(card, absent=False)], ids=["plan", "run"])
def test_another_number_than_stated_names_card_and_folder_and_both_numbers(
    tmp_path: Path, make: Callable[[str], Plan]
) -> None:
    folder = pictures(tmp_path / "pictures", 3)
    with pytest.raises(UsageError) as caught:
        make(write_card(tmp_path, EIGHT_LINES))
    assert f'data set "mine", split "train": found 3 images in {folder}; expected 2, as its card states' in str(
        caught.value
    )
    assert "n = 3" in str(caught.value)
    assert not isinstance(caught.value, DataAbsentError)


def test_a_broken_picture_is_no_absent_data_set(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures", 2)
    (folder / "000.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"000\.png cannot be decoded"):
        planned(write_card(tmp_path, EIGHT_LINES))


def test_a_plan_is_made_where_the_images_are_absent(tmp_path: Path) -> None:
    for text in (EIGHT_LINES, UNCOUNTED):
        made = planned(write_card(tmp_path, text))
        assert made.trials[0].trial.data.pixels == "absent"
        with pytest.raises(DataAbsentError, match="found no folder"):
            planned(write_card(tmp_path, text), absent=False)


@pytest.mark.parametrize(("n", "said"), [(48, "found 48 reference images"), (49, "")])
def test_few_images_that_were_counted_are_too_few_for_fid(tmp_path: Path, n: int, said: str) -> None:
    pictures(tmp_path / "pictures", n)  # 4 x 4 x 3 = 48 values
    card = write_card(tmp_path, UNCOUNTED)
    if said:
        with pytest.raises(UsageError, match=said):
            planned(card, scored=True)
    else:
        assert planned(card, scored=True).trials


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "train", 0)
    wanted = target(None, labels=0)
    assert f"found no image in {tmp_path}/train; expected one or more" in refusal(
        "image-folder", wanted, path=str(tmp_path)
    )


@pytest.mark.parametrize(("source", "rows"), [("0:4", 4), ("1:2", 1)])
def test_rows_of_a_source_need_no_number(source: str, rows: int) -> None:
    wanted = target(None, channels=1, resolution=8, source=source)
    assert len(first_pixels(read("sklearn", wanted, loader="load_digits", maximum=16))) == rows


@pytest.mark.parametrize("source", ["4:4", "4:2", ":", None])
def test_no_rows_are_refused(source: str | None) -> None:
    wanted = target(None, channels=1, resolution=8, source=source)
    assert "spanning one or more rows" in refusal("sklearn", wanted, loader="load_digits", maximum=16)
