"""The Makefile types the commands that it should."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def typed(*words: str) -> str:
    """What ``make`` would type, given `words`; also where these tests were started by a ``make`` of their own."""
    command = ["make", "--no-print-directory", "-n", *words, "-o", "install", "-o", ".venv/.installed"]
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    env = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.mark.parametrize("target", ["benchmark", "plan", "submit", "attach"])
@pytest.mark.parametrize("address", ["", "http://head:8265"])
def test_an_address_is_an_option_only_where_one_is_given(target: str, address: str) -> None:
    said = typed(target, f"ADDRESS={address}")
    assert ("--address" in said) == bool(address)
    assert not address or f"--address {address}" in said
    assert "--results results" in said


@pytest.mark.parametrize("target", ["benchmark", "plan", "submit"])
def test_devices_are_chosen_where_they_are_named(target: str) -> None:
    assert '--gpus 4 --device "A100 1g.5gb"' in typed(target, "GPUS=4", "DEVICE=A100 1g.5gb")
    said = typed(target)
    assert "--gpus" not in said
    assert "--device" not in said


def test_a_storage_is_one_word_whatever_its_query() -> None:
    uri = "s3://bucket/x?scheme=http&region=y"
    assert f"--storage '{uri}'" in typed("submit", f"STORAGE={uri}")


def test_a_gpu_is_checked_by_an_installed_python_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said = typed("test-gpu")
    assert ".venv/bin/python -m harness gpu-check --results results/gpu-check" in said
    assert "--device" not in said
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.setenv("MAKEFLAGS", "w")
    said = typed("test-gpu", "INSTALLED=python3", "DEVICE=cpu", "MINUTES=4", "PARTS=calls,deployed")
    assert said.split()[:4] == ["python3", "-m", "harness", "gpu-check"]
    assert '--device "cpu" --training-minutes 4 --only "calls,deployed"' in said


def test_a_site_is_made_of_the_reference_runs() -> None:
    assert typed("site") == ".venv/bin/python -m harness site results/reference --to results/site\n"
    assert "site mine theirs --to public" in typed("site", "FOLDERS=mine theirs", "SITE=public")


def test_a_release_is_checked_with_what_is_named() -> None:
    assert typed("release-check").strip() == ".venv/bin/python -m harness release-check --suite quick"
    said = typed("release-check", "SUITE=known-answer", "PARTS=wheel,run", "IN_PROCESS=1")
    assert '--suite known-answer --only "wheel,run" --in-process' in said
