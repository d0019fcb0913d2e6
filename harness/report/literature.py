"""Whether the distances of a feature network are those of the literature, and of which part of it."""

from __future__ import annotations

_INCEPTION = (
    "FID uses Inception features; it is comparable to the literature at equal N, reference set and image handling."
)
_DINOV2 = (
    "FID here is FD-DINOv2, the same distance by other features: comparable to FD-DINOv2 in the literature at equal N, "
    "reference set and image handling, and to no FID."
)
_OTHER = "FID is not comparable to the literature: its features are not Inception's. It ranks rows of this table only."


def literature_sentence(extractor: str) -> str:
    """Return with what a table's FID can be compared; `extractor` is the column of its rows."""
    if is_dinov2(extractor):
        return _DINOV2
    return _INCEPTION if "inception" in extractor.lower() else _OTHER


def literature_clause(extractor: str) -> str:
    """Return the same to follow the name of the feature network; empty for Inception."""
    if is_dinov2(extractor):
        return ", whose FID is FD-DINOv2"
    return "" if "inception" in extractor.lower() else ", whose FID is not comparable to the literature"


def is_dinov2(extractor: str) -> bool:
    """Tell whether the column `extractor` of a row names DINOv2."""
    return extractor.partition(":")[0] == "dinov2"
