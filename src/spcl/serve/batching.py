"""Micro-batches: rows of many requests go through one function together, in the order in which they came.

While a batch is computed, further rows wait; then all of them, up to a limit, are the next batch. A single request
never waits for others to come.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.serve.failures import busy


@dataclass
class _Waiting:
    rows: NDArray[Any]
    key: Hashable
    answer: asyncio.Future[Any]


class Batcher:
    """Runs a function on batches of rows, in one thread of its own, apart from the event loop.

    Args:
        function: Gives a result for each row of ``[n, ...]`` rows; its second argument is the key of the rows.
        most: Largest number of rows in a batch; the rows of one request are not separated.
        most_waiting: Largest number of rows that wait; further ones are refused.
        name: Name of the thread, and of what is busy.
        observe: Called with the number of rows of each batch and the seconds that it took.
    """

    def __init__(
        self,
        function: Callable[[NDArray[Any], Any], Any],
        *,
        most: int,
        most_waiting: int,
        name: str,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        self._function, self._most, self._most_waiting, self._name = function, most, most_waiting, name
        self._observe = observe or (lambda rows, seconds: None)
        self._queue: deque[_Waiting] = deque()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._running: asyncio.Task[None] | None = None
        self._seconds_a_row = 0.01
        self.num_waiting = 0

    async def __call__(self, rows: NDArray[Any], key: Hashable = None) -> Any:
        """Give the results of rows, ``[n, ...]``: the part of the function's results that is theirs.

        Args:
            rows: ``[n, ...]``.
            key: Second argument of the function; only rows with equal keys are in one batch.

        Raises:
            RequestError: If too many rows wait already.
        """
        if self.num_waiting + len(rows) > self._most_waiting:
            raise busy(f"{self.num_waiting} images wait for {self._name}", self.num_waiting * self._seconds_a_row)
        waiting = _Waiting(rows, key, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self.num_waiting += len(rows)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    def close(self) -> None:
        """End the thread after the batch that it computes."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batch = self._next()
                if not batch:
                    continue
                rows = batch[0].rows if len(batch) == 1 else np.concatenate([part.rows for part in batch])
                started = time.perf_counter()
                try:
                    results = await loop.run_in_executor(self._worker, self._function, rows, batch[0].key)
                except Exception as error:
                    for part in batch:
                        if not part.answer.done():
                            part.answer.set_exception(error)
                    continue
                seconds = time.perf_counter() - started
                self._seconds_a_row = 0.9 * self._seconds_a_row + 0.1 * seconds / len(rows)
                self._observe(len(rows), seconds)
                at = 0
                for part in batch:
                    if not part.answer.done():
                        part.answer.set_result(results[at : at + len(part.rows)])
                    at += len(part.rows)
        finally:
            self._running = None

    def _next(self) -> list[_Waiting]:
        """Take the rows of the next batch; those whose client has gone are dropped."""
        batch: list[_Waiting] = []
        count = 0
        while self._queue:
            first = self._queue[0]
            if not first.answer.done():
                fits = count + len(first.rows) <= self._most and first.key == batch[0].key if batch else True
                if not fits:
                    break
                batch.append(first)
                count += len(first.rows)
            self._queue.popleft()
            self.num_waiting -= len(first.rows)
        return batch
