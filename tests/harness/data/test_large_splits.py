"""Splits that memory does not hold: they lie on disk, are used a block at a time, and are refused where that fails."""

from __future__ import annotations

import errno
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from kit.card_kit import EIGHT_LINES, write_card
from kit.reader_kit import encoded, read, refusal, target

import harness
from harness.cli.reference import write_reference
from harness.config.suite import Suite
from harness.data import disk_array as disk
from harness.data import splits
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.errors import UsageError
from harness.metrics.extractors import extractor_spec
from harness.metrics.reference import ReferenceCollector, ReferenceFeatures, reference_of
from harness.metrics.statistics_file import read_statistics
from harness.planning.plan import make_plan
from harness.sampling.place import ModelCache, Place
from harness.specs.reference import ReferenceSpec
from harness.task import IMAGES, Progress, Result
from harness.tasks import reference as reference_task

WEIGHTS = Path(__file__).resolve().parents[3] / "methods/networks/zoo/unet-8/weights.safetensors"
N, SIDE = 6000, 32
PICTURES = N * 3 * SIDE * SIDE
"""Bytes of the decoded pictures of the large card."""


def use_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=free))


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A folder of four pictures of 3x4x4."""
    for value in range(4):
        (tmp_path / f"{value}.png").write_bytes(encoded(value))
    return tmp_path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of small files that decode to 18 MB."""
    folder = tmp_path_factory.mktemp("large")
    kinds = [encoded(value, size=(SIDE, SIDE)) for value in range(256)]
    cells = pa.array([kinds[index * 7 % 256] for index in range(N)], pa.binary())
    pq.write_table(pa.table({"image": cells}), folder / "train.parquet", row_group_size=500)
    card = folder / "large.toml"
    card.write_text(
        f'name = "large"\ntitle = "t"\nreader = "parquet"\narguments = {{ path = "{folder}" }}\nresolution = {SIDE}\n'
        f'channels = 3\nsplits.train = {{ n = {N} }}\nlicence = "none"\n'
    )
    return str(card)


@pytest.fixture(autouse=True)
def read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_loaded", {})


@pytest.mark.parametrize(("free", "on_disk"), [(2 * 4 * 48, False), (2 * 4 * 48 - 1, True)])
def test_more_than_half_of_the_free_memory_lies_on_disk_with_the_same_pixels(
    free: int, on_disk: bool, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = target(4, labels=0, source=".")
    plain = read("image-folder", wanted, path=str(few)).images
    use_memory(monkeypatch, free)
    found = read("image-folder", wanted, path=str(few)).images
    assert disk.is_on_disk(found) is on_disk
    assert type(found) is np.ndarray
    assert np.array_equal(found, plain)


def test_a_split_that_neither_memory_nor_disk_holds_is_refused_before_a_picture_is_read(
    few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in few.glob("*.png"):
        path.write_bytes(b"no picture")
    use_memory(monkeypatch, 4 * 48)
    monkeypatch.setattr("harness.data.readers.base.disk_room", lambda: 4 * 48 - 1)
    said = refusal("image-folder", target(4, labels=0, source="."), path=str(few))
    assert "4 images take 0.0 GB" in said
    assert "set TMPDIR to a folder with room" in said
    assert "a file of statistics as the suite's `reference`, which needs no pictures" in said


def test_a_disk_that_is_full_after_all_is_one_sentence(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    use_memory(monkeypatch, 0)
    monkeypatch.setattr("os.posix_fallocate", is_full)
    said = refusal("image-folder", target(4, labels=0, source="."), path=str(few))
    assert "(No space left on device)" in said


@pytest.mark.parametrize(("kind", "has_room"), [("tmpfs", False), ("ramfs", False), ("ext4", True)])
def test_memory_that_looks_like_a_disk_has_no_room(
    kind: str, has_room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [types.SimpleNamespace(mountpoint="/", fstype="ext4")]
    mounts.append(types.SimpleNamespace(mountpoint=str(tmp_path), fstype=kind))
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert (disk.disk_room() > 0) is has_room


def test_released_pages_come_back() -> None:
    array = disk.disk_array((1000, 100), np.uint8)
    array[:] = 7
    disk.release_pages(array)
    assert np.all(array == 7)
    disk.release_pages(np.zeros(3))  # in memory: nothing happens


def test_reading_a_split_on_disk_holds_few_of_its_pictures(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = load_split(load_card(large), "train").fingerprint
    monkeypatch.setattr(splits, "_loaded", {})
    use_memory(monkeypatch, PICTURES)
    split, peak = traced(lambda: load_split(load_card(large), "train"))
    assert split.is_on_disk
    assert split.fingerprint == fingerprint
    assert peak < PICTURES / 4


def test_oneclock_reference_holds_few_pictures_and_writes_the_same_file(
    large: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reference(large, tmp_path / "memory.npz", "cifar10-cnn")
    monkeypatch.setattr(splits, "_loaded", {})
    use_memory(monkeypatch, 1_000_000)  # less than the features take, too
    _, peak = traced(lambda: write_reference(large, tmp_path / "disk.npz", "cifar10-cnn"))
    assert peak < PICTURES / 2
    one, other = (read_statistics(tmp_path / f"{name}.npz", name) for name in ("memory", "disk"))
    assert one.features is not None
    assert np.array_equal(one.features, other.features)
    assert np.array_equal(one.covariance, other.covariance)
    assert np.allclose(one.covariance, np.cov(one.features.T.astype(np.float64)), rtol=1e-9, atol=1e-12)
    assert one.stated == other.stated


def traced(call: Any) -> tuple[Any, int]:
    """Return what a call returns, and the most bytes that it held at once in arrays and objects."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_reference_task_of_a_run_holds_few_pictures(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_memory(monkeypatch, PICTURES)
    card = load_card(large)
    images = load_split(card, "train").images
    spec = ReferenceSpec(data=card.spec(), extractor=extractor_spec("cifar10-cnn"), device="cpu")
    place = Place(torch.device("cpu"), ModelCache())
    events = reference_task.run(spec, {IMAGES: images}, place)

    def all_but_the_result() -> list[Any]:
        seen = []
        for event in events:
            seen.append(event)
            if isinstance(event, Progress) and event.done == N:
                return seen
        raise AssertionError("the task ended early")

    seen, peak = traced(all_but_the_result)
    assert len(seen) == -(-N // 256)
    assert peak < PICTURES / 2
    (result,) = events
    assert isinstance(result, Result)
    assert ReferenceFeatures.from_tensors(result.tensors).n == N


def test_a_run_on_a_split_on_disk_has_the_figures_of_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite.model_validate({
        "name": "small", "title": "t", "dataset": "digits", "network": "unet-8", "extractor": "digits-cnn",
        "n_images": 80, "batch": 40, "baseline": {"clock_steps": 2}, "timing": {"tier": "smoke"},
        "networks": {"unet-8": {"weights": str(WEIGHTS)}}, "trials": [{"steps": 2}],
    })  # fmt: skip
    rows = []
    for fits in (True, False):
        monkeypatch.setattr(splits, "_loaded", {})
        monkeypatch.setattr("harness.data.readers.base.fits_memory", lambda _, fits=fits: fits)
        tables = harness.run(suite, results=tmp_path / str(fits), in_process=True, quiet=True, report=False)
        assert load_split(load_card("digits"), "train").is_on_disk is not fits
        rows.append(tables.trials.iloc[0])
    assert rows[0]["fid"] > 0
    for name in ("fid", "fid_low", "kid", "precision", "recall", "copy_rate", "trial_id", "verdict"):
        assert rows[0][name] == rows[1][name], name


@pytest.mark.parametrize("batch", [1, 7, 4095, 4096, 4097, 9000])
def test_a_reference_is_the_same_however_its_features_are_cut(batch: int) -> None:
    features = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)
    collected = ReferenceCollector(len(features), kernel_limit=100)
    step = batch if batch > 1 else 1000  # 1: single features at the ends
    if batch == 1:
        collected.append(features[:1])
    for first in range(1 if batch == 1 else 0, len(features), step):
        collected.append(features[first : first + step])
    found, expected = collected.result().to_tensors(), reference_of(features, kernel_limit=100).to_tensors()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_collector_holds_no_more_than_it_must() -> None:
    n, d = 400_000, 8

    def collect() -> None:
        collected = ReferenceCollector(n, kernel_limit=100, copy_limit=100)
        for _ in range(n // 500):
            collected.append(np.zeros((500, d), dtype=np.float32))
        collected.result()

    assert traced(collect)[1] < n * d * 4 / 4


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([np.zeros((3, 2), np.float32)], "found features of 3 images; expected 5"),
        ([np.zeros((6, 2), np.float32)], "expected the one that starts at 0, of 5 images"),
        ([np.full((5, 2), np.nan, np.float32)], "a feature of image 0 that is not finite"),
    ],
)
def test_a_collector_refuses_what_is_no_reference(parts: list[np.ndarray], sentence: str) -> None:
    collected = ReferenceCollector(5)

    def collect() -> None:
        for part in parts:
            collected.append(part)
        collected.result()

    with pytest.raises(ValueError, match=sentence):
        collect()


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [({}, True), ({"networks": {"unet-tiny": {"weights": "w.safetensors"}}}, False)],
)
def test_only_what_learns_needs_a_whole_split(
    changes: dict[str, Any], is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    for value in range(60):
        (tmp_path / "pictures" / f"{value:02}.png").write_bytes(encoded(value))
    card = write_card(tmp_path, EIGHT_LINES.replace("n = 2", "n = 60"))
    suite = {
        "name": "small", "title": "t", "dataset": card, "network": "unet-tiny", "extractor": "pixels", "n_images": 60,
        "baseline": {"clock_steps": 2}, "trials": [{"steps": 2}], **changes,
    }  # fmt: skip
    use_memory(monkeypatch, 60 * 48)
    monkeypatch.chdir(tmp_path)

    def plan() -> None:
        make_plan(Suite.model_validate(suite), "cpu:a chip", "a chip", data_may_be_absent=True)

    if is_refused:
        with pytest.raises(UsageError, match="what learns from it holds it whole"):
            plan()
    else:
        plan()
        assert load_split(load_card(card), "train").is_on_disk
