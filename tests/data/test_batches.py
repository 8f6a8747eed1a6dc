"""Joined batches: the same whatever is read ahead or where a run continues."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from spcl.data.augment import TrainAugmentation
from spcl.data.batches import DomainStream, Share, joined_batches
from spcl.data.identity_sampler import IdentityBatches
from spcl.data.image_store import ImageStore
from spcl.records import Record
from tests.fakes import draw
from tests.input_errors import input_error

CPU = torch.device("cpu")


@pytest.fixture
def streams(tmp_path):
    made = []
    for number, first_slot in enumerate((0, 3)):
        paths = [draw(tmp_path / f"{number}-{row}.png", row // 4) for row in range(12)]
        store = ImageStore([Record(path) for path in paths], size=(32, 16), num_threads=2)
        labels = np.arange(12) // 4
        drawn = IdentityBatches(labels, np.full(12, -1), batch_size=8, num_instances=4, seed=5, domain=number)
        augmentation = TrainAugmentation(32, 16, mean=(0.5,) * 3, std=(0.5,) * 3)
        cameras = 10 * number + np.arange(12) % 4
        made.append(DomainStream(store, drawn, first_slot + labels, cameras, augmentation, number, seed=5))
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
        assert batch.cameras[:8].max() < 4 <= 10 <= batch.cameras[8:].min()
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


@pytest.mark.parametrize("of", [2, 4])
def test_shares_are_the_whole_batch(streams, of):
    for number, whole in enumerate(listed(streams, num_iterations=3)):
        shares = [listed(streams, num_iterations=3, share=Share(rank, of))[number] for rank in range(of)]
        for at, domain in enumerate((slice(0, 8), slice(8, 16))):
            parts = [part.images.split(list(part.domain_sizes))[at] for part in shares]
            assert torch.equal(torch.cat(parts), whole.images[domain])
            slots = [part.slots.split(list(part.domain_sizes))[at] for part in shares]
            assert torch.equal(torch.cat(slots), whole.slots[domain])
            cameras = [part.cameras.split(list(part.domain_sizes))[at] for part in shares]
            assert torch.equal(torch.cat(cameras), whole.cameras[domain])
        assert all(torch.equal(part.all_slots, whole.slots) for part in shares)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_batch_in_parts(streams, count):
    batch = listed(streams, num_iterations=1)[0]
    parts = batch.split(count)
    assert [part.domain_sizes for part in parts] == [(8 // count, 8 // count)] * count
    for at, domain in enumerate((slice(0, 8), slice(8, 16))):
        images = torch.cat([part.images.split(list(part.domain_sizes))[at] for part in parts])
        assert torch.equal(images, batch.images[domain])
    assert torch.equal(parts[-1].all_slots, batch.slots)


def test_draws_differ_by_domain_epoch_and_iteration(streams):
    """The same images, four times: what differs between the results is the augmentation alone."""

    class Same:
        def batch(self, epoch, iteration):
            return np.arange(8)

    same = replace(streams[0], batches=Same())
    other = replace(same, number=1)
    results = [same.read(0, 0, CPU), same.read(0, 1, CPU), same.read(1, 0, CPU), other.read(0, 0, CPU)]
    for one, two in combinations([images for images, _, _ in results], 2):
        assert not torch.equal(one, two)
    assert torch.equal(same.read(0, 0, CPU)[0], results[0][0])


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read batches ahead"]


def test_leaving_the_loop_ends_the_thread(streams):
    for _ in joined_batches(streams, epoch=0, start_iteration=0, num_iterations=50, device=CPU):
        break
    assert not readers()


def test_an_error_in_the_thread_is_raised_here(streams, tmp_path):
    (tmp_path / "1-3.png").write_text("broken")
    with input_error("unreadable-image", "1-3.png") as caught:
        listed(streams, num_iterations=20)
    assert not readers()
    assert "_decode" in [entry.name for entry in caught.traceback]


@pytest.mark.parametrize("read_ahead", [1, 3])
def test_no_more_is_read_ahead_than_asked_for(streams, read_ahead, monkeypatch):
    read = []
    original = DomainStream.read

    def counted(self, epoch, iteration, device, share):
        read.append(iteration)
        return original(self, epoch, iteration, device, share)

    monkeypatch.setattr(DomainStream, "read", counted)
    loop = joined_batches(streams[:1], epoch=0, start_iteration=0, num_iterations=50, device=CPU, read_ahead=read_ahead)
    for used in range(1, 6):
        next(loop)
        time.sleep(0.02)
        assert used <= len(read) <= used + read_ahead
    loop.close()
    assert not readers()
    assert len(read) <= 5 + read_ahead


def test_reading_nothing_ahead_is_an_error(streams):
    with pytest.raises(ValueError, match="read_ahead is 0"):
        listed(streams, read_ahead=0)
