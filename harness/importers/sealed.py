"""Reads a foreign pickle in a process of its own, which has no environment and no network, and few rights."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import UsageError
from harness.importers.sealed_process import REPORT_FILE, TENSORS_FILE
from harness.importers.torch_files import read_safetensors
from harness.specs.limits import SEALED_READ_SECONDS

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from harness.importers.sealed_process import main; main()"
)  # fmt: skip


@dataclass(frozen=True)
class SealedNetwork:
    """A network as its pickle stores it."""

    tensors: dict[str, torch.Tensor]
    """By name, in the number formats of the file."""
    layers: dict[str, dict[str, Any]]
    """Plain numbers in the state of each module, by its name; "" is the wrapper, "model" the network."""
    classes: dict[str, str]
    arguments: dict[str, dict[str, Any]]
    """Of the constructors of wrapper and network."""
    sources: list[str]
    """SHA-256 of each source text in the file; none was executed."""


def read_sealed(path: Path, seconds: float = SEALED_READ_SECONDS) -> SealedNetwork:
    """Return the averaged network of a pickle in EDM's layout; UsageError if it is refused or exceeds a limit.

    The process gets one descriptor to read and one folder to write, no environment, and at most `seconds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = _run_process(path, Path(folder).resolve(), seconds)
        report_file = Path(folder) / REPORT_FILE
        if code or not report_file.is_file():
            raise UsageError(f"{path} was not read within its limits (exit code {code}); expected a pickle of EDM")
        report = json.loads(report_file.read_text(encoding="utf-8"))
        if "refusal" in report:
            raise UsageError(
                f"{path} is refused: {report['refusal']}; expected a published pickle of EDM, nothing of this one ran"
            )

        tensors = read_safetensors(Path(folder) / TENSORS_FILE)
        return SealedNetwork(tensors={name: value.clone() for name, value in tensors.items()}, **report)


def _run_process(path: Path, folder: Path, seconds: float) -> int:
    """Return the exit code of the process; UsageError if it takes too long."""
    command = [sys.executable, "-I", "-B", "-c", _PROGRAM, str(_ROOT), str(max(1, round(seconds)))]
    rights: Any = {"cwd": folder, "env": {}, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        with path.open("rb") as source:
            done = subprocess.run(
                command,
                stdin=source,
                timeout=seconds,
                check=False,
                **rights,
            )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{path} was not read within {seconds:g} seconds; expected a pickle of EDM") from None
    return done.returncode
