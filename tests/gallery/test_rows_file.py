import pytest

from spcl.gallery import rows_file
from spcl.gallery.gallery import Gallery
from spcl.gallery.snapshot import Snapshot
from tests.gallery.features import unit_rows
from tests.input_errors import input_error

NAMES = [f"/images/{number}.jpg" for number in range(40)]


@pytest.fixture
def features():
    return unit_rows(40)


@pytest.fixture
def gallery(tmp_path, features):
    made = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    made.add_features(features, NAMES, identities=[n // 10 for n in range(40)], cameras=[n % 2 for n in range(40)])
    made.tidy()
    return made


def found(gallery, queries, **options):
    result = gallery.search(queries, k=5, **options)
    return [[(hit.path, hit.identity, hit.camera, hit.similarity) for hit in hits] for hits in result]


def test_the_copy_answers_as_the_table_does(gallery, features, monkeypatch):
    searches = [{}, {"rerank": True}, {"without": NAMES[:6]}]
    assert gallery.cameras() == ["0", "1"]
    by_copy = [found(gallery, features[:6], **options) for options in searches]
    assert rows_file.read_copy(gallery.path) is not None
    (gallery.path / "rows.arrow").unlink()
    fresh = Gallery.open(gallery.path)
    used = []
    original = Snapshot.scan
    monkeypatch.setattr(Snapshot, "scan", lambda self, *args, **named: used.append(1) or original(self, *args, **named))
    assert [found(fresh, features[:6], **options) for options in searches] == by_copy
    assert used


def test_every_write_is_seen(gallery, features):
    assert found(gallery, features[:1])[0][0][0] == NAMES[0]
    gallery.remove(paths=[NAMES[0]])
    assert rows_file.read_copy(gallery.path) is None
    assert len(gallery) == 39
    assert found(gallery, features[:1])[0][0][0] != NAMES[0]
    gallery.add_features(features[:1], ["/images/new.jpg"])
    assert found(gallery, features[:1])[0][0][0] == "/images/new.jpg"
    gallery.tidy()
    assert rows_file.read_copy(gallery.path) is not None
    assert found(gallery, features[:1])[0][0][0] == "/images/new.jpg"


def test_a_damaged_copy_is_not_used_and_a_large_gallery_has_none(gallery, features, monkeypatch):
    file = gallery.path / "rows.arrow"
    file.write_bytes(file.read_bytes()[:200])
    fresh = Gallery.open(gallery.path)
    assert found(fresh, features[:1])[0][0][0] == NAMES[0]
    monkeypatch.setattr(rows_file, "MOST_VALUES", 39 * 8)
    gallery.tidy()
    assert not file.exists()


def test_counts_and_cameras_follow_the_writes(gallery, features):
    gallery.clear(["identity"], "path is not null")
    gallery.tidy()
    with input_error("no-identities"):
        gallery.enrolled()
    assert (gallery.cameras(), gallery.count("identity is not null")) == (["0", "1"], 0)
    gallery.add_features(features, NAMES, identities=[n // 10 for n in range(40)])
    gallery.add_features(features[:1], ["/images/new.jpg"], cameras=[7])
    gallery.tidy()
    assert gallery.cameras() == ["0", "1", "7"]
    assert gallery.count("identity is not null") == 40
    assert gallery.enrolled().identities == ("0", "1", "2", "3")
