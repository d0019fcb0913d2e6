"""Reader `sklearn`: the image sets of scikit-learn, such as its handwritten digits (no download)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from harness.data.readers.base import Pixels, Reader, WantedSplit
from harness.errors import did_you_mean


@dataclass(frozen=True)
class _Digits:
    """The fields of `load_digits` that are used."""

    images: np.ndarray
    target: np.ndarray


class SklearnReader(Reader):
    """`loader` is a function of sklearn.datasets that gives `.images`; `maximum` is the value that means white."""

    loader: str
    maximum: float = Field(gt=0)

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return the rows start:stop of the set, scaled to uint8 = round(value / maximum * 255)."""
        bunch = self._load(wanted)
        start, stop = wanted.rows()
        values = self._numbers(bunch, wanted)[start:stop]
        values = values[:, None] if values.ndim == 3 else np.moveaxis(values, -1, 1)
        if values.shape[1:] != wanted.pixel_shape:
            raise wanted.usage_error(
                f"{self.loader} gives images of shape {list(values.shape[1:])}",
                str(list(wanted.pixel_shape)),
                "correct `channels` and `resolution` in the card",
            )

        if values.size and not 0 <= values.min() <= values.max() <= self.maximum:
            raise wanted.usage_error(
                f"values from {values.min():g} to {values.max():g}", f"0 to {self.maximum:g}", "correct `maximum`"
            )

        images = wanted.allocate(len(values))
        images[:] = np.round(values / self.maximum * 255)
        return Pixels(images, self._labels(bunch, wanted, start, stop) if wanted.labels else None)

    def _numbers(self, bunch: Any, wanted: WantedSplit) -> np.ndarray:
        values = np.asarray(bunch.images)
        if values.dtype.kind not in "buif" or values.ndim not in (3, 4):
            raise wanted.usage_error(
                f"{self.loader} gives images that are no numbers [n, h, w] or [n, h, w, c], but {values.dtype} "
                f"{list(values.shape)}",
                "those",
                "choose another loader",
            )
        return values.astype(np.float64)

    def _labels(self, bunch: Any, wanted: WantedSplit, start: int, stop: int) -> np.ndarray:
        labels = np.asarray(getattr(bunch, "target", None))
        if labels.dtype.kind not in "ui" or labels.shape != (len(bunch.images),):
            raise wanted.usage_error(
                f"{self.loader} gives labels that are no whole numbers, one for each image",
                "those",
                "choose another loader, or state labels = 0 in the card",
            )
        return labels[start:stop].astype(np.int64)

    def _load(self, wanted: WantedSplit) -> Any:
        if self.loader == "load_digits" and (digits := _shipped_digits()) is not None:
            return digits
        import sklearn.datasets  # here, because it takes seconds and most data sets do not need it

        known = [name for name in dir(sklearn.datasets) if name.startswith(("load_", "fetch_"))]
        if self.loader not in known:
            raise wanted.usage_error(
                f"loader is {self.loader!r}",
                "a load_ or fetch_ function of sklearn.datasets",
                f"correct it in the card{did_you_mean(self.loader, known)}",
            )

        try:
            bunch = getattr(sklearn.datasets, self.loader)()
        except Exception as error:  # the loader may download: whatever it reports is the reason
            raise wanted.absent_error(
                f"{self.loader} failed ({error})", "the images", "see to its cause and try again"
            ) from None

        if not hasattr(bunch, "images"):
            raise wanted.usage_error(f"{self.loader} gives no images", "a set of images", "choose another loader")
        return bunch


def _shipped_digits() -> _Digits | None:
    """Return the digits as `load_digits` reads them from scikit-learn's folder, without the seconds of its import.

    None where the file is not there.
    """
    package = importlib.util.find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            rows = np.loadtxt(path, delimiter=",")
            return _Digits(rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64))
    return None
