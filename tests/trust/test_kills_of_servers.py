"""Servers that are killed while clients write: what was answered is there; what was not is whole, or absent."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import spcl
from spcl.gallery.gallery import Gallery
from tests.trust.clients import address_in, correct, enrol, send_until_gone
from tests.trust.jobs import NETWORK, write_inputs
from tests.trust.killed import zygote  # noqa: F401
from tests.trust.normal_form import temporary_in
from tests.trust.tally import record, tries
from tests.trust.zygote import Zygote, output_file

pytestmark = pytest.mark.trust

SERVE = "serve c.pth.tar g --port 0 --json --threads 1 --device cpu --engine torch"
REVIEW = "review out --no-browser --json"
MOST_REQUESTS = 12


@pytest.fixture(scope="module")
def template(zygote: Zygote, tmp_path_factory) -> Path:  # noqa: F811
    """A gallery to serve and groups to review."""
    folder = tmp_path_factory.mktemp("servers") / "template"
    folder.mkdir()
    write_inputs(folder)
    grouping = f"cluster crops -o out {NETWORK} --workers 0 --k1 6 --k2 2 --eps 0.6"
    for words in ("embed c.pth.tar labelled.csv --gallery g --workers 0", grouping):
        ended = zygote.run(words.split(), folder, listed=False)
        assert ended.code == 0, ended.output
    return folder


@contextmanager
def killed_server(
    zygote: Zygote,  # noqa: F811
    words: str,
    folder: Path,
    send: Callable[[str, int], None],
    when: dict[str, float],
) -> Iterator[tuple[int, int]]:
    """Kill a server while requests are sent; how many were sent, how many answered; nothing if it was not killed."""
    output_file(folder).unlink(missing_ok=True)
    zygote.begin(words.split(), folder, limit=300.0, **when)
    address = address_in(output_file(folder))
    assert address is not None, output_file(folder).read_text()
    sent = send_until_gone(lambda number: send(address, number), MOST_REQUESTS * 10)
    assert zygote.end().followed.killed
    yield sent


@pytest.mark.parametrize("kind", ["serve", "review"])
def test_what_was_answered_is_there(kind: str, zygote: Zygote, template: Path):  # noqa: F811
    drawn, faults, kills = random.Random(3), [], 0
    words, send, check = (SERVE, enrol, check_gallery) if kind == "serve" else (REVIEW, correct, check_groups)
    work = template.with_name("work")
    num_tries, num_answered = tries(200, 4), 0
    for _ in range(num_tries):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
        # The first changes are those of the start; each request makes some ten.
        with killed_server(zygote, words, work, send, {"kill_before": drawn.randrange(2, 12 * MOST_REQUESTS)}) as sent:
            kills += 1
            num_answered += sent[1]
            faults += check(work, *sent)
    name = "clients enrol at spcl serve" if kind == "serve" else "clients correct at spcl review"
    record("Kills", name, kills, kills - len(faults), f"{num_answered:,} answered writes")
    assert not faults, "\n".join(faults[:10])


def check_gallery(folder: Path, sent: int, answered: int) -> list[str]:
    """What is wrong with a gallery; then rows are added."""
    gallery = Gallery.open(folder / "g")
    names = [name for part in gallery.read() for name in part.columns["identity"]]
    lost = {f"p{number}" for number in range(answered)} - set(names)
    wrong = [f"lost {sorted(lost)}"] if lost else []
    if len(names) != len(set(names) - set("012")) + 12 or len(names) > 12 + sent:
        wrong.append(f"{len(names)} rows after {sent} writes: {names}")
    dim = gallery.dim
    gallery.add_features(np.eye(1, dim, dtype=np.float32), ["after.png"])
    if len(gallery) != len(names) + 1:
        wrong.append("no row can be added")
    return wrong


def check_groups(folder: Path, sent: int, answered: int) -> list[str]:
    """What is wrong with corrected groups; then a correction is made, after which no temporary file is left."""
    before = spcl.read_groups(folder / "out")
    num = len(before.log.corrections)
    wrong = [] if answered <= num <= sent else [f"{num} corrections of {answered} answered and {sent} sent"]
    if num and before.table.names.get(0) != f"n{num - 1}":
        wrong.append(f"group 0 is named {before.table.names.get(0)} after {num} corrections")
    spcl.correct(folder / "out", "name", ["0", "last"])
    after = spcl.read_groups(folder / "out")
    if after.table.names.get(0) != "last" or len(after.log.corrections) != num + 1:
        wrong.append("the groups cannot be corrected")
    if left := temporary_in(folder / "out"):
        wrong.append(f"left: {left}")
    return wrong
