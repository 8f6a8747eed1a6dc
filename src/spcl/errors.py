"""The exception for errors that the user can correct.

Raised where an input cannot be used: it names the value, what was expected and the next step. The command
line prints it without a traceback and exits with code 2.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, why and what to do next.

    Args:
        message: What the user reads: the value, what was expected, the next step. Its words may change.
        code: Stable name of the fault, in words joined by ``-``. Programs and tests match the code.

    Attributes:
        code: The code that was given.
        is_shared: Whether every process of the run raised it, so that only the main process prints it.
    """

    is_shared: bool = False

    def __init__(self, message: str, *, code: str = "invalid-input") -> None:
        super().__init__(message)
        self.code = code


def first_line(error: BaseException) -> str:
    """Give the message of an error on one line, or its type if the message is empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise an ``InputError`` for a setting out of range, with the setting, its value and what is expected."""
    if not condition:
        raise InputError(f"{name} is {value!r}; expected {expected}", code="setting-out-of-range")
