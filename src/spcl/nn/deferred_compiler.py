"""Importing torchvision and timm without torch's compiler, which they import and use only to compile networks.

The compiler (``torch._dynamo``) takes two seconds of processor time to import, as long as torch itself: too long for a
command that compares two images. Each of the two libraries imports one function of it. While they are imported,
stand-ins replace these functions; they call the compiler when they are used.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER, _HELPERS = "torch._dynamo", "torch._dynamo.utils"


def load_torchvision() -> None:
    """Import torchvision's models, and the compiler only if they need more of it than the stand-ins."""
    _load("torchvision.models")


@functools.cache
def load_timm() -> Any:
    """Give timm, imported at the first call: torchvision's networks do not need it, and its import takes half a second.

    The compiler is imported only if timm needs more of it than the stand-ins.
    """
    return _load("timm")


def _load(name: str) -> ModuleType:
    try:
        with compiler_later():
            return importlib.import_module(name)
    except ImportError:  # a version that imports other parts of the compiler
        importlib.import_module(_COMPILER)
        return importlib.import_module(name)


@contextmanager
def compiler_later() -> Iterator[None]:
    """Replace the compiler by stand-ins during a block of imports, unless it has been imported."""
    # torch first: it must not find the stand-ins while it is imported.
    importlib.import_module("torch")
    if _COMPILER in sys.modules:
        yield
        return
    compiler, helpers = ModuleType(_COMPILER), ModuleType(_HELPERS)
    stand_ins = {_COMPILER: compiler, _HELPERS: helpers}
    vars(compiler).update({"__path__": [], "disable": _disable, "utils": helpers})
    vars(helpers).update({"is_compile_supported": _is_compile_supported})
    sys.modules |= stand_ins
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module(_HELPERS).is_compile_supported(device_type))


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Stand-in for ``torch.compiler.disable``: a function that the compiler does not compile."""
    if fn is None:
        return functools.partial(_disable, recursive=recursive, reason=reason)

    @functools.wraps(fn)
    def left_out(*arguments: Any, **named: Any) -> Any:
        compiler = sys.modules.get(_COMPILER)
        if compiler is None:  # nothing is compiled
            return fn(*arguments, **named)
        return compiler.disable(fn, recursive, reason=reason)(*arguments, **named)

    return left_out
