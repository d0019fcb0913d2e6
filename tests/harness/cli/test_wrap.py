"""`oneclock wrap`: a function beside DDIM, and one sentence where that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.cli_kit import Command

PAGE = Path(__file__).resolve().parents[3] / "docs" / "samplers.md"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    code = PAGE.read_text().partition("```python\n# mine.py\n")[2].partition("```")[0]
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    return "mine.py:my_sampler"


def test_the_function_of_the_documentation_stands_beside_ddim(command: Command, mine: str) -> None:
    words = f"wrap {mine} --steps 2 --n-images 80 --schedule logsnr --in-process --set timing.tier=smoke"
    said = command(*words.split())
    assert said.code == 0, said.err
    lines = {
        line.split("\t")[0].strip(): line.split("\t")[-1]
        for line in said.out.splitlines()
        if line.startswith("unet-8:")
    }
    assert lines["unet-8:my-sampler"] == lines["unet-8:ddim@logsnr"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["nowhere.py:sample"], "nowhere.py does not exist"),
        (["mine.py:nothing"], "mine.py has no nothing at its top"),
        (["mine.py:my_sampler", "--network", "unet-8"], "expected one of the zoo"),
        (["mine.py:my_sampler", "--steps", "0"], "expected whole numbers, 1 or more"),
        (["mine.py:my_sampler", "--steps", "few"], '--steps is "few"'),
        (["mine.py:my_sampler", "--set", "timing.tire=smoke"], "--set timing.tire=smoke: "),
    ],
)
def test_what_cannot_be_wrapped_is_one_sentence(command: Command, mine: str, words: list[str], found: str) -> None:
    said = command("wrap", *words)
    assert said.code == 2
    assert found in said.err
    assert said.err.count("\n") == 1
