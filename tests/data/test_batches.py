"""Joined batches: the same whatever is read ahead or where a run continues."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from spcl.data.augment import TrainAugmentation
from spcl.data.batches import DomainStream, joined_batches
from spcl.data.identity_sampler import IdentityBatches
from spcl.data.images import ImageStore
from spcl.errors import InputError
from spcl.records import Record
from tests.fakes import draw

CPU = torch.device("cpu")


@pytest.fixture
def streams(tmp_path):
    made = []
    for number, first_slot in enumerate((0, 3)):
        paths = [draw(tmp_path / f"{number}-{row}.png", row // 4) for row in range(12)]
        store = ImageStore([Record(path) for path in paths], height=32, width=16, num_threads=2)
        labels = np.arange(12) // 4
        drawn = IdentityBatches(labels, np.full(12, -1), batch_size=8, num_instances=4, seed=5, domain=number)
        augmentation = TrainAugmentation(32, 16, mean=(0.5,) * 3, std=(0.5,) * 3)
        made.append(DomainStream(store, drawn, first_slot + labels, augmentation, number, seed=5))
    return made


def listed(streams, **options):
    return list(
        joined_batches(streams, **({"epoch": 0, "start_iteration": 0, "num_iterations": 5, "device": CPU} | options))
    )


def test_one_domain_after_the_other(streams):
    for batch in listed(streams):
        assert batch.images.shape == (16, 3, 32, 16)
        assert batch.domain_sizes == (8, 8)
        assert batch.slots[:8].max() < 3 <= batch.slots[8:].min()
    assert [batch.domain_sizes for batch in listed(streams[1:])] == [(8,)] * 5


def test_a_continued_epoch_has_the_same_batches(streams):
    whole = listed(streams)
    for start in range(5):
        for read_ahead in (1, 4):
            rest = listed(streams, start_iteration=start, read_ahead=read_ahead)
            assert len(rest) == 5 - start
            for ours, theirs in zip(rest, whole[start:], strict=True):
                assert torch.equal(ours.images, theirs.images)
                assert torch.equal(ours.slots, theirs.slots)
    assert not torch.equal(listed(streams, epoch=1)[0].images, whole[0].images)


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read batches ahead"]


def test_leaving_the_loop_ends_the_thread(streams):
    for _ in joined_batches(streams, epoch=0, start_iteration=0, num_iterations=50, device=CPU):
        break
    assert not readers()


def test_an_error_in_the_thread_is_raised_here(streams, tmp_path):
    (tmp_path / "1-3.png").write_text("broken")
    with pytest.raises(InputError, match=r"1-3\.png"):
        listed(streams, num_iterations=20)
    assert not readers()
