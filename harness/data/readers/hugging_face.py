"""Reader `huggingface`: a data set of the Hugging Face Hub through the library `datasets`, which is optional.

This project's folder `datasets/` holds cards, not code. Python would take it for an empty package of that name when run
from the project's folder, so the library is located before it is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.readers.base import Pixels, Reader, WantedSplit, whole_label
from harness.data.readers.pictures import decode_picture, describe_decoding, read_content, to_pixels


class HuggingFaceReader(Reader):
    """`dataset`, `config` and `revision` as in load_dataset; `image` and `label` are columns; `source` is its split."""

    dataset: str
    config: str | None = None
    revision: str | None = None
    image: str = "image"
    label: str | None = None

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return the images of one split in the Hub's order."""
        rows = self._open(wanted)
        self._check_columns(rows, wanted)
        images = wanted.allocate(len(rows))
        labels = np.zeros(len(images), dtype=np.int64) if self.label else None
        rows = _undecoded(rows, self.image)
        for index in range(len(images)):
            where = f"image {index} of {self.dataset}"
            row = _row(rows, index, where, wanted)
            images[index] = _pixels(row[self.image], wanted, where)
            if labels is not None:
                labels[index] = whole_label(row[self.label], where, wanted)
        return Pixels(images, labels)

    def _open(self, wanted: WantedSplit) -> Any:
        library = _library(wanted)
        split = wanted.source or wanted.split
        try:
            return library.load_dataset(self.dataset, self.config, split=split, revision=self.revision)
        except Exception as error:  # the library's errors have no common base: no network, no such set, no such split
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise wanted.absent_error(
                f"load_dataset({self.dataset!r}) failed ({type(error).__name__}: {reason})",
                "a data set of the Hub or of its local cache",
                "check the name, the split and the network",
            ) from None

    def _check_columns(self, rows: Any, wanted: WantedSplit) -> None:
        absent = [name for name in (self.image, self.label) if name is not None and name not in rows.column_names]
        if absent:
            raise wanted.usage_error(
                f"{self.dataset} has the columns {', '.join(rows.column_names)}",
                f"a column {absent[0]!r}",
                "correct `image` and `label` under [arguments] of the card",
            )


def _undecoded(rows: Any, image: str) -> Any:
    """Return rows whose pictures are still encoded, where the library can: it drops eight of 16 bits in silence."""
    feature: Any = getattr(rows, "features", {}).get(image)
    if hasattr(feature, "decode") and hasattr(rows, "cast_column"):
        return rows.cast_column(image, type(feature)(decode=False))
    return rows


def _row(rows: Any, index: int, where: str, wanted: WantedSplit) -> Any:
    try:
        return rows[index]
    except Exception as error:  # the library decodes here: whatever a damaged cell raises is the reason
        raise wanted.usage_error(
            f"{where} cannot be read ({describe_decoding(error)})", "a whole picture", "fetch the data set again"
        ) from None


def _pixels(cell: Any, wanted: WantedSplit, where: str) -> np.ndarray:
    if isinstance(cell, dict) and cell.get("bytes") is None and isinstance(cell.get("path"), str):
        return decode_picture(read_content(Path(cell["path"]), wanted), wanted, where)
    if isinstance(cell, dict):
        cell = cell.get("bytes")
    if isinstance(cell, Image.Image):
        return to_pixels(cell, wanted, where)
    if isinstance(cell, bytes):
        return decode_picture(cell, wanted, where)
    raise wanted.usage_error(f"{where} is a {type(cell).__name__}", "a picture", "correct `image` in the card")


def _library(wanted: WantedSplit) -> Any:
    """Return the library `datasets`, never a folder of that name."""
    if not hasattr(sys.modules.get("datasets"), "load_dataset"):
        spec = None if "datasets" in sys.modules else importlib.util.find_spec("datasets")
        if spec is None or spec.origin is None:  # absent, or a mere folder (a namespace package has no origin)
            folder = "" if spec is None else f" (only the folder {next(iter(spec.submodule_search_locations or ['']))})"
            raise wanted.absent_error(
                f"the library `datasets` is not installed{folder}",
                "it for the reader huggingface",
                "pip install datasets, or use the reader parquet",
            )
    return importlib.import_module("datasets")
