"""A job is submitted once, however bad the line, and a tree that is too large is described."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.cli import job_start
from harness.errors import HarnessError, UsageError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_start, "JOB_POLL_SECONDS", 0.0)


class Line:
    """A job server reached over a bad line: replies with these, in order; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.names = list(answers), []

    def submit_job(
        self, entrypoint: str, runtime_env: dict[str, Any], submission_id: str, metadata: dict[str, str]
    ) -> str:
        self.names.append(submission_id)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise type(answer)(str(answer).format(submission_id))
        return submission_id


@pytest.mark.parametrize(
    "answers",
    [
        [None],
        [RuntimeError("try again later"), None],
        [ConnectionError("aborted"), None],
        [ConnectionError("aborted"), RuntimeError("Job with submission_id {} already exists.")],
    ],
)
def test_a_job_is_handed_in_once_over_a_bad_line(answers: list[Any]) -> None:
    line = Line(*answers)
    assert job_start.start_job(line, "there", "python", {}, {}) == line.names[0]
    assert len(set(line.names)) == 1
    assert not line.answers


def test_a_job_that_is_refused_is_not_handed_in_again() -> None:
    for refusal in (RuntimeError("no"), RuntimeError("Job with submission_id {} already exists.")):
        line = Line(refusal, None)
        with pytest.raises(HarnessError, match="there did not take the job"):
            job_start.start_job(line, "there", "python", {}, {})
        assert len(line.names) == 1


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with a large file of each kind: new, excluded by name or pattern, ignored by git."""
    sizes = {
        "harness/a.py": 10,
        "datasets/pictures.npz": 9000,
        "results/quick/x": 90_000,
        "data/part.parquet": 90_000,
        "ignored/checkpoint.pt": 90_000,
        "notes/large.bin": 5000,
        "a": 1,
        "b": 2,
    }
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / ".gitignore").write_text("/ignored/\n")
    return tmp_path


@pytest.mark.parametrize("has_git", [True, False])
def test_a_tree_that_is_too_large_names_its_largest_files_and_the_remedy(
    tree: Path, monkeypatch: pytest.MonkeyPatch, has_git: bool
) -> None:
    if has_git:
        subprocess.run(["git", "init", "-q", str(tree)], check=True)
    monkeypatch.setattr(job_start, "ROOT", tree)
    refusal = RuntimeError("Request failed with status code 413: Maximum request body size 104857600 exceeded..")
    with pytest.raises(UsageError) as caught:
        job_start.start_job(Line(refusal), "http://head:8265", "python", {}, {})
    said = str(caught.value)
    assert "does not take a source tree so large" in said
    assert ".gitignore" in said
    assert ("ignored/checkpoint.pt" in said) != has_git  # without git nothing says what is ignored
    assert said.index("datasets/pictures.npz (0.0 MB)") < said.index("notes/large.bin")
    assert not any(word in said for word in ("results/", "parquet", ", a ("))
