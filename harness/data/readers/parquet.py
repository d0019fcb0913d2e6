"""Reader `parquet`: the Hugging Face layout, one row per image, encoded pictures in a column of {bytes, path}.

Cells without bytes name a picture file by `path`, relative to the Parquet file.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import model_validator

from harness.data.disk_array import release_pages
from harness.data.readers.base import (
    Pixels,
    Reader,
    WantedSplit,
    check_one_place,
    check_source,
    data_folder,
    stays_below,
)
from harness.data.readers.picture_files import walk_files
from harness.data.readers.pictures import decode_picture, read_content
from harness.errors import UsageError

_ROWS_PER_BATCH = 1000
_ENDS = ("-*.parquet", ".parquet")


class ParquetReader(Reader):
    """`path` is the folder, `image` and `label` are the columns; a split's `source` is a pattern of file names.

    Without `source`, the files are `<split>-*.parquet` and `<split>.parquet`, in any sub-folder, linked ones too.
    Without `path`, the folder is ONECLOCK_DATA/`folder`, or ONECLOCK_DATA/<name of the data set>. `resize = "area"`
    makes each pixel the mean of the k x k pixels that it covers, rounded to nearest, a half up; "none" refuses other
    sizes; "adm", "edm", "short-bilinear" and "celeba-128" are recipes of papers.
    """

    folder_argument: ClassVar[str | None] = "path"
    path: str | None = None
    folder: str | None = None
    image: str = "image"
    label: str | None = None
    resize: Literal["none", "area", "adm", "edm", "short-bilinear", "celeba-128"] = "none"

    @model_validator(mode="after")
    def _one_place(self) -> ParquetReader:
        check_one_place(self.path, self.folder)
        return self

    def read(self, wanted: WantedSplit) -> Pixels:
        """Return the images of all matching files, the files in sorted order, the rows in file order."""
        files = self._files(wanted)
        images = wanted.allocate(sum(self._count(file, wanted) for file in files), files[0].parent)
        labels = np.empty(len(images), dtype=np.int64) if self.label else None

        start = 0
        for file in files:
            for first, batch in self._batches(file, wanted):
                stop = start + batch.num_rows
                self._decode(batch, first, images[start:stop], wanted, file)
                if labels is not None:
                    labels[start:stop] = self._labels(batch, wanted, file)
                start = stop
                release_pages(images)
        return Pixels(images, labels)

    def _files(self, wanted: WantedSplit) -> list[Path]:
        folder = data_folder(wanted, self.path, "path", below=self.folder)
        if wanted.source:
            patterns = [check_source(wanted, wanted.source)]
            found = {file for file in folder.glob(patterns[0]) if file.is_file()}
        else:
            patterns = [f"**/{wanted.split}{end}" for end in _ENDS]
            files = (file for file, fault in walk_files(folder) if not fault)
            found = {file for file in files if any(fnmatchcase(file.name, pattern[3:]) for pattern in patterns)}
        if not found:
            raise wanted.missing_error(f"no file matches {' or '.join(patterns)} in {folder}", "path", self.folder)
        return sorted(found, key=lambda file: file.relative_to(folder).parts)

    def _count(self, file: Path, wanted: WantedSplit) -> int:
        try:
            with pq.ParquetFile(file) as table:
                return int(table.metadata.num_rows)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(file, error, wanted) from None

    def _batches(self, file: Path, wanted: WantedSplit) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (first row, batch) of one file, with the requested columns only."""
        columns = [self.image] + ([self.label] if self.label else [])
        first = 0
        try:
            with pq.ParquetFile(file) as table:
                absent = [name for name in columns if name not in table.schema_arrow.names]
                if absent:
                    raise wanted.usage_error(
                        f"{file} has the columns {', '.join(table.schema_arrow.names)}",
                        f"a column {absent[0]!r}",
                        "correct `image` and `label` under [arguments] of the card",
                    )

                for batch in table.iter_batches(_ROWS_PER_BATCH, columns=columns):
                    yield first, batch
                    first += batch.num_rows
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(file, error, wanted) from None

    def _decode(self, batch: pa.RecordBatch, first: int, room: np.ndarray, wanted: WantedSplit, file: Path) -> None:
        column = _plain_column(batch.column(self.image))
        if not _holds_pictures(column.type):
            raise wanted.usage_error(
                f"column {self.image!r} of {file} has the type {column.type}",
                "encoded pictures, as binary or {bytes, path}",
                "correct `image` under [arguments] of the card",
            )

        for row, cell in enumerate(column.to_pylist()):
            where = f"row {first + row} of {file}"
            encoded, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
            if encoded is None and path:
                encoded = read_content(_picture_path(path, where, wanted, file), wanted)
            if encoded is None:
                raise wanted.usage_error(f"{where} is empty", "an encoded picture", "fetch the file again")
            room[row] = decode_picture(encoded, wanted, where, resize=self.resize)

    def _labels(self, batch: pa.RecordBatch, wanted: WantedSplit, file: Path) -> np.ndarray:
        column = _plain_column(batch.column(self.label))
        if not pa.types.is_integer(column.type) or column.null_count:
            raise wanted.usage_error(
                f"column {self.label!r} of {file} has the type {column.type} and {column.null_count} empty cells",
                "a whole number in every row",
                "correct `label` under [arguments] of the card",
            )
        return column.to_numpy(zero_copy_only=False)


def _plain_column(column: pa.Array) -> pa.Array:
    """Return a column without what only saves room: dictionaries of equal cells."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _holds_pictures(kind: pa.DataType) -> bool:
    """Return whether cells are encoded pictures: bytes of any length, or {bytes, path}."""
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_pictures(kind.field(place).type)
    if pa.types.is_dictionary(kind):
        return _holds_pictures(kind.value_type)
    return any(
        one(kind)
        for one in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )


def _picture_path(path: object, where: str, wanted: WantedSplit, file: Path) -> Path:
    """Return the picture that a cell {bytes: null, path} names, below the folder of its file; UsageError if absent."""
    if isinstance(path, str) and stays_below(path) and (file.parent / path).is_file():
        return file.parent / path
    raise wanted.usage_error(
        f"{where} has no bytes and names the picture {path!r}",
        f"the bytes in the cell, or this file below {file.parent}",
        "put the picture there, or embed the bytes in the Parquet file",
    )


def _damaged(file: Path, error: Exception, wanted: WantedSplit) -> UsageError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return wanted.usage_error(f"{file} is damaged ({reason})", "a whole Parquet file", "fetch the file again")
