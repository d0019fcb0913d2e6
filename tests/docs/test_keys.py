"""Every key of a suite and of a data set card is documented with its default, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kit.docs_kit import DOCS
from kit.key_kit import documented, keys

from harness.config.base_suite import BASE, Changes
from harness.config.network_card import NetworkCard
from harness.config.suite import Suite
from harness.data.cards import DatasetCard
from harness.data.readers import READERS

SUITE, CARDS = (DOCS / name for name in ("suite.md", "cards.md"))
_READER = re.compile(r"^## Reader `([^`]+)`\n(.*?)(?=^## |\Z)", re.M | re.S)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def suite_keys() -> dict[str, str]:
    return {
        **keys(Suite, tables={"networks": NetworkCard}),
        BASE: "none",
        **keys(Changes, "changes."),
    }


def test_every_key_of_a_suite_is_documented_with_its_default_and_no_other() -> None:
    assert documented(text(SUITE)) == suite_keys()


def test_every_key_of_a_card_is_documented_with_its_default_and_no_other() -> None:
    assert documented(_READER.sub("", text(CARDS))) == keys(DatasetCard)


def test_every_reader_is_documented_and_no_other() -> None:
    assert {name for name, _ in _READER.findall(text(CARDS))} == set(READERS)


@pytest.mark.parametrize("reader", READERS)
def test_every_argument_of_a_reader_is_documented(reader: str) -> None:
    section = dict(_READER.findall(text(CARDS)))[reader]
    assert documented(section) == keys(READERS[reader], "arguments.")


def test_the_keys_are_really_those_of_the_models() -> None:
    found = suite_keys()
    assert found["timing.tier"] == '`"quick"`'
    assert found["networks.NAME.train.lr"] == "required"
    assert {"trials.guidance", "trials.guidance.scale", "decoder.batch", "expect.value"} <= {*found}
    assert not {"timing", "trials", "networks", "trials.solver.name"} & {*found}


def test_a_key_that_stands_twice_is_an_error() -> None:
    row = "| `steps` | number | none | Steps. |\n"
    assert documented(row) == {"steps": "none"}
    with pytest.raises(ValueError, match="`steps` stands twice"):
        documented(row * 2)
