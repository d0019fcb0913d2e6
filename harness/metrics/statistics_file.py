"""Files of reference statistics (npz): the field's, with `mu` and `sigma`, and ours, with the features behind them.

Only arrays of numbers are read; nothing that is pickled in a file is run.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from harness.errors import UsageError
from harness.metrics.feature_stream import BLOCK, Features
from harness.metrics.frechet import ReferenceMoments
from harness.metrics.moments import Array, Moments
from harness.metrics.reference import ReferenceFeatures, reference_of, reference_of_moments

LARGEST_ASYMMETRY = 1e-6
"""Of sigma, over its largest value."""
LEAST_EIGENVALUE = -1e-6
"""Of sigma, over its largest one: rounding leaves tiny negatives."""
OUR_FORMAT = "oneclock reference 1"
STATEMENTS = ("extractor", "layer", "resize", "extractor_sha256", "dataset", "split", "pixels_sha256")
"""What ours states of itself, each as one text."""
_ASK = "give a file of `oneclock reference`, or the npz of the field with mu and sigma"


@dataclass(frozen=True)
class StatisticsFile:
    """What a file of statistics holds."""

    mean: Array
    """Of features, [d]."""
    covariance: Array
    """[d, d], symmetric."""
    n: int | None = None
    features: Features | None = None
    """Of all images, [n, d]; None in the files of the field."""
    stated: Mapping[str, str] = field(default_factory=dict)
    """What the file states of itself, by STATEMENTS; empty in the files of the field."""

    def reference(self, n: int | None) -> ReferenceFeatures:
        """Return the reference set that it stands for; `n` is the number of images where the file has none."""
        if self.features is not None:
            return reference_of(self.features)
        return reference_of_moments(ReferenceMoments.of_covariance(self.n or n, self.mean, self.covariance))


def read_statistics(source: Path | bytes, name: str) -> StatisticsFile:
    """Return the statistics in a file, or in its bytes; `name` is what messages call it.

    UsageError for another format, missing or misshapen arrays, numbers that are not finite, and a sigma that is no
    covariance.
    """
    stream: Path | IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with np.load(stream, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            missing = [key for key in ("mu", "sigma") if key not in arrays.files]
            if missing:
                held = ", ".join(arrays.files[:8]) or "nothing"
                raise UsageError(f"{name}: found the arrays {held}; expected mu and sigma, so {_ASK}")
            found = {key: arrays[key] for key in _wanted_keys(arrays.files)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise UsageError(
            f"{name}: found no npz of plain arrays ({_first_line(error)}); expected mu and sigma, so {_ASK}"
        ) from None
    return _checked(found, name)


def write_statistics(out: Path, features: Features, stated: Mapping[str, str]) -> None:
    """Write features [n, d], float32, with their mean and covariance and what is `stated` of them, to a new npz."""
    parts = (Moments.of(features[first : first + BLOCK]) for first in range(0, len(features), BLOCK))
    moments = reduce(Moments.merge, parts)
    arrays: dict[str, Any] = {
        "mu": moments.mean,
        "sigma": moments.covariance(),
        "n": np.array(len(features)),
        "features": features,
    }
    arrays |= {"format": np.array(OUR_FORMAT)} | {key: np.array(stated[key]) for key in STATEMENTS}
    with out.open("wb") as stream:  # savez would add .npz to a path
        np.savez(stream, **arrays)


def _wanted_keys(names: list[str]) -> list[str]:
    """Return the arrays that are read: of the files of the field mu and sigma alone."""
    ours = ("n", "features", *STATEMENTS) if "format" in names else ()
    return [key for key in ("mu", "sigma", "format", *ours) if key in names]


def _checked(found: Mapping[str, npt.NDArray[np.generic]], name: str) -> StatisticsFile:
    mean, sigma = (_real(found[key], key, name) for key in ("mu", "sigma"))
    if mean.ndim != 1 or sigma.shape != (len(mean), len(mean)):
        raise UsageError(f"{name}: found mu {list(mean.shape)} and sigma {list(sigma.shape)}; expected [d] and [d, d]")
    for key, values in (("mu", mean), ("sigma", sigma)):
        if not np.isfinite(values).all():
            raise UsageError(f"{name}: found NaN or infinity in {key}; expected finite numbers, so {_ASK}")
    covariance = _checked_covariance(sigma, name)
    return _of_ours(mean, covariance, found, name) if "format" in found else StatisticsFile(mean, covariance)


def _checked_covariance(sigma: Array, name: str) -> Array:
    largest = np.abs(sigma).max(initial=0.0)
    asymmetry = np.abs(sigma - sigma.T).max(initial=0.0)
    if asymmetry > LARGEST_ASYMMETRY * largest:
        raise UsageError(
            f"{name}: sigma differs from its transpose by {asymmetry:.3g}; expected at most {LARGEST_ASYMMETRY:g} of "
            f"its largest value {largest:.3g}, so {_ASK}"
        )

    symmetric = (sigma + sigma.T) / 2
    eigenvalues = np.linalg.eigvalsh(symmetric)
    if eigenvalues[0] < LEAST_EIGENVALUE * eigenvalues[-1]:
        raise UsageError(
            f"{name}: the smallest eigenvalue of sigma is {eigenvalues[0]:.3g}; expected none below "
            f"{LEAST_EIGENVALUE:g} of the largest, {eigenvalues[-1]:.3g}, so {_ASK}"
        )
    return symmetric


def _of_ours(mean: Array, covariance: Array, found: Mapping[str, npt.NDArray[np.generic]], name: str) -> StatisticsFile:
    """Return a file that `oneclock reference` wrote; UsageError if it lacks something, or does not fit together."""
    lacks = [key for key in ("n", "features", *STATEMENTS) if key not in found]
    if lacks or str(found["format"]) != OUR_FORMAT:
        raise UsageError(
            f'{name}: found the format "{found["format"]}"{f" without {lacks[0]}" if lacks else ""}; expected '
            f'"{OUR_FORMAT}", so write it again with `oneclock reference`'
        )

    features, n = found["features"], int(found["n"])
    if features.shape != (n, len(mean)) or features.dtype != np.float32 or not np.isfinite(features).all() or n < 2:
        raise UsageError(
            f"{name}: found features {features.dtype}{list(features.shape)}; expected finite "
            f"float32[{n}, {len(mean)}], so write it again with `oneclock reference`"
        )
    stated = {key: str(found[key]) for key in STATEMENTS}
    return StatisticsFile(mean, covariance, n, features.astype(np.float32, copy=False), stated)


def _real(values: npt.NDArray[np.generic], key: str, name: str) -> Array:
    if values.dtype.kind not in "fiu":
        raise UsageError(f"{name}: {key} holds {values.dtype}; expected real numbers, so {_ASK}")
    return np.asarray(values, dtype=np.float64)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
