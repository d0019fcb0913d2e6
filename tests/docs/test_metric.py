"""The metric of the page, edited into a copy of this project as the page says, comes out of `oneclock score`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kit.docs_kit import DOCS, ROOT, fences
from PIL import Image

from harness.data.cards import load_card
from harness.data.splits import load_split


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of the engine with the page's file and its difference applied; what is not edited is linked."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "harness", copy / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("methods", "datasets"):
        (copy / name).symlink_to(ROOT / name)
    for fence in fences(DOCS / "plugins" / "metric.md"):
        if fence.title:
            (copy / fence.title).write_text(fence.text, encoding="utf-8")
        elif fence.language == "diff":
            subprocess.run(["git", "apply", "--unidiff-zero", "-"], input=fence.text, text=True, cwd=copy, check=True)
    return copy


def test_it_is_among_the_figures_of_a_score(edited: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, picture in enumerate(np.asarray(load_split(load_card("digits"), "test").images)[:80]):
        Image.fromarray(picture[0]).save(pictures / f"{number:03}.png")

    words = ["score", str(pictures), "--dataset", "digits", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(edited)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words],
        capture_output=True, text=True, timeout=200, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert figures["mean_distance"] > 0
    assert figures["mean_distance"] ** 2 < figures["fid"]  # FID is this squared and the distance of covariances
