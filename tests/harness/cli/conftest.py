"""What the tests of `submit` share: a results folder to send."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.faulty import measure, suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two finished trials and a picture each."""
    results = tmp_path_factory.mktemp("finished")
    measure(suite([{"solver": "heun", "steps": 2}]), results)
    return results / "tiny"
