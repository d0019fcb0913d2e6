"""What was fetched is found by suites without a path, and what is absent is offered with the command that brings it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kit.plan_kit import SUITE

from harness.config.suite import Suite
from harness.data.readers.base import WantedSplit, data_folder
from harness.errors import UsageError
from harness.fetching import fetch_card
from harness.fetching.fetch_card import fetch_cards, fetch_names, load_fetch_card
from harness.fetching.lookup import find_extractor_weights, find_file, offer_data, offer_file, offer_import
from harness.planning.plan import Plan, make_plan

SHIPPED = Path(fetch_card.__file__).parent / "cards"
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
WANTED = WantedSplit("cifar10", "train", None, None, 3, 32)


@pytest.fixture(autouse=True)
def _shipped_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetch_card, "CARDS", SHIPPED)
    monkeypatch.delenv("ONECLOCK_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def put(path: str, content: bytes = b"x") -> Path:
    """Put a file where a fetch would have."""
    file = Path(os.environ["ONECLOCK_CACHE"]) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def plan(may_be_absent: bool = True, **changes: Any) -> Plan:
    suite = Suite.model_validate({**SUITE, "dataset": "cifar10", "network": "unet-32", "n_images": 2100, **changes})
    return make_plan(suite, "cpu:a chip", "a chip", data_may_be_absent=may_be_absent)


def test_every_shipped_card_is_valid_and_names_a_public_host() -> None:
    assert {"inception", "dinov2", "cifar10", "edm-cifar10-cond", "dit-xl-2"} <= set(fetch_names())
    for name in fetch_names():
        for file in load_fetch_card(name).files:
            assert file.url.startswith("https://")


def test_a_feature_network_is_found_by_its_name_and_by_its_file() -> None:
    assert find_extractor_weights("inception-v3-compat", None) is None
    file = put(f"files/inception/{INCEPTION}")
    assert find_extractor_weights("inception-v3-compat", None) == file
    assert find_extractor_weights("inception-v3-compat", Path(INCEPTION)) == file
    Path(INCEPTION).write_bytes(b"the user's own")
    assert find_extractor_weights("inception-v3-compat", Path(INCEPTION)) == Path(INCEPTION)


def test_a_folder_of_diffusers_is_found_whole_or_not_at_all() -> None:
    put("files/sd-vae-ft-ema/config.json")
    assert find_file(Path("sd-vae-ft-ema")) == Path("sd-vae-ft-ema")
    weights = put("files/sd-vae-ft-ema/diffusion_pytorch_model.safetensors")
    assert find_file(Path("sd-vae-ft-ema")) == weights.parent
    assert find_file(Path("config.json")) == Path("config.json")  # several cards have one
    assert find_file(Path("here/sd-vae-ft-ema")) == Path("here/sd-vae-ft-ema")


def test_pictures_are_found_where_no_setting_names_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`oneclock fetch cifar10` brings it"):
        data_folder(WANTED, None, "path")
    file = put("data/cifar10/train-00000-of-00001.parquet")
    assert data_folder(WANTED, None, "path") == file.parent
    monkeypatch.setenv("ONECLOCK_DATA", str(tmp_path / "own"))
    assert data_folder(WANTED, None, "path") == file.parent
    (tmp_path / "own" / "cifar10").mkdir(parents=True)
    assert data_folder(WANTED, None, "path") == tmp_path / "own" / "cifar10"


def test_a_plan_offers_what_is_absent_and_a_run_says_it_before_anything_starts() -> None:
    statistics = {"statistics": "cifar10-32x32.npz", "n": 50000}
    network, data = plan(extractor="inception-v3-compat").absent
    assert network.endswith("; `oneclock fetch inception` brings it")
    assert "; `oneclock fetch cifar10` brings it (Parquet files of huggingface.co/" in data
    found = plan(extractor="inception-v3-compat", reference=statistics).absent
    assert any(sentence.endswith("; `oneclock fetch edm-cifar10-statistics` brings it") for sentence in found)
    with pytest.raises(UsageError, match="`oneclock fetch inception` brings it"):
        plan(may_be_absent=False, extractor="inception-v3-compat")


def test_a_network_is_offered_with_its_import() -> None:
    assert offer_import(Path("imported/dit-xl-2-256x256/dit-xl-2-256x256.safetensors")) == (
        "; `oneclock fetch dit-xl-2`, then `oneclock import network DiT-XL-2-256x256.pt --state process=vp-discrete`, "
        "brings it"
    )
    assert (offer_import(Path("mine.safetensors")), offer_file(Path("mine.npz")), offer_data("mine")) == ("", "", "")


def test_fetched_statistics_are_the_reference_of_a_suite() -> None:
    file = put("files/edm-cifar10-statistics/cifar10-32x32.npz")
    np.savez(file, mu=np.zeros(128), sigma=np.eye(128))
    stated = {"statistics": "cifar10-32x32.npz", "n": 50000, "extractor": "cifar10-cnn", "resize": "none"}
    spec = plan(extractor="cifar10-cnn", reference=stated, networks={"unet-32": {"weights": "none"}})
    assert not any("reference.statistics" in sentence for sentence in spec.absent)


def test_fetched_parquet_files_are_read_without_a_setting() -> None:
    from PIL import Image

    from harness.data.cards import load_card
    from harness.data.splits import load_split

    picture = put("one.png")
    Image.new("RGB", (32, 32), (1, 2, 3)).save(picture)
    rows = [{"img": {"bytes": picture.read_bytes(), "path": None}, "label": 4}] * 10_000
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, put("data/cifar10/test-00000-of-00001.parquet"))
    found = load_split(load_card("cifar10"), "test")
    assert found.images[9_999, :, 0, 0].tolist() == [1, 2, 3]


def test_cards_are_read_once() -> None:
    assert fetch_cards() is fetch_cards()
