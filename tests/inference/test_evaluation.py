"""Extraction and evaluation: whatever the batches, each image once, the protocol and its draws."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import spcl
from spcl.data.image_store import ImageStore
from spcl.data.repeated_images import each_image_once
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.inference.encoder import Encoder as Embedder
from spcl.inference.evaluation import RankingSettings, evaluate_encoder, evaluation_lines
from spcl.inference.extraction import extract_features, extract_in_parts
from spcl.inference.query_checks import check_queries
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import SilentReporter
from spcl.retrieval.ranking import rank_metrics
from spcl.runtime import Runtime
from tests.fakes import draw, write_fake
from tests.input_errors import input_error


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    settings = EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=("source", "target"))
    return EncoderNetwork(settings)


def store_of(records):
    return ImageStore(records, size=(32, 16), num_threads=2)


def test_features_do_not_depend_on_the_batches(encoder, tmp_path):
    write_fake("market1501", tmp_path)
    records = spcl.load_dataset("market1501", tmp_path).train
    encoder.train()
    whole = extract_features(encoder, store_of(records), Runtime("cpu"))
    calls = []
    parts = extract_features(
        encoder, store_of(records), Runtime("cpu"), batch_size=4, progress=lambda *at: calls.append(at)
    )
    torch.testing.assert_close(whole, parts)
    assert calls[-1] == (len(records), len(records))
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(len(records)))
    assert encoder.training
    assert encoder.evaluation_domain == "target"
    assert extract_features(encoder, store_of(()), Runtime("cpu")).shape == (0, encoder.feature_dim)


def test_figures_are_those_of_the_features(encoder, tmp_path):
    write_fake("market1501", tmp_path)
    dataset = spcl.load_dataset("market1501", tmp_path)
    result = evaluate_encoder(
        encoder, dataset, store_of, Runtime("cpu"), SilentReporter(), RankingSettings(rerank=True)
    )
    features = [
        extract_features(encoder, store_of(part), Runtime("cpu")).numpy() for part in (dataset.query, dataset.gallery)
    ]
    labels = [
        np.array([getattr(record, name) for record in part])
        for name in ("identity", "camera")
        for part in (dataset.query, dataset.gallery)
    ]
    assert result.plain.mean_ap == pytest.approx(rank_metrics(1 - features[0] @ features[1].T, *labels).mean_ap)
    reranked = rank_metrics(spcl.rerank(*features), *labels)
    assert result.reranked.mean_ap == pytest.approx(reranked.mean_ap)
    lines = evaluation_lines(result, "x")
    assert lines[0] == "x: protocol market1501, 9 of 9 queries can match, 11 gallery images"
    assert "after re-ranking" in lines[2]


def test_the_first_hits_of_each_query_are_rows_of_the_gallery(encoder, tmp_path):
    write_fake("market1501", tmp_path)
    dataset = spcl.load_dataset("market1501", tmp_path)
    result = evaluate_encoder(encoder, dataset, store_of, Runtime("cpu"), SilentReporter(), RankingSettings(num_hits=3))
    query, gallery = (
        extract_features(encoder, store_of(part), Runtime("cpu")).numpy() for part in (dataset.query, dataset.gallery)
    )
    assert result.hits.rows.shape == (9, 3)
    for number, (rows, similarities) in enumerate(zip(result.hits.rows, result.hits.similarities, strict=True)):
        counted = [
            row
            for row in np.argsort(-(query[number] @ gallery.T), kind="stable")
            if (dataset.gallery[row].identity, dataset.gallery[row].camera)
            != (dataset.query[number].identity, dataset.query[number].camera)
        ]
        assert rows.tolist() == counted[:3]
        np.testing.assert_allclose(similarities, query[number] @ gallery[rows].T, atol=1e-6)
        identities = np.array([dataset.gallery[row].identity for row in counted])
        right = np.flatnonzero(identities == dataset.query[number].identity)
        assert result.plain.first_match[number] == right[0] + 1
        assert result.plain.num_matches[number] == len(right)
    write_fake("vehicleid", tmp_path)
    drawn = spcl.load_dataset("vehicleid", tmp_path)
    assert (
        evaluate_encoder(encoder, drawn, store_of, Runtime("cpu"), SilentReporter(), RankingSettings(num_hits=3)).hits
        is None
    )


def test_mirror_images_are_averaged_where_that_is_asked_for(encoder, tmp_path):
    records = []
    for number in range(24):
        # Noise: no match is certain, and no image is its own mirror image.
        pixels = np.random.default_rng(number).integers(0, 256, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        records.append(spcl.Record(tmp_path / f"{number}.png", identity=number % 4, camera=number // 12))
    dataset = ReIDDataset("noise", query=tuple(records[:12]), gallery=tuple(records[12:]))
    plain, flipped = (
        evaluate_encoder(encoder, dataset, store_of, Runtime("cpu"), SilentReporter(), RankingSettings(flip=flip))
        for flip in (False, True)
    )
    records = dataset.query + dataset.gallery
    features = extract_features(encoder, store_of(records), Runtime("cpu"), flip=True).numpy()
    rows, columns = features[: len(dataset.query)], features[len(dataset.query) :]
    labels = [
        np.array([getattr(record, name) for record in part])
        for name in ("identity", "camera")
        for part in (dataset.query, dataset.gallery)
    ]
    assert flipped.plain.mean_ap == pytest.approx(rank_metrics(1 - rows @ columns.T, *labels).mean_ap)
    assert not np.array_equal(flipped.plain.per_query_ap, plain.plain.per_query_ap)


def test_features_in_parts_are_those_of_the_whole(encoder, tmp_path):
    write_fake("market1501", tmp_path)
    records = spcl.load_dataset("market1501", tmp_path).train
    whole = extract_features(encoder, store_of(records), Runtime("cpu"))
    calls = []
    parts = list(
        extract_in_parts(encoder, store_of(records), Runtime("cpu"), part=7, progress=lambda *at: calls.append(at))
    )
    assert [len(rows) for rows, _ in parts[:-1]] == [7] * (len(parts) - 1)
    assert [row for rows, _ in parts for row in rows] == list(range(len(records)))
    torch.testing.assert_close(torch.cat([features for _, features in parts]), whole)
    assert calls[-1] == (len(records), len(records))
    assert calls == sorted(calls)


def test_images_that_cannot_be_read_are_reported_and_counted(encoder, tmp_path):
    write_fake("market1501", tmp_path)
    dataset = spcl.load_dataset("market1501", tmp_path)
    lost = [dataset.query[0].path, *(record.path for record in dataset.gallery[:6])]
    for path in lost:
        path.write_bytes(b"no image")
    report = SilentReporter()

    def greys(records):
        return ImageStore(records, size=(32, 16), on_broken="skip", num_threads=2)

    result = evaluate_encoder(encoder, dataset, greys, Runtime("cpu"), report)
    assert result.broken == tuple(str(path) for path in lost)
    assert result.to_row()["broken"] == 7
    (warning,) = report.warnings
    assert warning.startswith(f"7 image(s) could not be read and are ranked as grey: {lost[0]}; {lost[1]}; ")
    assert warning.endswith(f"{lost[4]} ...")


@pytest.mark.parametrize("size", [0, -1])
def test_no_images_at_a_time_are_refused(encoder, size):
    with input_error("setting-out-of-range", f"batch_size is {size}"):
        extract_features(encoder, store_of(()), Runtime("cpu"), batch_size=size)
    with input_error("setting-out-of-range", f"batch_size is {size}"):
        Embedder(encoder, "target").embed([np.zeros((4, 4, 3), np.uint8)], batch_size=size)


def test_vehicleid_is_averaged_over_ten_draws(encoder, tmp_path):
    write_fake("vehicleid", tmp_path)
    dataset = spcl.load_dataset("vehicleid", tmp_path)
    result = evaluate_encoder(encoder, dataset, store_of, Runtime("cpu"), SilentReporter())
    assert result.plain.protocol == "vehicleid"
    assert np.isnan(result.plain.per_query_ap).all()
    assert "mean of 10 draws" in evaluation_lines(result, "vehicleid")[0]


def test_embedding_images_of_every_kind(encoder, tmp_path):
    paths = [draw(tmp_path / f"{number}.png", number, size=(20, 50)) for number in range(3)]
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    embedder = spcl.load_encoder(tmp_path / "c.pth.tar")
    features = embedder.embed(paths, batch_size=2)
    assert features.shape == (3, embedder.feature_dim)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    records = [spcl.Record(path) for path in paths]
    np.testing.assert_allclose(features, extract_features(encoder, store_of(records), Runtime("cpu")), atol=1e-5)
    mixed = [str(paths[0]), Image.open(paths[1]), np.asarray(Image.open(paths[2]))]
    np.testing.assert_allclose(embedder.embed(mixed), features, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(tmp_path), features, atol=1e-5)
    np.testing.assert_allclose(embedder.embed(mixed[1]), features[1:2], atol=1e-5)
    assert embedder.embed([]).shape == (0, embedder.feature_dim)


@pytest.mark.parametrize(
    ("image", "code", "named"),
    [
        (Path("nowhere.jpg"), "unreadable-image", "nowhere.jpg"),
        (np.zeros((4, 4, 3)), "not-an-image", "float64 of shape [4, 4, 3]"),
    ],
)
def test_what_cannot_be_embedded_is_named(encoder, tmp_path, image, code, named):
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    with input_error(code, named):
        spcl.load_encoder(tmp_path / "c.pth.tar").embed([image])


def test_batches_fit_the_memory_and_never_change_what_is_found(encoder, monkeypatch):
    embedder = Embedder(encoder, "target")
    embedder.size = (256, 128)
    assert embedder.batch_size() == 64
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1e9))
    assert embedder.batch_size() == 8
    embedder.size = (32, 16)
    assert embedder.batch_size() == 256
    images = list(np.random.default_rng(0).integers(0, 256, (9, 32, 16, 3), dtype=np.uint8))
    whole = embedder.embed(images)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1e6))
    assert embedder.batch_size() == 1
    np.testing.assert_allclose(embedder.embed(images), whole, atol=1e-5)


def test_a_querys_own_image_never_counts_as_a_match(encoder, tmp_path):
    """A gallery that holds the queries, too: figures as if each query were searched for in the other images."""
    for who in range(4):
        for shot in range(3):
            draw(tmp_path / "images" / f"{who}" / f"{shot}.png", 10 * who + 3 * shot)
            for split, shots in (("query", (0,)), ("gallery", (0, 1, 2))):
                if shot in shots:
                    link = tmp_path / "set" / split / f"{who}" / f"{shot}.png"
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(tmp_path / "images" / f"{who}" / f"{shot}.png")
    dataset = spcl.load_dataset(tmp_path / "set", labelled=True)
    assert dataset.protocol == "no-camera"
    result = evaluate_encoder(
        encoder, dataset, store_of, Runtime("cpu"), SilentReporter(), RankingSettings(rerank=True, num_hits=5)
    )
    features = [
        extract_features(encoder, store_of(records), Runtime("cpu")).numpy()
        for records in (dataset.query, dataset.gallery)
    ]
    precisions = []
    for query, record in enumerate(dataset.query):
        others = [row for row, other in enumerate(dataset.gallery) if other.path.resolve() != record.path.resolve()]
        own = rank_metrics(
            1 - features[0][query : query + 1] @ features[1][others].T,
            [record.identity],
            [dataset.gallery[row].identity for row in others],
            protocol="no-camera",
        )
        precisions.append(own.mean_ap)
    assert result.plain.mean_ap == pytest.approx(np.mean(precisions), abs=1e-6)
    assert result.plain.protocol == result.reranked.protocol == "no-camera"
    assert result.plain.mean_ap < 1
    for hits, record in zip(result.hits.rows, dataset.query, strict=True):
        assert record.path.resolve() not in {dataset.gallery[row].path.resolve() for row in hits}
    # A query whose only image in the gallery is its own can match nothing.
    alone = ReIDDataset("alone", query=dataset.query, gallery=dataset.gallery[::3], protocol="no-camera")
    with input_error("no-matches"):
        check_queries(alone, "no-camera")
    assert check_queries(dataset, "no-camera") == 4


def test_what_is_known_of_an_image_in_one_split_is_known_in_the_other(tmp_path):
    paths = [draw(tmp_path / f"{shot}.png", shot) for shot in range(3)]
    dataset = ReIDDataset(
        "d", query=(Record(paths[0], 5, 1),), gallery=(Record(paths[0]), Record(paths[1], 5, 0), Record(paths[2], 6, 0))
    )
    once = each_image_once(dataset)
    assert once.gallery[0] == Record(paths[0], 5, 1)
    assert any("1 image(s) are both query and gallery" in note for note in once.notes)


@pytest.mark.parametrize("protocol", ["no-camera", "market1501", "vehicleid"])
def test_images_without_an_identity_match_nothing(encoder, tmp_path, protocol):
    """As a query left out and counted, in the gallery a distractor: adding them to both never makes a match."""

    def records(identities, first, camera):
        shots = enumerate(identities, start=first)
        return tuple(Record(draw(tmp_path / f"{shot}.png", shot), identity, camera) for shot, identity in shots)

    query, gallery = records([0, 1, None, None], 0, 0), records([0, 1, 0, None, None], 10, 1)
    dataset = ReIDDataset("d", query=query, gallery=gallery, protocol=protocol)
    assert check_queries(dataset, protocol) == 2
    report = SilentReporter()
    result = evaluate_encoder(encoder, dataset, store_of, Runtime("cpu"), report, RankingSettings(rerank=True))
    assert result.plain.num_valid_queries == (3 if protocol == "vehicleid" else 2)
    assert result.plain.mean_ap <= 1 and result.reranked.mean_ap <= 1
    assert report.warnings == ["2 of 4 queries have no identity and are left out of the figures"]
    unknown = ReIDDataset("d", query=query[2:], gallery=gallery, protocol=protocol)
    with input_error("no-identities"):
        check_queries(unknown, protocol)
