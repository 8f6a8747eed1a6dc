"""Run a piece of a program in a forked process: what it does to its own process ends with it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any


def forked(piece: Callable[[], Any]) -> Any:
    """Run a piece in a forked process, and give its result; an exception is given as its text.

    LanceDB must not have been used in the process before: its threads are not in the fork.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            try:
                result = piece()
            except BaseException as error:
                result = repr(error)
            with os.fdopen(writing, "wb") as file:
                pickle.dump(result, file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return pickle.loads(content) if content else f"ended with {code}"
