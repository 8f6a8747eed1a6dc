import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import spcl
from spcl.cli.main import main
from spcl.gallery.embed_images import EmbeddingRequest, embed_images
from spcl.gallery.identify_images import IdentificationRequest, identify_images
from spcl.gallery.images_to_rows import EmbeddedRows
from spcl.gallery.search_images import SearchRequest, search_images
from spcl.gallery.track_rows import TrackParts, ordered_by_track, qualities
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.inference.encoder import imagenet_encoder
from spcl.retrieval.track_features import track_features
from tests.fakes import draw
from tests.input_errors import input_error

ENCODING = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=0)
WORDS = ("--arch", "timm/test_resnet", "--pretrained", "none", "--workers", "0")
NUM = 24


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Gallery and queries: a track of three images of each object and camera; one gallery track has a wrong crop."""
    folder = tmp_path_factory.mktemp("tracks")
    for name, camera, num in (("gallery", 1, NUM), ("queries", 2, 3)):
        rows = []
        for identity in range(num):
            for shot in range(3):
                shows = 17 if (name, identity, shot) == ("gallery", 1, 2) else identity
                path = draw(folder / name / f"{identity:02d}_{shot}.jpg", shows, 10 * camera + shot)
                rows.append(
                    [f"{name}/{path.name}", f"who {identity}", camera, identity + 1, 5 * shot, 1.0 if shot else 0.5]
                )
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["path", "identity", "camera", "track", "frame", "quality"], *rows])
    draw(folder / "alone.jpg", 2, 99)
    return folder


def features_of(tables, name, size):
    encoder = imagenet_encoder("timm/test_resnet", pretrained="none", size=size)
    paths = sorted((tables / name).glob("*.jpg"))
    quality = np.tile([0.5, 1.0, 1.0], len(paths) // 3)
    return paths, track_features(encoder.embed(paths), np.repeat(np.arange(len(paths) // 3), 3), quality)


def test_a_features_file_has_a_row_for_each_track(tables, tmp_path):
    done = embed_images(
        EmbeddingRequest(tables / "gallery.csv", output=tmp_path / "f.parquet", by="track", encoding=ENCODING)
    )
    assert (done.num_images, done.num_tracks) == (3 * NUM, NUM)
    assert done.to_dict()["num_tracks"] == NUM and "24 tracks of 72 images" in done.notes[-1]
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.column("num_images").to_pylist() == [3] * NUM
    assert table.column("track").to_pylist() == [str(number) for number in range(1, NUM + 1)]
    np.testing.assert_allclose(np.linalg.norm(table.column("vector").to_pylist(), axis=1), 1, atol=1e-5)
    paths = sorted((tables / "gallery").glob("*.jpg"))
    assert {path.rpartition("/")[2] for path in table.column("path").to_pylist()} <= {path.name for path in paths}
    # The wrong crop of the second track is not its best image.
    assert not table.column("path").to_pylist()[1].endswith("01_2.jpg")


def test_rows_of_tracks_do_not_depend_on_the_parts(tables):
    from spcl.gallery.images_to_rows import find_images

    found = ordered_by_track(find_images(tables / "gallery.csv"))
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(found.records), 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    whole = None
    for size in (1, 4, 7, 100):
        parts, rows = TrackParts(), []
        for at in range(0, len(features), size):
            rows.append(parts.take(EmbeddedRows(found.table.slice(at, size), features[at : at + size], ())))
        rows.append(parts.rest())
        rows = [one for one in rows if one is not None]
        joined = np.concatenate([one.features for one in rows])
        assert sum(len(one.table) for one in rows) == NUM
        whole = joined if whole is None else whole
        np.testing.assert_allclose(joined, whole, atol=1e-6)


def test_a_gallery_holds_images_and_is_searched_by_track(tables, tmp_path):
    embed_images(EmbeddingRequest(tables / "gallery.csv", gallery=tmp_path / "g", by="track", encoding=ENCODING))
    gallery = spcl.Gallery.open(tmp_path / "g")
    assert len(gallery) == 3 * NUM
    assert gallery.columns["track"] == "text"
    found = search_images(SearchRequest(tmp_path / "g", tables / "queries.csv", top=4, by="track"))
    assert [track.track for track in found.tracks] == ["2/1", "2/2", "2/3"]
    assert (found.num_tracks, found.num_images, [track.num_images for track in found.tracks]) == (NUM, 72, [3, 3, 3])
    _, of_gallery = features_of(tables, "gallery", found.image_size)
    _, of_queries = features_of(tables, "queries", found.image_size)
    similarities = of_queries.features @ of_gallery.features.T
    for row, hits in enumerate(found.hits):
        order = np.argsort(-similarities[row], kind="stable")[:4]
        assert [int(hit.columns["track"]) - 1 for hit in hits] == order.tolist()
        np.testing.assert_allclose([hit.similarity for hit in hits], similarities[row, order], atol=1e-5)
        assert all(
            hit.columns["num_images"] == 3 and hit.identity == f"who {int(hit.columns['track']) - 1}" for hit in hits
        )
    assert all(one.path.endswith(f"{int(one.columns['track']) - 1:02d}_{one.path[-5]}.jpg") for one in found.hits[0])
    table = found.to_table()
    assert table.column("track").to_pylist()[:4] == ["2/1"] * 4
    assert table.column("found_num_images").to_pylist()[0] == 3
    by_image = search_images(SearchRequest(tmp_path / "g", tables / "queries.csv", top=4))
    assert len(by_image.queries) == 9 and not by_image.tracks and "track" not in by_image.to_table().column_names


def test_a_query_track_does_not_find_itself_and_filters_count(tables):
    found = search_images(
        SearchRequest(tables / "gallery.csv", tables / "gallery.csv", top=2, by="track", rerank=True, encoding=ENCODING)
    )
    for number, hits in enumerate(found.hits, start=1):
        assert str(number) not in [hit.columns["track"] for hit in hits]
        assert len(hits) == 2 and all(hit.distance is not None for hit in hits)
    nothing = search_images(
        SearchRequest(
            tables / "gallery.csv", tables / "queries.csv", where="frame = 5", top=1, by="track", encoding=ENCODING
        )
    )
    assert [hit.columns["num_images"] for hits in nothing.hits for hit in hits] == [1, 1, 1]


def test_one_name_for_a_track(tables):
    request = IdentificationRequest(tables / "gallery.csv", tables / "queries.csv", by="track", encoding=ENCODING)
    named = identify_images(request)
    assert (len(named.answers), named.num_identities, named.basis) == (3, NUM, "gallery")
    assert [track.track for track in named.tracks] == ["2/1", "2/2", "2/3"]
    assert named.to_table().column("track").to_pylist() == ["2/1", "2/2", "2/3"]
    assert [answer.nearest for answer in named.answers] == ["who 0", "who 1", "who 2"]
    assert all(hit.identity == answer.nearest for hit, answer in zip(named.nearest, named.answers, strict=True))
    assert named.to_dict()["queries"][0]["track"] == "2/1" and not named.warnings


def test_images_without_tracks_are_refused_or_named(tables, tmp_path):
    with input_error("no-tracks", "queries", "--by track"):
        search_images(SearchRequest(tables / "gallery.csv", tables / "alone.jpg", by="track", encoding=ENCODING))
    with input_error("no-tracks", "gallery"):
        search_images(SearchRequest(tables / "gallery", tables / "queries.csv", by="track", encoding=ENCODING))
    with input_error("no-tracks"):
        embed_images(EmbeddingRequest(tables / "gallery", output=tmp_path / "f.parquet", by="track", encoding=ENCODING))
    assert not (tmp_path / "f.parquet").exists()
    (tmp_path / "t.csv").write_text(
        f"path,track,identity\n{tables}/alone.jpg,1,a\n{tables}/gallery/00_0.jpg,1,b\n{tables}/gallery/00_1.jpg,,c\n"
    )
    with input_error("identity-contradiction", "'a'", "'b'"):
        embed_images(EmbeddingRequest(tmp_path / "t.csv", output=tmp_path / "f.parquet", by="track", encoding=ENCODING))
    rows = [row.split(",")[:2] for row in (tables / "gallery.csv").read_text().splitlines()[1:]]
    (tmp_path / "u.csv").write_text("\n".join(["path,identity", *(f"{tables}/{path},{who}" for path, who in rows)]))
    request = IdentificationRequest(tmp_path / "u.csv", tables / "queries.csv", by="track", encoding=ENCODING)
    assert "threshold is that of single images" in identify_images(request).warnings[0]


def test_quality_of_other_kinds_counts_as_unknown():
    assert qualities([0.5, None, "x", 0, -1, float("inf"), 2, True], 8).tolist() == [0.5, 1, 1, 1, 1, 1, 2, 1]
    assert qualities(None, 2).tolist() == [1, 1]


def test_the_commands(tables, tmp_path, capsys):
    gallery, queries = str(tables / "gallery.csv"), str(tables / "queries.csv")
    main(
        ["embed", gallery, "-o", str(tmp_path / "f.parquet"), "--gallery", str(tmp_path / "g"), "--by", "track", *WORDS]
    )
    shown = capsys.readouterr().out
    assert "24 tracks of 72 images, features" in shown
    main(["search", str(tmp_path / "g"), queries, "--by", "track", "--top", "2", "--workers", "0"])
    shown = capsys.readouterr().out
    assert "query track 2/1 (3 image(s))" in shown and "searched in 24 tracks of 72 images" in shown
    main(["search", str(tmp_path / "f.parquet"), queries, "--by", "track", "--top", "1", "--json", "--workers", "0"])
    plain = json.loads(capsys.readouterr().out)
    assert [query["track"] for query in plain["queries"]] == ["2/1", "2/2", "2/3"]
    assert plain["queries"][0]["hits"][0]["track"] == "1"
    main(
        ["identify", str(tmp_path / "g"), queries, "--by", "track", "-o", str(tmp_path / "names.csv"), "--workers", "0"]
    )
    assert "track 2/1 (3 image(s))" in capsys.readouterr().out
    assert (tmp_path / "names.csv").read_text().startswith("path,track,identity")
