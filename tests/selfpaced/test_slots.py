"""The layout of the memory."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.selfpaced.slots import Slots


def test_source_classes_come_first():
    slots = Slots(num_source_classes=3, num_target_instances=4)
    assert len(slots) == 7
    assert slots.of_source(np.array([2, 0])).tolist() == [2, 0]
    assert slots.of_target(np.array([0, 3])).tolist() == [3, 6]
    assert slots.class_of_each(np.array([1, 0, 0, 2])).tolist() == [0, 1, 2, 4, 3, 3, 5]


def test_without_a_source_the_target_starts_at_zero():
    slots = Slots(0, 3)
    assert slots.of_target(np.arange(3)).tolist() == [0, 1, 2]
    assert slots.class_of_each(np.array([0, 1, 0])).tolist() == [0, 1, 0]


def test_labels_must_be_one_for_each_instance():
    with pytest.raises(ValueError, match="2 target labels for 3 instances"):
        Slots(1, 3).class_of_each(np.array([0, 1]))
