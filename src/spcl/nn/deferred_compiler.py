"""Loads torchvision and timm without torch's compiler, which they name when they are loaded and need only to compile.

The compiler (``torch._dynamo``) takes two seconds of processor time to load, as long as torch itself: too long for a
command that compares two images. Each of the two libraries asks it for one function; stand-ins give these until the
libraries are loaded, and turn to the compiler when they are called.
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
    """Load torchvision's models, the compiler only if they ask for more than is known here."""
    _load("torchvision.models")


@functools.cache
def load_timm() -> Any:
    """Give timm, which is loaded at the first call: torchvision's networks do not need it, and it takes half a second.

    The compiler is loaded only if timm asks for more than is known here.
    """
    return _load("timm")


def _load(name: str) -> ModuleType:
    try:
        with compiler_later():
            return importlib.import_module(name)
    except ImportError:  # another version of theirs, which takes the compiler apart
        importlib.import_module(_COMPILER)
        return importlib.import_module(name)


@contextmanager
def compiler_later() -> Iterator[None]:
    """A block of imports that finds stand-ins for the compiler, unless it is loaded already."""
    # It must not be loaded half while torch itself is.
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
    """A function that the compiler leaves out, as ``torch.compiler.disable`` gives it."""
    if fn is None:
        return functools.partial(_disable, recursive=recursive, reason=reason)

    @functools.wraps(fn)
    def left_out(*arguments: Any, **named: Any) -> Any:
        compiler = sys.modules.get(_COMPILER)
        if compiler is None:  # nothing is compiled
            return fn(*arguments, **named)
        return compiler.disable(fn, recursive, reason=reason)(*arguments, **named)

    return left_out
