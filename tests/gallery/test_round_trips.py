"""Every table that is written here is read by every command that takes images, wherever the table is copied to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_sources import images_of
from spcl.gallery.answer_tables import identification_table, search_table, write_answers
from spcl.gallery.features_file import features_writer, paths_file
from spcl.gallery.images_to_rows import find_images
from spcl.gallery.result import Hit, SearchResult
from spcl.grouping.groups import cluster
from spcl.grouping.groups_folder import write_groups
from spcl.inference.per_query import QueryHit, QueryResult, write_query_table
from spcl.records import Record
from spcl.verification.identification import Identification
from tests.fakes import draw
from tests.gallery.features import unit_rows

NAMES = ("sub é/0.jpg", "sub é/1, one.jpg", "sub é/2;x.jpg", "sub é/3 .jpg", "sub é/'4'.jpg", "5.jpg")
OBJECTS = ("a", "a", "a", "b", "b", None)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "my crops"
    return tuple(draw(folder / name, at) for at, name in enumerate(NAMES))


def groups_csv(folder, paths):
    groups = cluster(unit_rows(3)[[0, 0, 0, 1, 1, 2]], eps=0.5, k1=3, k2=1, min_samples=2)
    write_groups(folder, [Record(Path(path)) for path in paths], groups)
    return folder / "groups.csv", {"0": "a", "1": "b"}


def broken_csv(folder, paths):
    groups = cluster(unit_rows(2), eps=0.5, k1=2, k2=1, min_samples=2)
    records = [Record(Path(path)) for path in paths[:2]]
    write_groups(folder, records, groups, broken=[(Path(path), "it is cut off, at byte 7") for path in paths])
    return folder / "broken.csv", None


def features_parquet(folder, paths):
    known = {"identity": OBJECTS, "time": ["2026-03-01 12:00"] * 6, "lane": list(range(6))}
    table = find_images(paths, columns=known).table
    with features_writer(folder / "features.parquet", 4, {"fingerprint": "x"}) as writer:
        writer.write(table, unit_rows(6, dim=4))
    return folder / "features.parquet", {"a": "a", "b": "b"}


def paths_of_a_matrix(folder, paths):
    with features_writer(folder / "features.npy", 4, {}) as writer:
        writer.write(find_images(paths).table, unit_rows(6, dim=4))
    return paths_file(folder / "features.npy"), None


def _answers(folder, paths, name, **options):
    answers = [Identification(name, 0.9, 0.8, name or "a", None, None) for name in OBJECTS]
    write_answers(folder / name, identification_table(answers, paths, [Hit(str(paths[0]), 0.9)] * 6), **options)
    return folder / name, {"a": "a", "b": "b"}


def identify_csv(folder, paths):
    return _answers(folder, paths, "names.csv")


def identify_csv_for_spreadsheets(folder, paths):
    return _answers(folder, paths, "names.csv", excel=True)


def identify_parquet(folder, paths):
    return _answers(folder, paths, "names.parquet")


def search_csv(folder, paths):
    hits = tuple((Hit(str(path), 0.9, "x", "3"), Hit(str(paths[0]), 0.8, "y")) for path in paths)
    write_answers(folder / "found.csv", search_table(SearchResult(hits, "exact", 1.0), paths))
    return folder / "found.csv", None


def query_table(folder, paths):
    results = [
        QueryResult(Path(path), who, None, 0.5, 1, 2, None, None, (QueryHit(Path(path), 0.9, who, None, True),))
        for path, who in zip(paths, OBJECTS, strict=True)
    ]
    return write_query_table(folder / "queries.csv", results), {"a": "a", "b": "b"}


WRITERS = (
    groups_csv,
    broken_csv,
    features_parquet,
    paths_of_a_matrix,
    identify_csv,
    identify_csv_for_spreadsheets,
    identify_parquet,
    search_csv,
    query_table,
)


def embedding(table):
    found = find_images(table).table
    return found.column("path").to_pylist(), found.column("identity").to_pylist()


def grouping(table):
    return [record.path for record in images_of(table).records], None


def calibrating(table):
    records = images_of(table, labelled=True).records
    return [record.path for record in records], [record.identity for record in records]


def training(table):
    records = load_dataset(table).train
    return [record.path for record in records], [record.identity for record in records]


def training_by_prefix(table):
    copied = table.rename(table.with_name(f"mine_train{table.suffix}"))
    return training(copied.parent / "mine" if copied.suffix != ".txt" else copied)


def training_by_split(table):
    return training(f"train={table}")


def evaluating(table):
    dataset = split_for_evaluation(load_dataset(table, labelled=True))
    records = sorted(dataset.query + dataset.gallery, key=lambda record: record.path)
    return [record.path for record in records], [record.identity for record in records]


READERS = (embedding, grouping, calibrating, training, training_by_prefix, training_by_split, evaluating)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_table_that_is_written_is_read(tmp_path, monkeypatch, crops, writer, reader):
    monkeypatch.chdir(crops[-1].parent.parent)
    (tmp_path / "out").mkdir()
    written, names = writer(tmp_path / "out", [path.relative_to(Path.cwd()) for path in crops])
    # Copied elsewhere, and read from elsewhere.
    moved = tmp_path / written.name
    written.rename(moved)
    monkeypatch.chdir(tmp_path / "out")
    if reader is evaluating and names is None:
        return
    paths, identities = reader(moved)
    known = {path for path, who in zip(crops, OBJECTS, strict=True) if who is not None or reader is not evaluating}
    assert {Path(path) for path in paths} == known
    if names is None or identities is None:
        assert identities is None or set(identities) == {None}
        return
    of = dict(zip(map(Path, paths), identities, strict=True))
    objects = [of.get(path) for path in crops]
    assert objects[0] == objects[1] == objects[2] != objects[3] == objects[4] and None not in objects[:5]
    assert objects[5] is None
    if reader is embedding:
        assert [names[who] for who in objects[:5]] == list(OBJECTS[:5])


def test_what_is_known_of_images_comes_back_from_a_features_file(tmp_path, crops):
    written, _ = features_parquet(tmp_path, list(crops))
    columns = images_of(written).columns
    assert np.array_equal(columns["lane"], range(6)) and columns["time"][0].isoformat() == "2026-03-01T12:00:00"
    assert columns["identity"] == list(OBJECTS)
