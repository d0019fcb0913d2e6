"""The Makefile types the commands that it should."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("target", ["benchmark", "plan", "submit"])
@pytest.mark.parametrize("address", ["", "http://head:8265"])
def test_an_address_is_an_option_only_where_one_is_given(target: str, address: str) -> None:
    words = ["make", "-n", target, f"ADDRESS={address}", "-o", "install", "-o", ".venv/.installed"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    assert ("--address" in said) == bool(address)
    assert not address or f"--address {address}" in said
    assert "--results results" in said
