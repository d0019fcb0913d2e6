"""Every method names its paper: an arXiv id or a DOI stands in the docstring of its module."""

from __future__ import annotations

import re
import sys

from harness.registry import registry

PAPER = re.compile(r"\barXiv:\d{4}\.\d{4,5}\b|\bdoi:10\.\d{4,9}/\S+")
WITHOUT_PAPER = {
    "denoiser full": "the plain call of the network, a baseline",
    "executor serial": "the plain sampling loop, a baseline",
    "schedule arctan": "our own derivation",
    "schedule uniform-sigma": "the plainest grid, a lower anchor",
}
"""Methods that have no paper, each with the reason. The list may only shrink."""


def test_every_method_names_its_paper() -> None:
    ours = {
        f"{method.part} {method.name}": sys.modules[method.__module__].__doc__ or ""
        for method in registry().methods()
        if method.__module__.startswith("methods.")
    }
    silent = {name for name, text in ours.items() if not PAPER.search(text)}
    assert len(ours) > len(WITHOUT_PAPER)
    assert silent == WITHOUT_PAPER.keys(), "name the paper, or take the method off the list"


def test_the_pattern_knows_papers() -> None:
    assert PAPER.search('Song, Meng, Ermon 2021, "DDIM" (arXiv:2010.02502).')
    assert PAPER.search("Parareal: Lions et al. 2001 (doi:10.1016/S0764-4442(00)01793-6).")
    assert not PAPER.search("Song, Meng, Ermon 2021, equation 12.")
