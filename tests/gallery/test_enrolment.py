"""The enrolled identities that a gallery keeps: never those of another state of its table, whatever happens."""

from __future__ import annotations

import json
import sys
from dataclasses import fields

import numpy as np
import pytest

from spcl.gallery import begun_enrolment
from spcl.gallery import gallery as gallery_module
from spcl.gallery.columns import described
from spcl.gallery.gallery import Gallery
from spcl.verification.identification import Enrolled
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error

NUM = 60


def features():
    """Two nearly equal images of each of thirty identities."""
    rows = np.repeat(unit_rows(NUM // 2), 2, axis=0) + 0.05 * unit_rows(NUM, seed=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def gallery(tmp_path):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    gallery.add_features(features(), names(NUM), identities=[f"cow {number // 2}" for number in range(NUM)])
    return gallery


@pytest.fixture
def passes(monkeypatch):
    """A list that grows with every pass over the vectors."""
    made = []
    original = begun_enrolment.enrol
    monkeypatch.setattr(begun_enrolment, "enrol", lambda *given: made.append(1) or original(*given))
    return made


def equal(one, other):
    return one.identities == other.identities and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Enrolled)
        if field.name not in ("identities", "pairs")
    )


def expected(gallery):
    parts = list(gallery.read(("identity",), "identity is not null"))
    identities = [name for part in parts for name in part.columns["identity"]]
    return Enrolled.from_features(np.concatenate([part.features for part in parts]), identities)


def test_they_are_computed_once(gallery, passes):
    first = gallery.enrolled()
    assert equal(first, expected(gallery))
    for again in (gallery, Gallery.open(gallery.path)):
        assert equal(again.enrolled(), first)
    assert len(passes) == 1
    # A filter's are computed each time, and take the place of nothing.
    assert gallery.enrolled("identity != 'cow 3'").identities == tuple(f"cow {n}" for n in range(30) if n != 3)
    assert equal(gallery.enrolled(), first)
    assert len(passes) == 2
    assert [answer.identity for answer in gallery.identify(features()[:2], 0.5)] == ["cow 0", "cow 0"]


def test_every_write_is_seen(gallery, passes):
    writes = [
        lambda: gallery.add_features(unit_rows(1, seed=1), ["new"], identities=["calf"]),
        lambda: gallery.add_features(unit_rows(1, seed=2), ["new"]),
        lambda: gallery.remove(where="identity = 'cow 3'"),
        lambda: gallery.clear(["identity"], "identity = 'cow 4'"),
        lambda: gallery.add_features(unit_rows(1), names(1), identities=["cow 7"]),
        lambda: gallery.add_columns(described(["new"], columns={"lane": ["left"]})),
    ]
    for number, write in enumerate(writes, start=1):
        gallery.enrolled()
        write()
        for opened in (gallery, Gallery.open(gallery.path)):
            assert equal(opened.enrolled(), expected(gallery)), number
        assert len(passes) <= number + 1


def test_the_end_of_a_write_prepares_them_where_that_is_quick(gallery, passes, monkeypatch):
    gallery.tidy()
    assert len(passes) == 1
    gallery.enrolled()
    assert len(passes) == 1
    monkeypatch.setattr(gallery_module, "_MOST_VALUES_ENROLLED_AT_ONCE", NUM * 8 - 1)
    gallery.add_features(unit_rows(1), ["a"])
    gallery.tidy()
    assert len(passes) == 1


def test_a_write_while_they_are_computed_makes_them_old(gallery, monkeypatch):
    original = begun_enrolment.enrol

    def overtaken(*given):
        found = original(*given)
        Gallery.open(gallery.path).add_features(unit_rows(1), ["late"], identities=["late"])
        return found

    with monkeypatch.context() as patch:
        patch.setattr(begun_enrolment, "enrol", overtaken)
        assert "late" not in gallery.enrolled().identities
    assert "late" in gallery.enrolled().identities


def test_a_damaged_file_is_computed_anew(gallery, passes):
    gallery.enrolled()
    file = gallery.path / "enrolled.npz"
    whole = file.read_bytes()
    middle = len(whole) // 2
    arrays = dict(np.load(file))
    about = json.loads(arrays["about"].tobytes())

    def saved(**changed):
        with file.open("wb") as opened:
            np.savez(opened, **{**arrays, **changed})

    damages = [
        lambda: file.write_bytes(b""),
        lambda: file.write_bytes(whole[:middle]),
        lambda: file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]),
        lambda: file.write_bytes(b"x" * 100),
        lambda: saved(means=arrays["means"][1:]),
        lambda: saved(impostor=arrays["impostor"][1:]),
        lambda: saved(about=np.frombuffer(json.dumps({**about, "layout": 0}).encode(), np.uint8)),
        lambda: saved(about=np.frombuffer(b"[]", np.uint8)),
        lambda: saved(identities=np.frombuffer(b"5", np.uint8)),
    ]
    for number, damage in enumerate(damages, start=1):
        damage()
        opened = Gallery.open(gallery.path)
        assert equal(opened.enrolled(), expected(gallery)), number
    # Where nothing can be written they are computed all the same.
    file.unlink()
    file.mkdir()
    assert equal(gallery.enrolled(), expected(gallery))


def test_without_identities(gallery):
    gallery.clear(["identity"], "path is not null")
    with input_error("no-identities"):
        gallery.enrolled()


def test_naming_from_what_is_kept_reads_no_table(gallery, monkeypatch):
    """Neither LanceDB nor the table is needed: its import alone takes longer than naming."""
    gallery.enrolled()

    def connected(folder):
        raise AssertionError("the table is opened")

    monkeypatch.setattr("spcl.gallery.store.connected", connected)
    opened = Gallery.open(gallery.path)
    assert (opened.fingerprint, opened.dim, opened.flip, opened.key) == ("x", 8, False, "path")
    assert opened.identify(features()[4:5], 0.5)[0].identity == "cow 2"
    monkeypatch.setitem(sys.modules, "lancedb", None)
    assert opened.identify(features()[6:7], 0.5)[0].identity == "cow 3"
