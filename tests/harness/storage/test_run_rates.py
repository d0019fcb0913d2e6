"""Rates of runs in one file: a newer run weighs more, a broken file is one sentence, a crash leaves it whole."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness.storage import run_rates
from harness.storage.run_rates import RATES_FILE, DeviceRates, KeptRates, Rate, add_run_rates, read_rates

DEVICE = "cpu:a chip"


def kept(folder: Path) -> DeviceRates:
    return read_rates(folder).devices[DEVICE]


def test_the_first_run_is_kept_as_it_was(tmp_path: Path) -> None:
    add_run_rates(tmp_path, DEVICE, {"start": 4.0, "none": 0.0, "odd": math.nan})
    assert kept(tmp_path) == DeviceRates(runs=1, rates={"start": Rate(value=4.0, last_run=1)})


def test_the_newest_run_weighs_twice_what_the_one_before_weighs(tmp_path: Path) -> None:
    for seconds in (2.0, 16.0):
        add_run_rates(tmp_path, DEVICE, {"start": seconds})
    rate = kept(tmp_path).rates["start"]
    assert rate.value == pytest.approx(2.0 ** ((0.5 * 1 + 1 * 4) / 1.5))
    assert rate.spread == pytest.approx(math.log(8.0) * math.sqrt(0.5) / 1.5)  # of weights 1/3 and 2/3
    assert rate.weight == 1.5


def test_equal_runs_show_no_spread_and_old_ones_weigh_no_more_than_the_newest(tmp_path: Path) -> None:
    for _ in range(20):
        add_run_rates(tmp_path, DEVICE, {"start": 3.0})
    rate = kept(tmp_path).rates["start"]
    assert rate.value == pytest.approx(3.0)
    assert rate.spread == pytest.approx(0.0, abs=1e-6)
    assert rate.weight == pytest.approx(2.0, abs=1e-3)


def test_classes_of_devices_are_kept_apart(tmp_path: Path) -> None:
    add_run_rates(tmp_path, DEVICE, {"start": 3.0})
    add_run_rates(tmp_path, "cuda:another", {"start": 9.0})
    assert {name: one.rates["start"].value for name, one in read_rates(tmp_path).devices.items()} == {
        DEVICE: 3.0,
        "cuda:another": 9.0,
    }


def test_what_a_run_adds_later_belongs_to_it(tmp_path: Path) -> None:
    add_run_rates(tmp_path, DEVICE, {"start": 3.0})
    add_run_rates(tmp_path, DEVICE, {"report": 0.2}, is_new_run=False)
    assert kept(tmp_path).runs == 1
    assert kept(tmp_path).rates.keys() == {"start", "report"}


def test_keys_that_were_not_seen_for_longest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_rates, "_MOST_KEYS", 2)
    for key in ("a", "b", "a", "c"):
        add_run_rates(tmp_path, DEVICE, {key: 1.0})
    assert kept(tmp_path).rates.keys() == {"a", "c"}


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_rates(tmp_path / "nowhere") == KeptRates()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2, "devices": {}}',
        '{"version": 1, "devices": {"cpu:a chip": {"runs": 1, "rates": {"start": {"value": -1}}}}}',
        '{"version": 1, "devices": {"cpu:a chip": {"runs": 1, "rates": {"start": {"value": NaN}}}}}',
        '{"version": 1, "devices": {"cpu:a chip": {"runs": 1, "rates": {"start": {"value": 1, "more": 1}}}}}',
    ],
)
def test_a_broken_file_is_one_sentence_and_the_next_run_writes_it_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / RATES_FILE).write_text(text)
    found = read_rates(tmp_path)
    assert found.devices == {}
    assert found.problem.startswith(f"{tmp_path / RATES_FILE} cannot be read (")
    assert "\n" not in found.problem
    add_run_rates(tmp_path, DEVICE, {"start": 3.0})
    assert read_rates(tmp_path).problem == ""
    assert kept(tmp_path).runs == 1


def test_a_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps({"version": 1, "devices": {}}))
    (tmp_path / RATES_FILE).symlink_to(tmp_path / "elsewhere")
    assert "cannot be read" in read_rates(tmp_path).problem


def test_a_writer_that_dies_leaves_the_old_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run_rates(tmp_path, DEVICE, {"start": 3.0})

    def die(*_: object) -> None:
        raise OSError("it died")

    with monkeypatch.context() as patch:
        patch.setattr("harness.storage.disk.Disk.rename", die)
        with pytest.raises(OSError, match="it died"):
            add_run_rates(tmp_path, DEVICE, {"start": 9.0})
    assert kept(tmp_path).rates["start"].value == 3.0
    assert [path.name for path in tmp_path.iterdir()] == [RATES_FILE]
