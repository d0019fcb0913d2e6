"""Readers: how a card's pixels come out of a library, a file or a formula; one file each."""

from __future__ import annotations

from harness.data.readers.base import Reader
from harness.data.readers.hugging_face import HuggingFaceReader
from harness.data.readers.image_folder import ImageFolderReader
from harness.data.readers.mixture import MixtureReader
from harness.data.readers.parquet import ParquetReader
from harness.data.readers.scikit_learn import SklearnReader
from harness.data.readers.torch_vision import TorchvisionReader

READERS: dict[str, type[Reader]] = {
    "sklearn": SklearnReader,
    "parquet": ParquetReader,
    "image-folder": ImageFolderReader,
    "torchvision": TorchvisionReader,
    "huggingface": HuggingFaceReader,
    "mixture": MixtureReader,
}
