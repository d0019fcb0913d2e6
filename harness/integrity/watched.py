"""What is watched: our own modules, and the names of the standard library, numpy and torch that decide."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

OWN = ("harness", "methods")
"""Packages of which every loaded module is watched, with the classes that it defines."""

LIBRARIES = (
    # clocks, digests, chance
    "builtins", "time", "hashlib", "_hashlib", "hmac", "random", "secrets", "math", "statistics", "operator",
    # what our code is made of
    "os", "posix", "threading", "_thread", "functools", "itertools", "collections", "contextlib", "json", "struct",
    "dataclasses", "importlib", "subprocess", "signal", "gc",
    # arrays
    "numpy", "numpy.linalg", "numpy.random", "scipy.linalg", "scipy.stats",
    "torch", "torch.linalg", "torch.nn.functional", "torch.nn.modules.module", "torch.autograd", "torch.cuda",
    "torch.overrides", "torch.utils.flop_counter", "torch.utils._python_dispatch", "psutil",
)  # fmt: skip
"""Modules of libraries of which every name is watched, where they are loaded."""

CLASSES = (
    "torch:Tensor", "torch:Generator", "torch._C:TensorBase", "torch.nn:Module", "torch.nn:Parameter",
    "torch.utils.flop_counter:FlopCounterMode", "torch.utils.flop_counter:_FlopCounterMode",
    "torch.utils._python_dispatch:TorchDispatchMode", "torch.cuda:Event", "random:Random", "threading:Thread",
    "pydantic:BaseModel",
)  # fmt: skip
"""Classes of libraries of which every name is watched."""

CONTAINERS = (
    "sys:meta_path", "sys:path_hooks", "gc:callbacks", "torch.utils.flop_counter:flop_registry",
    "torch.nn.modules.module:_global_forward_hooks", "torch.nn.modules.module:_global_forward_pre_hooks",
    "torch.nn.modules.module:_global_backward_hooks", "torch.nn.modules.module:_global_backward_pre_hooks",
    "torch.nn.modules.module:_global_module_registration_hooks",
    "torch.nn.modules.module:_global_parameter_registration_hooks",
    "torch.nn.modules.module:_global_buffer_registration_hooks",
)  # fmt: skip
"""Lists and tables of libraries whose entries are watched."""

LAZY = frozenset({"__doc__", "__annotations__", "__signature__"})
"""Names that Python or a library sets anew, and that decide nothing."""

LATE = frozenset(
    {"torch.manual_seed", "torch.Storage", "time.tzname", "time.timezone", "time.altzone", "time.daylight"}
    | {"threading._profile_hook"}
)
"""Names that libraries set anew when they are imported or set up, and that decide nothing; one is a setting too."""

LATE_MAKERS = ("torch._dynamo.mutation_guard",)
"""Modules of torch that replace functions of torch by their own when a module is compiled."""

COMPILER = "torch._dynamo.eval_frame"
"""The module of torch whose functions call compiled code; the compiler names them in modules whose code it compiles."""


def own_modules() -> Iterator[tuple[str, ModuleType]]:
    """Yield the loaded modules of our packages by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith(OWN) and name.partition(".")[0] in OWN and isinstance(module, ModuleType):
            yield name, module


def library_owners() -> Iterator[tuple[str, Any]]:
    """Yield the modules and classes of libraries that are watched and loaded, by their label."""
    for name in LIBRARIES:
        if (module := sys.modules.get(name)) is not None:
            yield name, module
    for place in CLASSES:
        if (found := _named(place)) is not None:
            yield place.replace(":", "."), found


def library_containers() -> Iterator[tuple[str, Any]]:
    """Yield the lists and tables of libraries that are watched and loaded, by their label."""
    for place in CONTAINERS:
        if (found := _named(place)) is not None:
            yield place.replace(":", "."), found


def classes_of(module: ModuleType) -> Iterator[tuple[str, type]]:
    """Yield the classes that a module defines, nested ones too, by their label."""
    todo = [value for value in vars(module).values() if isinstance(value, type)]
    seen: set[int] = set()
    while todo:
        found = todo.pop()
        if id(found) in seen or found.__module__ != module.__name__:
            continue
        seen.add(id(found))
        yield f"{module.__name__}.{found.__qualname__}", found
        todo += [value for value in vars(found).values() if isinstance(value, type)]


def _named(place: str) -> Any:
    name, _, attribute = place.partition(":")
    module = sys.modules.get(name)
    return None if module is None else vars(module).get(attribute)
