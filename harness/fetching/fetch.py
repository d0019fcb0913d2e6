"""Brings what a card names into the cache: downloaded, verified, unpacked, then given its final name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.fetching.archives import unpack_archive
from harness.fetching.cache import (
    Pin,
    is_fetched,
    make_folder,
    partial_place,
    pins_file,
    place_of_card,
    place_of_file,
    read_pin,
    write_pin,
)
from harness.fetching.download import OnBytes, download, forget_partial
from harness.fetching.fetch_card import FetchCard, FetchFile, fetch_cards, load_fetch_card
from harness.identity import file_sha256

ShowFile = Callable[[FetchFile], OnBytes]
"""Called with a file that begins to come; returns what to call with its bytes."""


def fetch_all(names: Sequence[str], show: ShowFile = lambda file: lambda done, total: None) -> Iterator[str]:
    """Fetch what is called so, and yield a line on each file. Blocks on the network.

    All names are checked before anything starts. UsageError in one sentence where a file cannot be had or is not
    what its card or its pin says; nothing of it stands under its final name then.
    """
    cards = [load_fetch_card(name) for name in dict.fromkeys(names)]
    for card in cards:
        yield f"{card.name}: {card.title}; licence: {card.licence}"
        for file in card.files:
            yield f"  {_fetch_file(card, file, show)}"
        if card.then:
            yield f"  next: {card.then}"


def _fetch_file(card: FetchCard, file: FetchFile, show: ShowFile) -> str:
    """Bring one file of a card, and return a line on it; one that is there is verified and not fetched."""
    final = place_of_file(card, file)
    if final.exists():
        return _describe_present(card, file, final)
    partial = partial_place(card, file)
    make_folder(partial.parent)
    expected = file.sha256 or _pinned(card, file)
    download(file, partial, expected is not None, show(file))

    # verified before it gets its name
    sha256, size = file_sha256(partial), partial.stat().st_size
    try:
        _check_size_and_digest(card, file, sha256, size)
    except UsageError:
        forget_partial(partial)
        raise
    _give_final_name(file, partial, final)
    forget_partial(partial)
    write_pin(card, file, Pin(sha256=sha256, size=size, url=file.url))

    known = "as its card states" if file.sha256 else "as pinned before" if expected else _first_pin(file)
    return f"{final}: {size:,} bytes, SHA-256 {sha256}, {known}"


def _pinned(card: FetchCard, file: FetchFile) -> str | None:
    pin = read_pin(card, file)
    return None if pin is None else pin.sha256


def _first_pin(file: FetchFile) -> str:
    starts = f", which begins as its name promises ({file.sha256_starts})" if file.sha256_starts else ""
    return f"pinned now{starts}: no source states it whole, so later fetches must bring the same"


def _describe_present(card: FetchCard, file: FetchFile, final: Path) -> str:
    """Return a line on a file that is there; UsageError where it is not what was fetched or stated."""
    if file.unpack:
        return f"{final} is there, unpacked"
    sha256 = file_sha256(final)
    try:
        _check_size_and_digest(card, file, sha256, final.stat().st_size)
    except UsageError as error:
        raise UsageError(f"{final} is there and is not the file: {error}; remove it and fetch again") from None
    if _pinned(card, file) is None:
        write_pin(card, file, Pin(sha256=sha256, size=final.stat().st_size, url=file.url))
        return f"{final} was there, SHA-256 {sha256}, {'as its card states' if file.sha256 else _first_pin(file)}"
    return f"{final} is there, verified"


def _check_size_and_digest(card: FetchCard, file: FetchFile, sha256: str, size: int) -> None:
    """Raise UsageError unless a file is what its card states, its name promises and its pin says."""
    if file.size not in (None, size):
        raise UsageError(f"{file.url}: found {size:,} bytes; expected {file.size:,}, as the card {card.name} states")
    pinned = _pinned(card, file)
    if pinned not in (None, sha256) and file.sha256 is None:
        raise UsageError(
            f"{file.url}: found SHA-256 {sha256}; expected {pinned}, which the first fetch pinned, so the published "
            f"file was replaced: to take the new one, remove its entry from {pins_file()}"
        )
    for wanted in (file.sha256, file.sha256_starts):
        if wanted is not None and not sha256.startswith(wanted):
            raise UsageError(
                f"{file.url}: found SHA-256 {sha256}; expected {wanted}{'' if len(wanted) == 64 else '...'}, as the "
                f"card {card.name} states, so nothing of it is kept; fetch again, or look whether it was replaced"
            )


def _give_final_name(file: FetchFile, partial: Path, final: Path) -> None:
    """Move a verified file, or the content of a verified archive, to where suites find it."""
    make_folder(final.parent)
    if not file.unpack:
        partial.replace(final)
        return
    content = partial.with_name(f"{partial.name}.content")
    shutil.rmtree(content, ignore_errors=True)
    make_folder(content)
    try:
        unpack_archive(partial, file.name, content)
        content.rename(final)
    finally:
        shutil.rmtree(content, ignore_errors=True)


def list_fetchable() -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, kind, size, whether it is here, and title with licence, of everything that can be fetched."""
    for card in fetch_cards():
        sizes = [file.size for file in card.files]
        size = "size unknown" if None in sizes else f"{sum(s or 0 for s in sizes) / 1e6:,.1f} MB"
        here = "here" if is_fetched(card) else "not here"
        yield card.name, card.kind, size, here, f"{card.title}; {card.licence}; goes to {place_of_card(card)}"
