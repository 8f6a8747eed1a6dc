"""Micro-batches: the same results in the same order, bounded, and a failure is that of its own batch."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")

from spcl.serve.batching import Batcher
from spcl.serve.failures import RequestError


def batcher(function, **options) -> Batcher:
    return Batcher(function, **{"most": 8, "most_waiting": 100, "name": "test", **options})


def test_every_request_gets_its_own_rows_and_batches_form_while_one_is_computed():
    sizes = []

    def doubled(rows, key):
        time.sleep(0.01)
        return 2 * rows

    async def run():
        own = batcher(doubled, observe=lambda rows, seconds: sizes.append(rows))
        parts = [np.full((1 + number % 3, 2), number) for number in range(30)]
        results = await asyncio.gather(*(own(part) for part in parts))
        own.close()
        for part, result in zip(parts, results, strict=True):
            assert np.array_equal(result, 2 * part)
        assert own.num_waiting == 0

    asyncio.run(run())
    assert sum(sizes) == sum(1 + number % 3 for number in range(30))
    assert max(sizes) <= 8
    assert len(sizes) < 15


def test_rows_of_other_keys_are_in_other_batches():
    seen = []

    def keyed(rows, key):
        seen.append((key, len(rows)))
        return [key] * len(rows)

    async def run():
        own = batcher(keyed)
        results = await asyncio.gather(*(own(np.zeros((1, 1)), key) for key in (1, 1, 2, 2, 2, 1)))
        own.close()
        assert [list(result) for result in results] == [[1], [1], [2], [2], [2], [1]]

    asyncio.run(run())
    assert seen == [(1, 2), (2, 3), (1, 1)]


def test_a_failure_is_that_of_its_batch():
    def fails(rows, key):
        if rows[0, 0] == 3:
            raise RuntimeError("three")
        return rows

    async def run():
        own = batcher(fails, most=1)
        results = await asyncio.gather(*(own(np.full((1, 1), n)) for n in range(6)), return_exceptions=True)
        own.close()
        assert [isinstance(result, RuntimeError) for result in results] == [n == 3 for n in range(6)]

    asyncio.run(run())


def test_too_many_rows_are_refused_at_once_and_those_of_clients_that_left_are_dropped():
    go_on, computed = threading.Event(), []

    def slow(rows, key):
        computed.append(len(rows))
        go_on.wait(10)
        return rows

    async def run():
        own = batcher(slow, most=4, most_waiting=5)
        first = asyncio.create_task(own(np.zeros((1, 1))))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(own(np.zeros((1, 1)))) for _ in range(5)]
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError) as refused:
            await own(np.zeros((1, 1)))
        assert (refused.value.status, refused.value.code) == (503, "server-busy")
        for task in waiting[:3]:
            task.cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        await asyncio.gather(first, *waiting[3:])
        assert own.num_waiting == 0
        own.close()

    asyncio.run(run())
    assert computed == [1, 2]
