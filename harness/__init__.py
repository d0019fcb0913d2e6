"""One clock for accelerated diffusion sampling: quality, time and work of samplers, measured side by side."""

from __future__ import annotations

__version__ = "0.1.0"
