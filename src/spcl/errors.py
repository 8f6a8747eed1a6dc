"""The one exception that is meant for the user.

Raised where an input cannot be used: it names the value, what was expected and the next step. The command
line prints it without a traceback and exits with code 2.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, why and what to do next.

    Attributes:
        is_shared: Every process of the run has it: one of them tells it.
    """

    is_shared: bool = False


def first_line(error: BaseException) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise an ``InputError`` for a setting that is out of range; it names the setting, its value and what fits."""
    if not condition:
        raise InputError(f"{name} is {value!r}; expected {expected}")
