"""Builds the wheel with what lies in datasets/ inside the package; everything else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCards(build_py):
    """Copies datasets/ to harness/data/shipped in a wheel; an editable install reads datasets/ itself."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "harness" / "data" / "shipped"
        target.mkdir(parents=True, exist_ok=True)
        for card in sorted(Path("datasets").glob("*.toml")):
            shutil.copyfile(card, target / card.name)
        shutil.copytree("datasets/references", target / "references", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithCards})
