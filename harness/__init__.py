"""One clock for accelerated diffusion sampling: quality, time and work of samplers, measured side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.version import VERSION as __version__

if TYPE_CHECKING:
    from harness.api import load, make_sampler, plan, run

__all__ = ["__version__", "load", "make_sampler", "plan", "run"]


def __getattr__(name: str) -> Any:
    """Import the Python face when it is first asked for: whoever wants a module alone waits for nothing else."""
    if name not in __all__:
        raise AttributeError(f'module "harness" has no attribute "{name}"')
    from harness import api

    return getattr(api, name)
