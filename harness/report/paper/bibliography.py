"""The works that methods name in their head docstrings, as BibTeX.

A work is named as `Surname, Surname 2024, "Title" (venue, arXiv:2401.00001)` or with a DOI; title and venue may lack.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness.report.formats import escape_latex

VENUES = ("NeurIPS", "ICLR", "ICML", "CVPR", "ICCV", "ECCV", "TMLR", "JMLR", "AAAI", "SIGGRAPH")
HEAD = (
    "% Works that the methods of this paper name in their sources. Authors are surnames, as written there: complete "
    "them before print."
)
_IDENTIFIER = re.compile(r"\b(?:arXiv:\d{4}\.\d{4,5}|doi:10\.\d{4,9}/(?:\([^\s()]*\)|[^\s,;()])+)")
_SURNAME = r"[A-Z][\w'’-]+"
_HEAD = re.compile(rf"\b({_SURNAME}(?:(?:, | & ){_SURNAME})*)( et al\.)? (\d{{4}})\b")
_TITLE = re.compile(r'"([^"]+)"')
_SMALL = frozenset({"a", "an", "the", "on", "of", "for", "in", "with"})


@dataclass(frozen=True)
class CitedWork:
    """A paper as a docstring names it; `identifier` begins with "arXiv:" or "doi:"."""

    identifier: str
    authors: tuple[str, ...] = ()
    """Surnames."""
    has_more: bool = False
    """Whether there are more authors than are named."""
    year: str = ""
    title: str = ""
    venue: str = ""


def find_works(document: str) -> list[CitedWork]:
    """Return the works of the first paragraph of a docstring that names any: those that the file is of."""
    return next((found for part in document.split("\n\n") if (found := list(_works_of(part)))), [])


def _works_of(paragraph: str) -> Iterator[CitedWork]:
    text, end = " ".join(paragraph.split()), 0
    for match in _IDENTIFIER.finditer(text):
        # what stands between the work before and this one
        before, end = text[end : match.start()], match.end()
        heads = [head for head in _HEAD.finditer(before) if head[1] not in VENUES]
        work = CitedWork(match[0].rstrip("."), year=_arxiv_year(match[0]))
        after = before
        if heads:
            names, more, year = heads[-1].groups()
            work = replace(work, authors=tuple(re.split(r", | & ", names)), has_more=bool(more), year=year)
            after = before[heads[-1].end() :]

        title = _TITLE.search(after)
        venue = next((name for name in VENUES if re.search(rf"\b{name}\b", after)), "")
        yield replace(work, title=title[1].rstrip(".") if title else "", venue=venue)


def _arxiv_year(identifier: str) -> str:
    return f"20{identifier[6:8]}" if identifier.startswith("arXiv:") else ""


def gather_works(documents: Iterable[str]) -> dict[str, CitedWork]:
    """Return by identifier all works of docstrings; of a work that several name, the fullest words of each field."""
    found: dict[str, CitedWork] = {}
    for document in sorted(set(documents)):
        for part in document.split("\n\n"):
            for work in _works_of(part):
                known = found.get(work.identifier)
                found[work.identifier] = work if known is None else _join(known, work)
    return found


def _join(one: CitedWork, other: CitedWork) -> CitedWork:
    """Return what both know: the longer title with its year, the longer list of authors, a venue."""
    first, second = sorted((one, other), key=lambda work: (-len(work.title), -len(work.authors)))
    authors = max((first, second), key=lambda work: (bool(work.authors), len(work.authors), not work.has_more))
    return replace(
        first, authors=authors.authors, has_more=authors.has_more, venue=first.venue or second.venue,
        year=first.year if first.authors else second.year,
    )  # fmt: skip


def citation_keys(works: Iterable[CitedWork]) -> dict[str, str]:
    """Return a BibTeX key by identifier, such as song2021denoising; letters and digits alone, all different."""
    keys: dict[str, str] = {}
    for work in sorted(works, key=lambda work: work.identifier):
        number = _letters(work.identifier.partition(":")[2])
        words = [_letters(word) for word in work.title.split()]
        word = next((word for word in words if word and word not in _SMALL), "")
        key = f"{_letters(work.authors[0])}{work.year}{word or number}" if work.authors else f"work{number}"
        keys[work.identifier] = f"{key}x{number}" if key in keys.values() else key
    return keys


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain.lower())


def bibtex_entry(work: CitedWork, key: str) -> str:
    """Return a work as an entry that BibTeX's plain styles print whole."""
    kind, _, number = work.identifier.partition(":")
    place = ", ".join(filter(None, (work.venue, work.identifier if kind == "arXiv" else f"doi:{number}")))
    fields = {
        "author": " and ".join([*map(escape_latex, work.authors), *(["others"] if work.has_more else [])]),
        "title": f"{{{escape_latex(work.title or work.identifier)}}}",
        "year": work.year,
        "howpublished": escape_latex(place),
    }
    if kind == "arXiv":
        fields |= {"eprint": number, "archiveprefix": "arXiv"}
    return bibtex_text(key, fields)


def bibtex_text(key: str, fields: Mapping[str, str]) -> str:
    """Return an entry of fields that are LaTeX already; empty ones are left out."""
    lines = [f"  {name} = {{{text}}}" for name, text in fields.items() if text]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}\n"
