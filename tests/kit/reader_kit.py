"""What the tests of the readers share: a wanted split, small pictures, and the one sentence of a refusal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from harness.data.readers import READERS
from harness.data.readers.base import Pixels, WantedSplit
from harness.errors import UsageError


def target(n: int | None = 4, **changes: Any) -> WantedSplit:
    facts: dict[str, Any] = {"source": None, "channels": 3, "resolution": 4, "labels": 2, "obtain": "from the attic"}
    return WantedSplit(dataset="toy", split="train", n=n, **{**facts, **changes})


def picture(value: int, mode: str = "RGB", size: tuple[int, int] = (4, 4)) -> Image.Image:
    return Image.new("L", size, value).convert(mode)


def encoded(value: int, kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (4, 4)) -> bytes:
    stream = io.BytesIO()
    picture(value, mode, size).save(stream, kind)
    return stream.getvalue()


def read(kind: str, wanted: WantedSplit, **arguments: Any) -> Pixels:
    return READERS[kind](**arguments).read(wanted)


def refusal(kind: str, wanted: WantedSplit, **arguments: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(kind, wanted, **arguments)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith('data set "toy", split "train": ')
    return str(caught.value)


def first_pixels(pixels: Pixels) -> list[int]:
    return pixels.images[:, 0, 0, 0].tolist()
