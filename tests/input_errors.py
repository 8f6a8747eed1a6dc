"""Expecting an ``InputError`` by its code; its words are matched only where they matter to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spcl.errors import InputError


@contextmanager
def input_error(code: str, *values: object) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Expect an ``InputError`` of this code.

    Args:
        code: Code of the error.
        values: What the message must name, as text: the value that was given, the next step.
    """
    with pytest.raises(InputError) as error:
        yield error
    assert error.value.code == code, str(error.value)
    for value in values:
        assert str(value) in str(error.value)
