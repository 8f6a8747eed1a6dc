"""The process that forks what is killed, once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trust.system_calls import can_follow
from tests.trust.zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Forks programs."""
    if not can_follow():
        pytest.skip("the system calls of a process cannot be followed here")
    zygote = Zygote()
    yield zygote
    zygote.close()
