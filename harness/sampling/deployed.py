"""Kernels of the mode "deployed": TF32 and cuDNN's fastest on a GPU, and networks that are compiled.

The mode does the same to every method and to what it is compared with. Whole calls of a network are compiled for each
shape, and on a GPU captured as CUDA graphs. There, methods that run it in pieces, or on other rows each time, get
compiled pieces: the outermost modules of a kind that a network has several times. On a CPU pieces stay as they are: it
does not pay. A U-ViT of 10 ms a call took 6 % less time whole, and 9 % more in pieces; one of 1 ms 23 % less, and 65 %
more. Copies that a method makes are compiled too.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from harness.specs.sampler import Mode
from methods.networks.base import Network
from methods.networks.preconditioned import PreconditionedNetwork

MOST_SHAPES = 4
"""Shapes that a whole call is compiled for one by one; further ones share one compilation for all shapes."""
_RECOMPILATIONS = 64
"""How often torch compiles one function for others of its arguments; its own default is too few for U-Nets."""
_FIRST_CALLS = 2
"""Calls of a compilation with a CUDA graph that take longer: one compiles, the next one records."""
_NOT_COMPILED = ("continuous-unet",)
"""Families whose calls torch cannot compile in one piece."""
_SETTINGS: tuple[tuple[Any, str, Any], ...] = (
    (torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    (torch.backends.cudnn.conv, "fp32_precision", "tf32"),  # type: ignore[attr-defined]
    (torch.backends.cudnn, "benchmark", True),
    (torch.backends.cudnn, "deterministic", False),
)
"""Where torch keeps how a GPU computes, and what deployed kernels are."""


@contextmanager
def kernels_of(mode: Mode, device: torch.device) -> Iterator[None]:
    """Let the block run on the kernels of a mode. Workers fix those of "reproducible" before every task."""
    if mode == "reproducible" or device.type != "cuda":
        yield
        return
    before = [getattr(place, name) for place, name, _ in _SETTINGS]
    try:
        for place, name, value in _SETTINGS:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(_SETTINGS, before, strict=True):
            setattr(place, name, value)


def deploy_network(network: Network, device: torch.device) -> None:
    """Compile a network in place: its whole calls, and on a GPU its pieces for methods that run these by themselves.

    An exact network has neither, and one that solves ODEs decides while it runs what is next: both stay as they are.
    """
    if not isinstance(network, PreconditionedNetwork) or network.family in _NOT_COMPILED:
        return
    _allow_recompilations()
    if device.type != "cpu":
        for piece in repeated_modules(network):
            _compile_forward(piece, whole=False, device=device)
    network.raw = CompiledCall(network.raw, whole=True, device=device)  # type: ignore[method-assign]


def deploy_modules(owner: object, device: torch.device) -> None:
    """Compile whole calls of the modules that a built denoiser made besides networks, such as one for each width."""
    for module in _own_modules(owner):
        if not isinstance(module, Network) and _has_forward(module):
            _compile_forward(module, whole=True, device=device)


def compile_seconds(*owners: object) -> float | None:
    """Return the seconds that compiling took so far for networks, and for what built denoisers have besides.

    What the compiler kept on disk from earlier processes takes less. None where nothing is compiled.
    """
    modules = {id(one): one for owner in owners for module in _modules_of(owner) for one in module.modules()}
    calls = [call for one in modules.values() for call in vars(one).values()]
    seconds = [one.first_seconds for one in calls if isinstance(one, CompiledCall)]
    return sum(seconds) if seconds else None


def _modules_of(owner: object) -> Iterator[nn.Module]:
    if isinstance(owner, nn.Module):
        yield owner
    else:
        yield from _own_modules(owner)


def repeated_modules(module: nn.Module) -> list[nn.Module]:
    """Return the outermost modules with a `forward` of a class of their own that stands in it several times."""
    kinds = Counter(type(one) for one in module.modules())
    found, todo = [], list(module.children())
    while todo:
        one = todo.pop(0)
        if kinds[type(one)] > 1 and _has_forward(one) and not _is_of_torch(one):
            found.append(one)
        else:
            todo = [*one.children(), *todo]
    return found


class CompiledCall:
    """A method of a module that is compiled when it is called, for each of its settings; copied with the module.

    Where operators are counted, or gradients are kept, the method itself runs.
    """

    def __init__(self, eager: Callable[..., Any], whole: bool, device: torch.device) -> None:
        """Take the method; `whole` calls have few shapes and get one compilation for each."""
        self.eager = eager
        self.whole = whole
        self.device = device
        self.first_seconds = 0.0
        """Seconds of the first calls of its compilations, which compile, and on a GPU record the graph."""
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledCall:
        return CompiledCall(copy.deepcopy(self.eager, memo), self.whole, self.device)

    def __call__(self, *tensors: Any, **settings: Any) -> Any:
        if self._must_be_eager(settings.values()):
            return self.eager(*tensors, **settings)
        if not self.whole:
            return self._for((), settings, None)(*tensors)

        # one compilation for a shape, as long as there are few
        shapes = tuple((one.shape, one.dtype) if isinstance(one, Tensor) else one for one in tensors)
        known = sum(key[1] == tuple(settings.items()) for key in self._compiled)
        if (shapes, tuple(settings.items())) in self._compiled or known < MOST_SHAPES:
            return self._for(shapes, settings, False)(*tensors)
        return self._for((), settings, True)(*tensors)

    @property
    def compilations(self) -> int:
        """Return how many compilations it has."""
        return len(self._compiled)

    def _must_be_eager(self, settings: Iterable[Any]) -> bool:
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return True
        return _get_current_dispatch_mode() is not None or any(isinstance(one, Tensor) for one in settings)

    def _for(self, shapes: tuple[Any, ...], settings: Mapping[str, Any], dynamic: bool | None) -> Callable[..., Any]:
        key = shapes, tuple(settings.items())
        if key not in self._compiled:
            call = partial(self.eager, **settings) if settings else self.eager
            self._compiled[key] = self._time_first(self._compile(call, dynamic), key)
        return self._compiled[key]

    def _time_first(self, compiled: Callable[..., Any], key: Any) -> Callable[..., Any]:
        """Return a call that is timed until it is compiled, and then gives way to the compiled one."""
        left = _FIRST_CALLS if self.whole and self.device.type == "cuda" else 1

        def first(*tensors: Any) -> Any:
            nonlocal left
            began = time.perf_counter()
            result = compiled(*tensors)
            if any(isinstance(one, Tensor) and one.is_cuda for one in tensors):
                torch.cuda.synchronize(self.device)
            self.first_seconds += time.perf_counter() - began
            left -= 1
            if not left:
                self._compiled[key] = compiled
            return result

        return first

    def _compile(self, call: Callable[..., Any], dynamic: bool | None) -> Callable[..., Any]:
        if not (self.whole and self.device.type == "cuda"):
            return torch.compile(call, dynamic=dynamic)
        replayed = torch.compile(call, dynamic=dynamic, mode="reduce-overhead")
        return lambda *tensors: replayed(*tensors).clone()  # the next replay overwrites it


def _compile_forward(module: nn.Module, whole: bool, device: torch.device) -> None:
    if not isinstance(vars(module).get("forward"), CompiledCall):
        module.forward = CompiledCall(module.forward, whole, device)


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _is_of_torch(module: nn.Module) -> bool:
    return type(module).__module__.partition(".")[0] == "torch"


def _own_modules(owner: object) -> Iterator[nn.Module]:
    """Yield the modules among an object's attributes, in tables and lists of these, and in partial calls."""
    todo: list[Any] = list(vars(owner).values())
    while todo:
        one = todo.pop(0)
        if isinstance(one, nn.Module):
            yield one
        elif isinstance(one, Mapping):
            todo += one.values()
        elif isinstance(one, list | tuple):
            todo += one
        elif isinstance(one, partial):
            todo += [*one.args, *one.keywords.values()]


def _allow_recompilations() -> None:
    import torch._dynamo  # here, because it takes a second that no other mode needs

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _RECOMPILATIONS)
