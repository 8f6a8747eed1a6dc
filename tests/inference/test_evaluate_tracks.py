import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import spcl
from spcl.cli.main import main
from spcl.data.catalogue import load_dataset
from spcl.data.source_options import SourceOptions
from spcl.inference.dataset_tracks import dataset_tracks, split_tracks_for_evaluation
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.inference.encoder import imagenet_encoder
from spcl.inference.evaluation_request import EvaluationOptions, EvaluationRequest
from spcl.records import Record, ReIDDataset
from spcl.retrieval.ranking import rank_metrics
from spcl.retrieval.track_features import track_features
from tests.fakes import draw
from tests.input_errors import input_error

ENCODING = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=0)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Tracks of three images of six objects by two cameras; camera 0 has the queries, one image has no track."""
    folder = tmp_path_factory.mktemp("tracks")
    rows = []
    for identity in range(6):
        for camera in range(2):
            for shot in range(3):
                path = draw(folder / f"{identity}_{camera}_{shot}.jpg", identity, 10 * camera + shot)
                split = "query" if camera == 0 else "gallery"
                rows.append([path.name, identity, camera, identity + 1, shot, split])
    path = draw(folder / "alone.jpg", 3, 77)
    rows.append([path.name, 3, 1, "", "", "gallery"])
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "identity", "camera", "track", "frame", "split"], *rows])
    with (folder / "unsplit.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "identity", "camera", "track", "frame"], *(row[:-1] for row in rows)])
    return folder / "all.csv"


@pytest.fixture(scope="module")
def encoder():
    return imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))


def test_tracks_are_queries_and_gallery(table):
    whole = dataset_tracks(load_dataset(str(table), labelled=True, options=SourceOptions()))
    assert (len(whole.dataset.query), len(whole.dataset.gallery), whole.num_images) == (6, 7, 37)
    assert np.bincount(whole.tracks).tolist() == [3] * 12 + [1]
    assert [record.path.name for record in whole.dataset.query[:2]] == ["0_0_1.jpg", "1_0_1.jpg"]
    assert "1 image(s) without a track" in whole.dataset.notes[-1]


def test_both_rankings_equal_those_of_the_definition(table, encoder):
    found = spcl.evaluate(encoder, table, options=EvaluationOptions(by="track", workers=0))
    dataset = load_dataset(str(table), labelled=True, options=SourceOptions())
    whole = dataset_tracks(dataset)
    features = encoder.embed([record.path for record in dataset.query + dataset.gallery])
    fused = track_features(features, whole.tracks).features
    records = whole.dataset.query + whole.dataset.gallery
    identities = np.array([record.identity for record in records])
    cameras = np.array([record.camera for record in records])
    labels = identities[:6], identities[6:], cameras[:6], cameras[6:]
    np.testing.assert_allclose(
        found.plain.mean_ap, rank_metrics(1 - fused[:6] @ fused[6:].T, *labels).mean_ap, atol=1e-6
    )
    best = np.array(
        [[(features[whole.tracks == q] @ features[whole.tracks == g].T).max() for g in range(6, 13)] for q in range(6)]
    )
    np.testing.assert_allclose(found.best_of.mean_ap, rank_metrics(1 - best, *labels).mean_ap, atol=1e-6)
    assert (found.num_queries, found.num_gallery, found.num_images) == (6, 7, 37)
    row = found.to_row()
    assert row["by"] == "track" and row["best_of"]["mAP"] == found.best_of.mean_ap
    assert "by" not in spcl.evaluate(encoder, table, options=EvaluationOptions(workers=0)).to_row()


def test_a_labelled_table_without_queries_is_split_by_whole_tracks(table):
    dataset = load_dataset(str(table.with_name("unsplit.csv")), labelled=True, options=SourceOptions())
    drawn = split_tracks_for_evaluation(dataset)
    queries, gallery = ({record.track for record in part} for part in (drawn.query, drawn.gallery))
    assert not queries & gallery - {None}
    assert len(drawn.query) + len(drawn.gallery) == 37
    assert {record.identity for record in drawn.gallery} == set(range(6))
    assert all(sum(record.track == track for record in drawn.query) in (1, 3) for track in queries)


def test_a_track_in_query_and_gallery_is_no_match_of_itself():
    def records(rows):
        return tuple(Record(path=p, identity=i, camera=None, track=t) for p, i, t in rows)

    from pathlib import Path

    query = records([(Path("/a"), 0, "1"), (Path("/b"), 0, "1")])
    gallery = records([(Path("/c"), 0, "1"), (Path("/d"), 0, "2")])
    whole = dataset_tracks(ReIDDataset("x", query=query, gallery=gallery, protocol="no-camera"))
    assert whole.dataset.query[0].path == whole.dataset.gallery[0].path != whole.dataset.gallery[1].path
    with input_error("identity-contradiction", "track 1"):
        dataset_tracks(ReIDDataset("x", query=(*query, replace(query[0], identity=1)), gallery=gallery))
    with input_error("no-tracks", "--by track"):
        dataset_tracks(ReIDDataset("x", query=(replace(query[0], track=None),), gallery=()))


def test_the_command(table, tmp_path, capsys):
    main(
        [
            *("evaluate", str(table), "--by", "track", "--arch", "timm/test_resnet", "--pretrained", "none"),
            *("--workers", "0", "--rerank", "--worst", "2", "--per-query", str(tmp_path / "q.csv")),
        ]
    )
    shown = capsys.readouterr().out
    assert "6 of 6 query tracks can match, 7 gallery tracks" in shown
    assert "mean: one feature for each track" in shown and "best-of: the two most similar" in shown
    assert len((tmp_path / "q.csv").read_text().splitlines()) == 7
    main(["evaluate", str(table), "--by", "track", "--arch", "timm/test_resnet", "--pretrained", "none", "--json"])
    assert json.loads(capsys.readouterr().out)["by"] == "track"


def test_images_that_cannot_be_read_do_not_count_in_their_track(table, tmp_path, encoder):
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in table.parent.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "2_1_0.jpg").write_bytes(b"broken")
    plain = spcl.evaluate_dataset(EvaluationRequest(table, by="track", num_hits=7, encoding=ENCODING))
    found = spcl.evaluate_dataset(
        EvaluationRequest(folder / "all.csv", by="track", num_hits=7, on_broken="skip", encoding=ENCODING)
    )
    assert [path.rpartition("/")[2] for path in found.figures.broken] == ["2_1_0.jpg"]
    similarity = {
        name: {hit.path.name: hit.similarity for hit in one.queries[2].hits}["2_1_1.jpg"]
        for name, one in (("plain", plain), ("found", found))
    }
    features = encoder.embed([table.parent / f"2_{rest}.jpg" for rest in ("0_0", "0_1", "0_2", "1_1", "1_2")])
    size = plain.image_size
    assert size == found.image_size
    other = imagenet_encoder("timm/test_resnet", pretrained="none", size=size)
    features = other.embed([table.parent / f"2_{rest}.jpg" for rest in ("0_0", "0_1", "0_2", "1_1", "1_2")])
    fused = track_features(features, np.array([0, 0, 0, 1, 1])).features
    assert similarity["found"] == pytest.approx(float(fused[0] @ fused[1]), abs=1e-5)


def test_lists_of_images_give_a_row_each(table, encoder):
    images = [table.parent / f"{identity}_0_{shot}.jpg" for identity in range(2) for shot in range(3)]
    features = encoder.embed(images)
    found = encoder.embed([images[:3], tuple(images[3:])])
    np.testing.assert_allclose(found, track_features(features, np.repeat([0, 1], 3)).features, atol=1e-6)
    np.testing.assert_allclose(encoder.embed([[images[0]]]), features[:1], atol=1e-6)
    arrays = [np.asarray(Image.open(image)) for image in images]
    np.testing.assert_allclose(encoder.embed([arrays[:2], arrays[2:]])[0], encoder.embed([images[:2]])[0], atol=1e-6)
    with input_error("no-images", "list 1"):
        encoder.embed([images, []])
    with input_error("mixed-images", "entry 1"):
        encoder.embed([images, images[0]])
