"""A data set card from a folder of pictures: looks at them first, and says what they are good for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from harness.cli.new.feature_network import FeatureNetwork, describe_no_feature_network, fitting_feature_network
from harness.cli.new.next_commands import oneclock_command
from harness.cli.new.rendering import render_template, write_new_file
from harness.data.cards import CARDS_SETTING, DatasetCard, card_names, own_cards_folder
from harness.data.picture_survey import PictureSurvey, standard_deviation, survey_pictures
from harness.data.readers.picture_files import ENDINGS
from harness.data.splits import load_split
from harness.errors import UsageError
from harness.identity import check_name

_KEPT_SIDES, _CHOSEN_SIDES = (8, 16, 32, 64), (8, 16, 32)
"""Squares that are taken as they are; sizes that others are averaged down to, for which feature networks exist."""
_EDM_RATIO = 2.9  # of EDM's largest noise level on CIFAR-10, 80, to the length of a picture, 0.5 sqrt(3072)
_NAMED = 3  # faulty files, or sizes, that one sentence holds


def create_card(folder: Path, name: str | None, resolution: int | None) -> Iterator[str]:
    """Write the card of a folder of pictures; yield what was found, what it means, and the next command.

    The card lies in the folder of ONECLOCK_DATASETS, else in `datasets` of the current folder, else where the
    pictures' folder lies. UsageError for no pictures, for pictures that no reader takes, and for a name that is taken.
    """
    if not folder.is_dir():
        raise UsageError(f"found no folder {folder}; expected one that holds PNG, JPEG, WebP, BMP or TIFF pictures")
    name = _choose_name(folder, name)
    survey = survey_pictures(folder)
    _check_readable(survey)
    side, resize = _choose_resolution(survey, resolution)

    home = own_cards_folder() or folder.resolve().parent
    path = home / f"{name}.toml"
    card = _make_card(name, survey, side, resize)
    counts = {split: len(load_split(card, split).images) for split in card.splits}
    write_new_file(path, _text(card, counts, survey, path))

    yield from _describe(card, counts, survey, path)


def _make_card(name: str, survey: PictureSurvey, side: int, resize: str) -> DatasetCard:
    """Return the card as the pictures are found here."""
    folder = survey.folder.resolve()
    return DatasetCard.model_validate(
        {
            "name": name,
            "title": f"pictures of the folder {folder.name}",
            "reader": "image-folder",
            "arguments": {"path": str(folder), "resize": resize},
            "resolution": side,
            "channels": survey.channels,
            "splits": {split: {"source": source} for split, source in _find_splits(survey).items()},
            "licence": "not stated",
        }
    )


def _choose_name(folder: Path, name: str | None) -> str:
    """Return the data set's name, by default the folder's; UsageError if it may not be one or is taken."""
    if name is None:
        name = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:64]
    check_name(name, "data set name (give one by --name)")
    if name in card_names():
        raise UsageError(f'the data set "{name}" exists already (see `oneclock ls datasets`); give another by --name')
    return name


def _check_readable(survey: PictureSurvey) -> None:
    if not survey.files:
        others = f" ({survey.passed_over})" if survey.passed_over else ""
        raise UsageError(
            f"found no picture in {survey.folder}{others}; expected files that end in {', '.join(ENDINGS)}"
        )
    if survey.faulty:
        named = ", ".join(f"{file} {reason}" for file, reason in list(survey.faulty.items())[:_NAMED])
        more = f", and {len(survey.faulty) - _NAMED:,} more" if len(survey.faulty) > _NAMED else ""
        raise UsageError(
            f"{len(survey.faulty):,} of the {len(survey.files):,} pictures in {survey.folder} cannot be taken: {named}"
            f"{more}; remove or convert them"
        )


def _choose_resolution(survey: PictureSurvey, wanted: int | None) -> tuple[int, str]:
    """Return the pixels a side, and what the reader does with larger pictures."""
    smallest = survey.shortest_side
    if wanted is None:
        if survey.square_side in _KEPT_SIDES:
            return survey.square_side, "none"

        # the largest size that all pictures have
        fitting = [side for side in _CHOSEN_SIDES if side <= smallest]
        if not fitting:
            raise UsageError(
                f"the smallest picture in {survey.folder} has {smallest} pixels on its shorter side; expected "
                f"{_CHOSEN_SIDES[0]} or more, so remove small ones or choose --resolution {smallest}"
            )
        wanted = fitting[-1]

    if not 1 <= wanted <= smallest:
        raise UsageError(
            f"--resolution is {wanted}; expected 1 to {smallest}, the shortest side of any picture in {survey.folder}, "
            "because small ones are not enlarged"
        )
    return wanted, "none" if survey.square_side == wanted else "center-crop-box"


def _find_splits(survey: PictureSurvey) -> dict[str, str]:
    """Return the source of each split: train/ and test/ where all pictures lie in these two, else the whole folder."""
    tops = {file.parts[0] if len(file.parts) > 1 else "" for file in survey.files}
    return {"train": "train", "test": "test"} if tops == {"train", "test"} else {"train": "."}


def _text(card: DatasetCard, counts: dict[str, int], survey: PictureSurvey, path: Path) -> str:
    deviation = standard_deviation(load_split(card, card.reference).images)
    if deviation == 0:
        raise UsageError(f"all values of the pictures in {survey.folder} are the same; expected pictures that differ")

    return render_template(
        "card.toml.j2",
        card=card,
        counts=counts,
        path=_path_from(path.parent.resolve(), survey.folder.resolve()),
        resize=card.arguments.model_dump()["resize"],
        sigma_data=round(deviation, 3),
        sigma_max=float(f"{_EDM_RATIO * deviation * (card.channels * card.resolution**2) ** 0.5:.2g}"),
        looked_at=f"{len(survey.files):,} pictures of {_describe_sizes(survey)}",
    )


def _path_from(home: Path, folder: Path) -> str:
    """Return the pictures' folder as their card names it: relative where the two move together, else absolute."""
    here = Path.cwd()
    is_near = home == folder.parent or (folder.is_relative_to(here) and home.is_relative_to(here))
    return os.path.relpath(folder, home) if is_near else str(folder)


def _describe(card: DatasetCard, counts: dict[str, int], survey: PictureSurvey, path: Path) -> Iterator[str]:
    """Yield what was found and written, what it means for FID, and the next command."""
    side, known = card.resolution, fitting_feature_network(card.channels, card.resolution)
    features = f"feature network {known.name}, wants N >= {known.wanted_images}" if known else "no feature network"
    parts = "" if len(counts) == 1 else f" ({', '.join(f'{n:,} {split}' for split, n in counts.items())})"
    where = path if path.parent != Path.cwd() else Path(path.name)
    colours = "RGB" if card.channels == 3 else "grey"
    yield f"{side}x{side} {colours}, {len(survey.files):,} files{parts} -> {where} · {features}"

    # what it means
    if survey.square_side != side:
        yield (
            f"of {_describe_sizes(survey)}: the largest centred square of each picture is averaged down to "
            f"{side}x{side}; another size: --resolution"
        )
    if known is None:
        yield describe_no_feature_network(side)
    else:
        yield from _describe_few(known, counts[card.reference])
        if known.caution:
            yield f"note: {known.caution}"

    # how it is named
    if own_cards_folder() is None:
        yield f"{where} is named by its path; cards in datasets/ or in {CARDS_SETTING} are found by name"
    chosen = card.name if own_cards_folder() else where
    if known is not None and counts[card.reference] > known.dim:
        typed = shlex.quote(str(chosen))
        yield f"next: {oneclock_command()} new suite mine --dataset {typed} --methods dpmpp-2m,unipc --vs ddim"


def _describe_few(known: FeatureNetwork, n: int) -> Iterator[str]:
    if n <= known.dim:
        yield (
            f"too few for FID: {n:,} pictures for the {known.dim} features of {known.name}, and it needs more pictures "
            f"than features; find {known.wanted_images} or more"
        )
    elif n < known.wanted_images:
        yield (
            f"few for FID: against {n:,} pictures even a perfect sampler shows a high FID (the bias floor that tables "
            f"state), and a network can memorise them; {known.wanted_images} or more would be better"
        )


def _describe_sizes(survey: PictureSurvey) -> str:
    """Return the most frequent sizes in words."""
    shown = [f"{width}x{height}" for width, height in list(survey.sizes)[:_NAMED]]
    more = len(survey.sizes) - len(shown)
    return ", ".join(shown) + (f" and {more:,} other sizes" if more > 0 else "")
