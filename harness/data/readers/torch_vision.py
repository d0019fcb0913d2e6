"""Reader `torchvision`: a data set class of torchvision, read from its own archive."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from harness.data.readers.base import Pixels, Reader, WantedSplit, data_folder, whole_label
from harness.data.readers.pictures import describe_decoding, to_pixels
from harness.errors import did_you_mean


class TorchvisionReader(Reader):
    """`dataset` names the class, `root` the folder of its archive; `download` fetches the archive if it is not there.

    A split's `source` (else its name) becomes the class's own choice: train = True/False, or split = "...".
    """

    folder_argument: ClassVar[str | None] = "root"
    dataset: str
    root: str | None = None
    download: bool = False

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return the images of one split in the class's own order."""
        rows = self._open(wanted)
        images = wanted.allocate(len(rows))
        labels = np.zeros(len(images), dtype=np.int64) if wanted.labels else None

        for index in range(len(images)):
            where = f"image {index} of torchvision's {self.dataset}"
            picture, label = self._row(rows, index, where, wanted)
            if not isinstance(picture, Image.Image):
                raise wanted.usage_error(
                    f"{where} is a {type(picture).__name__}", "a picture", "choose another data set"
                )
            images[index] = to_pixels(picture, wanted, where)
            if labels is not None:
                labels[index] = whole_label(label, where, wanted)
        return Pixels(images, labels)

    def _row(self, rows: Any, index: int, where: str, wanted: WantedSplit) -> tuple[Any, Any]:
        """Return picture and label of one row; UsageError where the class raises or gives another thing."""
        try:
            picture, label = rows[index]
        except Exception as error:  # each class reports a damaged file in its own way
            raise wanted.usage_error(
                f"{where} cannot be read ({describe_decoding(error)})",
                "a picture and a label",
                "fetch the archive again",
            ) from None
        return picture, label

    def _open(self, wanted: WantedSplit) -> Any:
        import torchvision.datasets  # here, because it takes seconds and most data sets do not need it

        kind = getattr(torchvision.datasets, self.dataset, None)
        if self.dataset not in torchvision.datasets.__all__ or not isinstance(kind, type):
            raise wanted.usage_error(
                f"dataset is {self.dataset!r}",
                "a data set class of torchvision",
                f"correct it in the card{did_you_mean(self.dataset, torchvision.datasets.__all__)}",
            )
        options = self._options(inspect.signature(kind).parameters, wanted)
        try:
            return kind(**options)
        except Exception as error:  # each class reports a missing or damaged archive in its own way
            raise wanted.missing_error(
                f"torchvision's {self.dataset} cannot be opened ({_first_line(error)})", "root"
            ) from None

    def _options(self, accepted: Any, wanted: WantedSplit) -> dict[str, Any]:
        """Return the arguments for the class: which split, which folder, and whether to download."""
        source = wanted.source or wanted.split
        options: dict[str, Any] = {}
        if "train" in accepted:
            if source not in ("train", "test"):
                raise wanted.usage_error(
                    f"source is {source!r}",
                    '"train" or "test"',
                    f"correct it in the card, as {self.dataset} has no other",
                )
            options["train"] = source == "train"
        elif "split" in accepted:
            options["split"] = source
        elif source != "all":
            raise wanted.usage_error(f"source is {source!r}", '"all"', f"correct it, as {self.dataset} has no splits")

        if "root" in accepted:
            options["root"] = str(data_folder(wanted, self.root, "root", must_exist=not self.download))
        if self.download:
            if "download" not in accepted:
                raise wanted.usage_error(
                    "download is true", "false", f"correct it, as {self.dataset} cannot be downloaded"
                )
            options["download"] = True
        return options


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
