"""Ctrl-C in training: the step is finished, so that what is saved is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stops_between_steps(*, when: bool = True) -> Iterator[Callable[[], bool]]:
    """A block of steps in which the first Ctrl-C is only noted; the second one interrupts at once, as outside.

    Args:
        when: False: Ctrl-C interrupts at once. It also does outside the main thread, and where the program that calls
            has a handler of its own.

    Yields:
        Whether Ctrl-C was pressed; the block saves and raises ``KeyboardInterrupt`` itself.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    is_ours = when and threading.current_thread() is threading.main_thread() and before is signal.default_int_handler

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    if is_ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        if is_ours:
            signal.signal(signal.SIGINT, before)
