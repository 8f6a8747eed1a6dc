"""The routes: the same answers as the package's functions, for images, batches and tracks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from spcl.gallery.gallery import Gallery
from spcl.gallery.tracks import query_tracks
from spcl.inference.embedding import embed_records, load_encoder
from spcl.records import Record
from spcl.serve import answers
from spcl.serve.image_ids import image_id
from spcl.verification.calibrate import calibrate, store_calibration
from spcl.verification.compare import compare
from tests.serve.served import client_of, code_of, files, image_bytes, write_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(gallery):
    with ExitStack() as stack:
        yield client_of(stack, gallery)


@pytest.fixture(scope="module")
def encoder(gallery):
    return load_encoder(gallery.parent / "c.pth.tar")


def crop(gallery: Path, name: str) -> bytes:
    return (gallery.parent / "crops" / name).read_bytes()


def test_embed_gives_the_encoders_features(client, gallery, encoder):
    names = ["03_1.png", "04_0.png", "05_2.png"]
    given = client.post("/embed", files=files(*(crop(gallery, name) for name in names))).json()
    answers.Embedded.model_validate(given)
    expected = encoder.embed([gallery.parent / "crops" / name for name in names])
    np.testing.assert_allclose([query["features"] for query in given["queries"]], expected, atol=1e-5)
    assert [query["images"] for query in given["queries"]] == [[0], [1], [2]]
    assert (given["fingerprint"], given["dim"]) == (encoder.fingerprint, encoder.feature_dim)
    alone = client.post("/embed", content=crop(gallery, names[0]), headers={"content-type": "image/png"}).json()
    np.testing.assert_allclose(alone["queries"][0]["features"], expected[0], atol=1e-5)


def test_images_of_a_track_are_one_query(client, gallery, encoder):
    """The fourth image of the left track is a wrong crop."""
    names = ["03_0.png", "04_0.png", "03_1.png", "03_2.png", "20_0.png"]
    paths = [gallery.parent / "crops" / name for name in names]
    form = {"track": ["left", "right", "left", "left", "left"]}
    given = client.post("/embed", files=files(*(crop(gallery, name) for name in names)), data=form).json()
    answered = [(query["track"], query["images"]) for query in given["queries"]]
    assert answered == [("left", [0, 2, 3, 4]), ("right", [1])]
    expected = encoder.embed([[paths[row] for row in (0, 2, 3, 4)], [paths[1]]])
    np.testing.assert_allclose([query["features"] for query in given["queries"]], expected, atol=1e-5)
    plain = encoder.embed([paths[row] for row in (0, 2, 3, 4)]).mean(axis=0)
    assert np.abs(plain / np.linalg.norm(plain) - expected[0]).max() > 1e-4


def test_a_track_with_qualities_is_that_of_the_command_line(client, gallery, encoder):
    names = ["03_0.png", "03_1.png", "03_2.png"]
    records = tuple(Record(gallery.parent / "crops" / name, None, 0, "0/t") for name in names)
    quality = [0.2, 1.0, 3.0]
    form = {"track": ["t"] * 3, "quality": [str(value) for value in quality]}
    given = client.post("/embed", files=files(*(crop(gallery, name) for name in names)), data=form).json()
    by_path = {record.path: value for record, value in zip(records, quality, strict=True)}
    _, expected = query_tracks(embed_records(encoder, records), by_path)
    np.testing.assert_allclose([query["features"] for query in given["queries"]], expected, atol=1e-5)
    for wrong in ("0", "-1", "nan", "inf", "good"):
        answer = client.post("/embed", files=files(crop(gallery, names[0])), data={"quality": wrong})
        assert code_of(answer) == (422, "invalid-form"), wrong


def test_the_box_is_what_is_embedded(client, gallery, encoder):
    from PIL import Image

    crop_path = gallery.parent / "crops/03_1.png"
    picture = Image.new("RGB", (80, 60), "white")
    picture.paste(Image.open(crop_path), (20, 10))
    picture.save(gallery.parent / "larger.png")
    data = (gallery.parent / "larger.png").read_bytes()
    given = client.post("/embed", files=files(data), data={"box": "20,10,16,32"}).json()
    np.testing.assert_allclose(given["queries"][0]["features"], encoder.embed(crop_path)[0], atol=1e-5)
    for box, code in (("90,10,16,32", "empty-box"), ("1,2,3", "invalid-form"), ("0,0,nan,5", "invalid-form")):
        assert code_of(client.post("/embed", files=files(data), data={"box": box})) == (422, code), box


def test_search_finds_what_the_gallery_finds(client, gallery):
    opened = Gallery.open(gallery, load_encoder(gallery.parent / "c.pth.tar"))
    image = crop(gallery, "07_0.png")
    given = client.post("/search", files=files(image), params={"top": 5}).json()
    answers.Searched.model_validate(given)
    (expected,) = opened.search(gallery.parent / "crops/07_0.png", k=5)
    (query,) = given["queries"]
    assert [hit["path"] for hit in query["hits"]] == [hit.path for hit in expected]
    assert query["hits"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert (query["hits"][0]["identity"], query["hits"][0]["camera"]) == ("7", "0")
    assert given["num_images"] == len(opened)
    assert query["hits"][0]["image"] == image_id(expected[0].path)


def test_filters_leave_out_images_and_say_when_they_leave_out_nothing(client, gallery):
    image = crop(gallery, "07_0.png")

    def hits(**given):
        answer = client.post("/search", files=files(image), params={"top": 72, **given})
        assert answer.status_code == 200, answer.text
        return answer.json()["queries"][0]["hits"], answer.json()["notes"]

    found, notes = hits(camera_not=["0", "nine"])
    assert {hit["camera"] for hit in found} == {"1", "2"}
    assert "nine" in notes[0] and len(notes) == 1
    found, _ = hits(since="2026-03-05 00:00", until="2026-03-06 00:00")
    assert {hit["time"] for hit in found} == {"2026-03-05 12:00:00"}
    found, _ = hits(where="identity in ('7', '8')")
    assert {hit["identity"] for hit in found} == {"7", "8"}
    found, _ = hits(least_similarity=0.9999)
    assert found[0]["identity"] == "7" and all(hit["similarity"] >= 0.9999 for hit in found)
    assert hits(rerank=True, top=3)[0][0]["distance"] is not None


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"where": "repeat('a', 9) = 'b'"}, "invalid-filter"),
        ({"where": "x" * 2000}, "invalid-filter"),
        ({"where": "nothing = 3"}, "invalid-filter"),
        ({"where": "camera = '"}, "invalid-filter"),
        ({"since": "yesterday"}, "invalid-time"),
        ({"top": 0}, "invalid-parameter"),
        ({"top": "many"}, "invalid-parameter"),
        ({"tops": 3}, "invalid-parameter"),
        ({"least_similarity": "nan"}, "invalid-parameter"),
    ],
)
def test_what_cannot_be_searched_is_named(client, given, code):
    assert code_of(client.post("/search", files=files(image_bytes()), params=given)) == (422, code)


def test_identify_names_and_answers_unknown(client, gallery):
    opened = Gallery.open(gallery, load_encoder(gallery.parent / "c.pth.tar"))
    images = [crop(gallery, "07_0.png"), image_bytes(identity=500)]
    given = client.post("/identify", files=files(*images), params={"false_match_rate": 0.05}).json()
    answers.Identified.model_validate(given)
    (gallery.parent / "stranger.png").write_bytes(images[1])
    expected = opened.identify([gallery.parent / "crops/07_0.png", gallery.parent / "stranger.png"], 0.05)
    for query, answer in zip(given["queries"], expected, strict=True):
        assert query["identity"] == answer.identity
        assert query["is_unknown"] == (answer.identity is None)
        assert (query["nearest"], query["runner_up"]) == (answer.nearest, answer.runner_up)
        assert query["similarity"] == pytest.approx(answer.similarity, abs=1e-5)
    assert given["threshold"] == pytest.approx(opened.enrolled().threshold(0.05).similarity)
    assert given["basis"] == "gallery"
    assert code_of(client.post("/identify", files=files(*images), params={"false_match_rate": 1})) == (
        422, "invalid-parameter",
    )  # fmt: skip


def test_same_without_a_calibration_gives_the_similarity(client, gallery, encoder):
    given = client.post("/same", files=files(crop(gallery, "07_0.png"), crop(gallery, "08_0.png"))).json()
    answers.Same.model_validate(given)
    expected = compare(encoder, gallery.parent / "crops/07_0.png", gallery.parent / "crops/08_0.png")
    assert given["similarity"] == pytest.approx(expected.similarity, abs=1e-5)
    assert given["verdict"] is None
    one = client.post("/same", files=files(crop(gallery, "07_0.png")))
    assert code_of(one) == (422, "length-mismatch")


def test_same_with_a_calibration_judges(tmp_path):
    gallery = write_gallery(tmp_path, identities=12, shots=4)
    encoder = load_encoder(tmp_path / "c.pth.tar")
    from spcl.records import Record

    records = [Record(path, int(path.name[:2])) for path in sorted((tmp_path / "crops").iterdir())]
    store_calibration(tmp_path / "c.pth.tar", calibrate(encoder, records, labelled=True))
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        given = client.post(
            "/same", files=files(crop(gallery, "07_0.png"), crop(gallery, "07_1.png")), params={"false_match_rate": 0.1}
        ).json()
    expected = compare(
        load_encoder(tmp_path / "c.pth.tar"),
        tmp_path / "crops/07_0.png",
        tmp_path / "crops/07_1.png",
        false_match_rate=0.1,
    )
    assert (given["verdict"], given["origin"]) == (expected.verdict, "labels")
    assert given["probability"] == pytest.approx(expected.probability, abs=1e-3)
    assert given["threshold"] == pytest.approx(expected.threshold)


def test_images_of_the_gallery_are_shown_and_no_others(client, gallery):
    import io

    from PIL import Image

    path = (gallery.parent / "crops/03_1.png").as_posix()
    answer = client.get(f"/images/{image_id(path)}", params={"size": 16})
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (8, 16)
    for name in (image_id("/etc/passwd"), "0" * 16, "..%5cpasswd", "x", "-1", "0x" + "0" * 14):
        assert code_of(client.get(f"/images/{name}")) == (404, "no-such-image"), name
    for path_up in ("..%2f..%2fetc%2fpasswd", "../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd"):
        assert code_of(client.get(f"/images/{path_up}")) == (404, "no-such-page"), path_up
    assert code_of(client.get(f"/images/{image_id(path)}", params={"size": 5000})) == (422, "invalid-parameter")


def test_an_image_that_is_removed_is_not_shown_any_more(tmp_path):
    gallery = write_gallery(tmp_path, identities=2)
    path = (tmp_path / "crops/01_1.png").as_posix()
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        assert client.get(f"/images/{image_id(path)}").status_code == 200
        Gallery.open(gallery).remove(paths=[path])
        assert code_of(client.get(f"/images/{image_id(path)}")) == (404, "no-such-image")
        (tmp_path / "crops/01_0.png").unlink()
        other = (tmp_path / "crops/01_0.png").as_posix()
        assert code_of(client.get(f"/images/{image_id(other)}")) == (404, "image-file-missing")


def test_enrolled_images_count_at_once(tmp_path):
    gallery = write_gallery(tmp_path)
    new = [image_bytes(identity=500, shot=shot) for shot in range(3)]
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        first = client.post("/identify", files=files(new[2])).json()["queries"][0]
        assert first["nearest"] != "ann"
        form = {"identity": "ann", "camera": ["1", "2"], "time": "2026-04-01 10:00"}
        answer = client.post("/enrol", files=files(*new[:2]), data=form)
        assert answer.status_code == 200, answer.text
        answers.Enrolment.model_validate(answer.json())
        assert (answer.json()["num_added"], answer.json()["num_replaced"]) == (2, 0)
        assert answer.json()["num_images"] == 74
        second = client.post("/identify", files=files(new[2])).json()
        assert second["queries"][0]["nearest"] == "ann"
        assert second["num_identities"] == first.get("num_identities", 24) + 1
        found = client.post("/search", files=files(new[0]), params={"top": 1}).json()["queries"][0]["hits"][0]
        assert (found["identity"], found["camera"], found["time"]) == ("ann", "1", "2026-04-01 10:00:00")
        assert found["image"] == answer.json()["images"][0]
        assert client.get(f"/images/{found['image']}").status_code == 200
        again = client.post("/enrol", files=files(new[0]), data={"identity": "ann"}).json()
        assert (again["num_added"], again["num_replaced"]) == (0, 1)
    # The server has ended: what it wrote is what another program reads.
    opened = Gallery.open(gallery, load_encoder(tmp_path / "c.pth.tar"))
    assert opened.count("identity = 'ann'") == 2
    assert (
        opened.identify(gallery / "images" / Path(found["path"]).parent.name / Path(found["path"]).name)[0].nearest
        == "ann"
    )


def test_what_cannot_be_enrolled_is_named_and_nothing_is_written(tmp_path):
    gallery = write_gallery(tmp_path, identities=2)
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        image = image_bytes(500)
        two = client.post("/enrol", files=files(image, image), data={"identity": ["ann", "bob"]})
        assert code_of(two) == (409, "identity-contradiction")
        assert client.post("/enrol", files=files(image), data={"time": "noon"}).status_code == 422
        three = client.post("/enrol", files=files(image), data={"identity": ["a", "b", "c"]})
        assert code_of(three) == (422, "length-mismatch")
        assert code_of(client.post("/enrol", files=files(image), data={"name": "ann"})) == (422, "invalid-form")
        assert len(Gallery.open(gallery)) == 6
        assert not (gallery / "images").exists()


def test_what_another_program_writes_is_seen(tmp_path):
    import time

    gallery = write_gallery(tmp_path)
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        opened = Gallery.open(gallery, load_encoder(tmp_path / "c.pth.tar"))
        opened.add([draw_other(tmp_path)], identities=["carl"])
        assert client.post("/search", files=files(image_bytes(600)), params={"top": 1}).json()["num_images"] == 73
        until = time.monotonic() + 20
        while True:
            given = client.post("/identify", files=files(image_bytes(600))).json()
            if given["queries"][0]["nearest"] == "carl":
                break
            assert time.monotonic() < until
            time.sleep(0.1)


def draw_other(folder: Path) -> Path:
    path = folder / "other.png"
    path.write_bytes(image_bytes(600))
    return path


def test_a_gallery_without_identities_says_so(tmp_path):
    gallery = write_gallery(tmp_path, identities=2)
    Gallery.open(gallery).clear("identity", "identity is not null")
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        assert code_of(client.post("/identify", files=files(image_bytes()))) == (409, "no-identities")
        form = {"identity": ["ann", "bob"]}
        assert client.post("/enrol", files=files(image_bytes(1), image_bytes(2)), data=form).status_code == 200
        few = client.post("/identify", files=files(image_bytes()))
        assert code_of(few) == (409, "not-calibrated")


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "ok", "engine": "torch"}
    client.post("/identify", files=files(image_bytes()))
    text = client.get("/metrics").text
    assert 'spcl_requests_total{path="/identify",status="200"}' in text
    assert "spcl_batch_images_bucket" in text and "spcl_identified_total" in text
    assert "spcl_gallery_images 72.0" in text


def test_metrics_compare_the_cameras_of_requests_with_the_gallery(tmp_path):
    from spcl.monitoring.monitor import MonitoringRequest, monitor

    gallery = write_gallery(tmp_path)
    names = [f"{identity:04d}_c0s1_000000_00.png" for identity in range(24)]
    (tmp_path / "new").mkdir()
    for identity, name in enumerate(names):
        (tmp_path / "new" / name).write_bytes(image_bytes(identity, shot=9))
    monitor(MonitoringRequest(gallery, tmp_path / "new"))
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        for start in range(0, 48, 24):
            data = {"camera": "0" if start else "of no gallery"}
            images = [image_bytes(identity, shot=10) for identity in range(24)]
            assert client.post("/search", files=files(*images), data=data).status_code == 200
            assert client.post("/identify", files=files(*images), data=data).status_code == 200
        text = client.get("/metrics").text
    assert 'spcl_drift_p_value{camera="0",figure="similarity"}' in text
    assert 'spcl_drift_median{camera="0",figure="brightness"}' in text
    assert 'spcl_drift_reference_median{camera="0",figure="unknown"}' in text
    assert "of no gallery" not in text and 'spcl_drift_median{camera="1"' not in text
