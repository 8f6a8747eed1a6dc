import json

import numpy as np
import pytest

from spcl.cli.main import main
from spcl.inference.encode_options import EncoderChoice
from spcl.inference.encoder import imagenet_encoder
from spcl.retrieval.track_features import track_features
from spcl.verification.compare import compare
from spcl.verification.compare_images import ComparisonRequest, compare_images
from tests.fakes import draw
from tests.input_errors import input_error

CHOICE = EncoderChoice(arch="timm/test_resnet", pretrained="none")


@pytest.fixture
def folders(tmp_path):
    for name, identity in (("a", 1), ("b", 2)):
        for shot in range(3):
            draw(tmp_path / name / f"{shot}.jpg", identity, shot + 10 * identity)
    return tmp_path


def test_lists_are_compared_as_tracks(folders):
    encoder = imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))
    first, second = (sorted((folders / name).glob("*.jpg")) for name in "ab")
    features = encoder.embed([*first, *second])
    fused = track_features(features, np.repeat([0, 1], 3)).features
    assert compare(encoder, first, second).similarity == pytest.approx(float(fused[0] @ fused[1]), abs=1e-5)
    one = compare(encoder, first[0], second)
    assert one.similarity == pytest.approx(float(features[0] @ fused[1]), abs=1e-5)
    assert compare(encoder, [first[0]], second[0]) == compare(encoder, first[0], second[0])
    assert compare(encoder, first[0], second[0]).similarity == pytest.approx(float(features[0] @ features[3]), abs=1e-5)


def test_probability_is_that_of_the_mean_pair(folders, monkeypatch):
    from spcl.verification import compare as module

    judged = []
    real = module.judged
    monkeypatch.setattr(
        module,
        "judged",
        lambda similarity, *rest, **more: (judged.append(similarity), real(similarity, *rest, **more))[1],
    )
    encoder = imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))
    first, second = (sorted((folders / name).glob("*.jpg"))[:2] for name in "ab")
    found = compare(encoder, first, second)
    features = encoder.embed([*first, *second])
    assert judged == [pytest.approx(float((features[:2] @ features[2:].T).mean()), abs=1e-5)]
    assert found.similarity >= judged[0] - 1e-6


def test_folders_and_the_command(folders, capsys):
    found = compare_images(ComparisonRequest(folders / "a", folders / "b", encoder=CHOICE, by="track"))
    main(
        [
            "compare",
            str(folders / "a"),
            str(folders / "b"),
            "--by",
            "track",
            "--arch",
            "timm/test_resnet",
            "--pretrained",
            "none",
            "--json",
        ]
    )
    assert json.loads(capsys.readouterr().out)["similarity"] == pytest.approx(found.similarity)
    with input_error("not-an-image"):
        ComparisonRequest(folders / "a", folders / "b", encoder=CHOICE)
    (folders / "two.csv").write_text("path,track\na/0.jpg,1\nb/0.jpg,2\n")
    with input_error("several-tracks", "1, 2"):
        compare_images(ComparisonRequest(folders / "two.csv", folders / "b", encoder=CHOICE, by="track"))
