"""Ctrl-C in training: the step in progress is finished first, so that the saved state is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stops_between_steps(*, when: bool = True) -> Iterator[Callable[[], bool]]:
    """Give a block in which the first Ctrl-C is only recorded; the second interrupts at once, as usual.

    Args:
        when: Whether Ctrl-C is recorded; False: it interrupts at once. It also interrupts at once outside the main
            thread, and if the calling program has a handler for it.

    Yields:
        Function that gives whether Ctrl-C was pressed; the block saves and raises ``KeyboardInterrupt`` itself.
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
