"""Works as docstrings name them, and their BibTeX."""

from __future__ import annotations

import re

import pytest

from harness.planning.method_facts import collect_facts
from harness.report.paper.bibliography import CitedWork, bibtex_entry, citation_keys, find_works, gather_works

SEVERAL = """A solver.

Zhang, Chen 2023, "Fast Sampling of Diffusion Models with Exponential
Integrator" (DEIS, arXiv:2204.13902), after Liu et al. 2022, "Pseudo Numerical Methods" (ICLR, arXiv:2202.09778).

Not of this file: Ho, Jain, Abbeel 2020 (arXiv:2006.11239).
"""


def test_a_paragraph_names_its_works() -> None:
    assert find_works(SEVERAL) == [
        CitedWork("arXiv:2204.13902", ("Zhang", "Chen"), False, "2023",
             "Fast Sampling of Diffusion Models with Exponential Integrator"),
        CitedWork("arXiv:2202.09778", ("Liu",), True, "2022", "Pseudo Numerical Methods", "ICLR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "authors", "identifier"),
    [
        ("Parareal: Lions, Maday, Turinici 2001 (doi:10.1016/S0764-4442(00)01793-6).", 3,
         "doi:10.1016/S0764-4442(00)01793-6"),
        ('Family "dit": DiT (Peebles & Xie 2023, arXiv:2212.09748), a transformer', 2, "arXiv:2212.09748"),
        ("After Ma, Fang, Wang 2024, (CVPR, arXiv:2312.00858)", 3, "arXiv:2312.00858"),
        ("SeaCache (CVPR 2026, arXiv:2602.18993).", 0, "arXiv:2602.18993"),
        ("Calvo-Ordonez et al. 2024 (TMLR, arXiv:2310.20092).", 1, "arXiv:2310.20092"),
    ],
)  # fmt: skip
def test_what_a_work_may_look_like(text: str, authors: int, identifier: str) -> None:
    (work,) = find_works(text)
    assert (len(work.authors), work.identifier) == (authors, identifier)
    assert work.year in text or not authors


def test_no_work_is_no_entry() -> None:
    assert find_works("Levels uniform in sigma.\n\nNo paper: the plainest grid there is.") == []


def test_what_several_files_know_is_joined() -> None:
    short, long = (
        'Ma et al. 2024, "SiT" (arXiv:2401.08740).',
        'Ma, Goldstein 2024, "SiT: a title" (ECCV, arXiv:2401.08740).',
    )
    for documents in ((short, long), (long, short)):
        assert gather_works(documents)["arXiv:2401.08740"] == CitedWork(
            "arXiv:2401.08740", ("Ma", "Goldstein"), False, "2024", "SiT: a title", "ECCV"
        )


def test_keys_are_different_and_plain() -> None:
    works = [CitedWork("arXiv:2401.00001", ("Müller",), False, "2024", "On a Title"), CitedWork("arXiv:2401.00002"),
             CitedWork("arXiv:2401.00003", ("Muller",), False, "2024", "The Title of Another")]  # fmt: skip
    assert list(citation_keys(works).values()) == ["muller2024title", "work240100002", "muller2024titlex240100003"]


def test_an_entry_is_escaped() -> None:
    entry = bibtex_entry(CitedWork("arXiv:2401.00001", ("Ma",), True, "2024", "50 % & more_of {it}", "ICLR"), "ma2024")
    assert r"title = {{50 \% \& more\_of \{it\}}}" in entry
    assert "author = {Ma and others}" in entry
    assert "howpublished = {ICLR, arXiv:2401.00001}" in entry
    assert entry.startswith("@misc{ma2024,\n")


def test_every_paper_of_the_shipped_methods_has_authors() -> None:
    facts = [one for one in collect_facts() if one.source.startswith("methods.")]
    works = gather_works(one.document for one in facts)
    assert len(works) > 30
    named = re.findall(r"arXiv:\d{4}\.\d{4,5}", " ".join(one.document for one in facts))
    assert set(named) <= set(works)
    assert [work.identifier for work in works.values() if not work.authors] == ["arXiv:2602.18993"]
