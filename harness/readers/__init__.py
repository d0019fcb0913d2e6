"""Readers: how a card's pixels come out of a library, a file or a formula; one file each."""

from __future__ import annotations

from harness.readers.base import Reader
from harness.readers.hugging_face import HuggingFaceReader
from harness.readers.image_folder import ImageFolderReader
from harness.readers.mixture import MixtureReader
from harness.readers.parquet import ParquetReader
from harness.readers.scikit_learn import SklearnReader
from harness.readers.torch_vision import TorchvisionReader

READERS: dict[str, type[Reader]] = {
    "sklearn": SklearnReader,
    "parquet": ParquetReader,
    "image-folder": ImageFolderReader,
    "torchvision": TorchvisionReader,
    "huggingface": HuggingFaceReader,
    "mixture": MixtureReader,
}
