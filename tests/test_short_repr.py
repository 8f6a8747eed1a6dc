"""Results that hold arrays are shown on one line."""

from __future__ import annotations

import dataclasses

import numpy as np

import spcl


def test_arrays_are_shown_by_shape():
    features = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    groups = spcl.cluster(features)
    assert "\n" not in repr(groups)
    assert "<int64 [40]>" in repr(groups)


def test_no_public_result_shows_its_arrays():
    shown_whole = []
    for name in spcl.__all__:
        kind = getattr(spcl, name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__repr__.__name__ != "short_repr":
            types = " ".join(str(field.type) for field in dataclasses.fields(kind))
            shown_whole += [name] if "NDArray" in types or "Encoder]" in types or "Record," in types else []
    assert shown_whole == []
