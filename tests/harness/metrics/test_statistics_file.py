"""Files of reference statistics: what is read of them, and files that are refused before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UsageError
from harness.metrics.feature_stream import Features
from harness.metrics.reference import ReferenceFeatures, reference_of
from harness.metrics.statistics_file import STATEMENTS, read_statistics, write_statistics

STATED = {name: f"the {name}" for name in STATEMENTS}


def drawn(n: int = 300, dim: int = 5) -> Features:
    return (1 + np.random.default_rng(0).normal(size=(n, dim))).astype(np.float32)


def covariance(dim: int = 5) -> np.ndarray:
    return np.cov(drawn(dim=dim), rowvar=False)


def written(path: Path, **arrays: Any) -> Path:
    np.savez(path, **{"mu": drawn().mean(0), "sigma": covariance(), **arrays})
    return path


def test_ours_comes_back_whole_and_gives_the_reference_of_its_features(tmp_path: Path) -> None:
    path = tmp_path / "ours.npz"
    write_statistics(path, drawn(), STATED)
    found = read_statistics(path, "ours")
    assert found.n == 300
    assert found.stated == STATED
    np.testing.assert_array_equal(found.features, drawn())
    np.testing.assert_allclose(found.mean, drawn().mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance(), rtol=1e-12)
    for own, expected in zip(
        found.reference(None).to_tensors().values(), reference_of(drawn()).to_tensors().values(), strict=True
    ):
        np.testing.assert_array_equal(own, expected)
    assert read_statistics(path.read_bytes(), "ours").stated == STATED


def test_equal_features_give_equal_bytes(tmp_path: Path) -> None:
    files = [tmp_path / "one.npz", tmp_path / "other.npz"]
    for path in files:
        write_statistics(path, drawn(), STATED)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("n", [None, 300])
def test_the_files_of_the_field_give_mean_and_covariance_alone(n: int | None, tmp_path: Path) -> None:
    path = written(tmp_path / "field.npz", arr_0=np.zeros(3), mu_s=np.zeros(2), n=np.array(7), features=drawn(7))
    found = read_statistics(path, "field")
    assert (found.n, found.features, dict(found.stated)) == (None, None, {})  # names that only ours gives a meaning
    reference = found.reference(n)
    restored = ReferenceFeatures.from_tensors(reference.to_tensors())
    for one in (reference, restored):
        assert (one.n, one.dim, one.has_features) == (n, 5, False)
        np.testing.assert_allclose(one.frechet.factor @ one.frechet.factor.T, covariance(), rtol=1e-12)


def test_numbers_of_other_formats_are_widened(tmp_path: Path) -> None:
    path = written(tmp_path / "field.npz", mu=drawn().mean(0), sigma=covariance().astype(np.float32))
    found = read_statistics(path, "field")
    assert found.mean.dtype == found.covariance.dtype == np.float64


def test_rounding_of_an_eigenvalue_is_allowed(tmp_path: Path) -> None:
    read_statistics(written(tmp_path / "singular.npz", sigma=np.diag([1.0, 1, 1, 1, -9e-7])), "singular")


def asymmetric() -> np.ndarray:
    sigma = np.eye(5)
    sigma[0, 1] = 2e-6
    return sigma


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"sigma": np.eye(4)}, r"found mu \[5\] and sigma \[4, 4\]"),
        ({"mu": np.full(5, np.nan)}, "found NaN or infinity in mu"),
        ({"sigma": np.full((5, 5), np.inf)}, "found NaN or infinity in sigma"),
        ({"sigma": asymmetric()}, "sigma differs from its transpose by 2e-06"),
        ({"sigma": np.diag([1.0, 1, 1, 1, -2e-6])}, "the smallest eigenvalue of sigma is -2e-06"),
        ({"mu": np.array(["a"] * 5)}, "mu holds <U1; expected real numbers"),
        ({"format": np.array("oneclock reference 2")}, 'found the format "oneclock reference 2" without n'),
    ],
)
def test_arrays_that_are_no_statistics_are_refused(arrays: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_statistics(written(tmp_path / "bad.npz", **arrays), "bad")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"features": drawn(299)}, r"found features float32\[299, 5\]; expected finite float32\[300, 5\]"),
        ({"features": drawn().astype(np.float64)}, "found features float64"),
        ({"features": np.full((300, 5), np.nan, np.float32)}, "expected finite"),
        ({"split": None}, "without split"),
    ],
)
def test_our_files_that_do_not_fit_together_are_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "ours.npz"
    write_statistics(path, drawn(), STATED)
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in arrays.files if changes.get(name, 0) is not None}
    np.savez(path, **{**kept, **{name: value for name, value in changes.items() if value is not None}})
    with pytest.raises(UsageError, match=sentence):
        read_statistics(path, "ours")


class _Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def a_pickle(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, mu=np.array([_Code(path.with_name("mark"))], dtype=object), sigma=covariance())


def one_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, covariance())


def without_sigma(path: Path) -> None:
    np.savez(path, mu=np.zeros(5), mean=np.zeros(5))


def cut_off(path: Path) -> None:
    written(path)
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (a_pickle, "found no npz of plain arrays"),
        (one_array, "found no npz of plain arrays"),
        (without_sigma, "found the arrays mu, mean; expected mu and sigma"),
        (cut_off, "found no npz of plain arrays"),
        (lambda path: path.write_bytes(b""), "found no npz of plain arrays"),
        (lambda path: path.write_text("mu, sigma"), "found no npz of plain arrays"),
    ],
    ids=["pickle", "array", "sigma", "cut", "empty", "text"],
)
def test_other_files_are_refused_and_not_run(write: Callable[[Path], Any], sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    write(path)
    for source in (path, path.read_bytes()):
        with pytest.raises(UsageError, match=sentence):
            read_statistics(source, "other")
    assert not (tmp_path / "mark").exists()
