"""One clock for accelerated diffusion sampling: quality, time and work of samplers, measured side by side."""

from __future__ import annotations

from harness.api import load, plan, run
from harness.version import VERSION as __version__

__all__ = ["__version__", "load", "plan", "run"]
