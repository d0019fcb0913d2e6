"""In which settings a trial's sampler differs from the clock's, with which it is timed in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.specs.sampler import SamplerSpec

_HASHES = ("module", "weights_id", "artifact_id", "sha256")
"""Last words of settings that are code or results, which have columns of their own."""


def differing_settings(own: SamplerSpec, clock: SamplerSpec) -> str:
    """Return the settings that differ, each as `NAME own for the clock's`; "" where none does."""
    mine, others = (dict(_settings(spec.model_dump())) for spec in (own, clock))
    names = [*mine, *(name for name in others if name not in mine)]
    return "; ".join(
        f"{name} {mine.get(name, 'none')} for {others.get(name, 'none')}"
        for name in names
        if mine.get(name) != others.get(name)
    )


def _settings(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted name and value of each setting of a table and those within."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _settings(value, f"{path}{name}.")
        elif name not in _HASHES and value is not None:
            yield f"{path}{name}", str(value)
