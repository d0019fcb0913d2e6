"""Task artifacts: what was put comes back exactly; a damaged file counts as absent, is kept aside and warned of."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.errors import UsageError
from harness.identity import content_hash
from harness.storage.blobs import Blobs

ID = content_hash("weights")
TYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint32", "float16", "float32", "float64")


def names(folder):
    """Return what lies in a folder, by name."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "artifacts")


def same(one, two):
    """Tell whether two mappings hold the same arrays, bit by bit."""
    return one.keys() == two.keys() and all(
        one[k].dtype == two[k].dtype and one[k].shape == two[k].shape and one[k].tobytes() == two[k].tobytes()
        for k in one
    )


def test_arrays_and_facts_come_back(blobs):
    tensors = {name: np.arange(6).reshape(2, 3).astype(name) for name in TYPES}
    tensors |= {"scalar": np.array(3.5), "none": np.zeros((0, 4), np.float32), "nan": np.array([np.nan, np.inf])}
    facts = {"step": 100, "loss": 0.25, "names": ["a", "b"], "deep": {"ü": None}}
    blobs.put(ID, tensors, facts)
    found, told = blobs.get(ID)
    assert same(found, tensors)
    assert told == facts == blobs.metadata(ID)
    assert blobs.has(ID)
    assert blobs.warnings == []
    found["scalar"][...] = 4  # the arrays are the caller's own


def test_memory_layout_does_not_matter(blobs):
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    for number, tensor in enumerate([square.T, square[::-1, ::2], np.asfortranarray(square), square.astype(">f4")]):
        blobs.put(content_hash(number), {"x": tensor}, {})
        np.testing.assert_array_equal(blobs.get(content_hash(number))[0]["x"], tensor)


def test_no_arrays_only_facts(blobs):
    blobs.put(ID, {}, {"done": True})
    assert blobs.get(ID) == ({}, {"done": True})


def test_equal_content_gives_equal_bytes(tmp_path):
    files = []
    for name in ("one", "two"):
        blobs = Blobs(tmp_path / name)
        blobs.put(ID, {"b": np.ones(3), "a": np.zeros(2)}, {"x": 1, "y": 2})
        files.append(next(blobs.folder.iterdir()).read_bytes())
    assert files[0] == files[1]


def test_what_is_absent_is_none(blobs):
    assert blobs.get(ID) is None
    assert blobs.metadata(ID) is None
    assert not blobs.has(ID)
    blobs.drop(ID)


def test_the_first_put_stays_and_put_latest_replaces(blobs):
    blobs.put(ID, {"x": np.zeros(1)}, {"n": 1})
    blobs.put(ID, {"x": np.ones(1)}, {"n": 2})
    assert blobs.metadata(ID) == {"n": 1}
    blobs.put_latest(ID, {"x": np.ones(1)}, {"n": 3})
    assert blobs.metadata(ID) == {"n": 3}
    blobs.drop(ID)
    assert names(blobs.folder) == []


@pytest.mark.parametrize("harm", ["truncate", "flip", "zero", "empty", "foreign", "link", "longer"])
def test_a_damaged_file_is_kept_aside_and_made_again(blobs, harm, tmp_path):
    blobs.put(ID, {"x": np.arange(100)}, {"n": 1})
    path = next(blobs.folder.iterdir())
    data = path.read_bytes()
    if harm == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        new = {"truncate": data[:-1], "flip": flipped, "zero": bytes(len(data)), "longer": data + b"x"}
        path.write_bytes(new.get(harm, b"" if harm == "empty" else b"<html>404</html>"))
    assert not blobs.has(ID)
    assert len(blobs.warnings) == 1
    assert "is damaged" in blobs.warnings[0]
    assert len(names(blobs.folder / "quarantine")) == 1
    assert not path.exists()
    blobs.put(ID, {"x": np.arange(100)}, {"n": 1})
    assert blobs.has(ID)


def test_put_over_a_damaged_file_stores(blobs):
    blobs.put(ID, {"x": np.arange(9)}, {})
    next(blobs.folder.iterdir()).write_bytes(b"torn")
    blobs.put(ID, {"x": np.arange(9)}, {})
    assert blobs.has(ID)
    assert len(blobs.warnings) == 1


def test_every_flipped_bit_is_seen(blobs):
    blobs.put(ID, {"x": np.arange(4, dtype=np.float32), "y": np.ones(2, np.uint8)}, {"name": "value", "n": 12})
    path = next(blobs.folder.iterdir())
    data = path.read_bytes()
    expected = blobs.get(ID)
    unseen = 0
    for position in sorted(random.Random(1).sample(range(len(data) * 8), 200)):
        altered = bytearray(data)
        altered[position // 8] ^= 1 << position % 8
        path.write_bytes(altered)
        found = blobs.get(ID)
        if found is not None:  # a padding blank of the header: harmless, but it must be the same content
            unseen += 1
            assert same(found[0], expected[0])
            assert found[1] == expected[1]
    assert unseen < 30


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "/etc/passwd", "a/b", "a\0b", "x" * 65, "con", "Ab", "quarantine/x"]
)
def test_an_id_that_could_name_a_path_is_refused(blobs, name):
    for call in (blobs.get, blobs.drop, blobs.has, lambda id: blobs.put(id, {}, {})):
        with pytest.raises(UsageError, match="artifact id is"):
            call(name)


@pytest.mark.parametrize("bad", [np.array(["text"]), np.array([object()]), np.array([1j]), [1, 2]])
def test_what_cannot_be_stored_is_refused(blobs, bad):
    with pytest.raises(UsageError, match="array 'x' is of type"):
        blobs.put(ID, {"x": bad}, {})
    assert names(blobs.folder) == []


def test_facts_hold_finite_numbers_only(blobs):
    with pytest.raises(UsageError, match="nan"):
        blobs.put(ID, {}, {"loss": float("nan")})


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    tensor=arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
def test_any_array_survives(tmp_path_factory, tensor):
    blobs = Blobs(tmp_path_factory.mktemp("any"))
    blobs.put(ID, {"x": tensor}, {})
    assert same(blobs.get(ID)[0], {"x": tensor})
