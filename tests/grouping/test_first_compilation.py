"""Compiling the loops of the label stage: a stage of its own where numba has not stored them, nothing otherwise."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from spcl.compiled import is_compiled
from spcl.grouping import first_compilation
from spcl.grouping.groups import cluster
from spcl.reporting.console import SilentReporter


def test_a_stored_loop_is_compiled(tmp_path):
    cluster(np.eye(8, dtype=np.float32), eps=0.5, k1=4)
    assert all(is_compiled(kernel) for kernel in first_compilation._KERNELS)
    new = njit(lambda number: number + 1)
    stored = SimpleNamespace(signatures=[], _cache=SimpleNamespace(_cache_file=SimpleNamespace(_load_index=dict)))
    assert is_compiled(new), "without a cache on disk nothing can be compiled in advance"
    assert not is_compiled(stored)
    stored._cache._cache_file._load_index = lambda: {"signature": "file"}
    assert is_compiled(stored)


@pytest.mark.slow
def test_compiling_is_shown_once_as_a_stage_of_its_own(monkeypatch):
    report = SilentReporter()
    said: list[str] = []
    report.say = said.append  # type: ignore[method-assign]
    monkeypatch.setattr(first_compilation, "is_compiled", lambda kernel: False)
    assert first_compilation.compile_label_stage(report)
    assert said == ["compiling, once after an installation: about a minute"]
    monkeypatch.setattr(first_compilation, "is_compiled", lambda kernel: True)
    assert not first_compilation.compile_label_stage(report)
    assert len(said) == 1
