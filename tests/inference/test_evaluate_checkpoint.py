"""``spcl.evaluate``: what the command prints, as an object; silent."""

from __future__ import annotations

import json

import pytest

import spcl
from spcl.cli.main import main
from spcl.inference.evaluation_request import ExpectedCheckpoint
from tests.fakes import draw, write_fake
from tests.input_errors import input_error
from tests.training_run.test_starting_point import used_encoder, written


def test_it_gives_what_the_command_prints(tmp_path, capsys):
    data = write_fake("market1501", tmp_path)
    path = written(used_encoder("source", "target"), tmp_path / "c.pth.tar")
    main(["evaluate", str(path), str(data), "--rerank", "--flip", "--json"])
    printed = json.loads(capsys.readouterr().out)
    options = spcl.EvaluationOptions(flip=True, num_hits=2)
    found = spcl.evaluate(path, data, rerank=True, options=options)
    assert {name: printed[name] for name in found.to_row()} == found.to_row() | {"broken": []}
    assert (found.num_queries, found.num_gallery) == (printed["num_queries"], printed["num_gallery"])
    assert found.hits is not None
    encoder = spcl.load_encoder(path)
    assert spcl.evaluate(encoder, data, rerank=True, options=options).to_row() == found.to_row()
    by_source = spcl.evaluate(path, data, domain="source", options=options)
    assert not (by_source.hits.similarities == found.hits.similarities).all()
    assert spcl.evaluate(path, data, protocol="no-camera").plain.protocol == "no-camera"
    assert capsys.readouterr().out == ""
    with input_error("no-such-checkpoint", "no.pth.tar"):
        spcl.evaluate("no.pth.tar", data)
    with input_error("no-such-source", "nowhere"):
        spcl.evaluate(path, tmp_path / "nowhere")


def test_options_that_do_not_apply_are_refused(tmp_path):
    path = written(used_encoder("source", "target"), tmp_path / "c.pth.tar")
    encoder = spcl.load_encoder(path)
    with input_error("option-does-not-apply", "domain='source'"):
        spcl.evaluate(encoder, tmp_path, domain="source")
    with input_error("option-does-not-apply", "arch='resnet18'"):
        spcl.evaluate(encoder, tmp_path, arch="resnet18")
    with input_error("option-does-not-apply"):
        spcl.EvaluationRequest(tmp_path, expected=ExpectedCheckpoint(features=0))
    for given in ({"imagenet": True}, {"pretrained": "none"}, {"pixel_range": "full"}):
        with input_error("option-contradiction", *given, "c.pth.tar"):
            spcl.EncoderChoice("c.pth.tar", **given)


@pytest.mark.parametrize("given", [{"batch_size": 0}, {"num_hits": -1}])
def test_options_and_request_have_one_range(given):
    with input_error("setting-out-of-range", *given):
        spcl.EvaluationOptions(**given)
    with input_error("setting-out-of-range", *given):
        spcl.EvaluationRequest("market1501", **given)


def test_an_evaluation_says_nothing_of_training(tmp_path, capsys):
    path = written(used_encoder("source", "target"), tmp_path / "c.pth.tar")
    for number in range(8):
        draw(tmp_path / "herd" / f"{number % 4}" / f"{number}.png", number)
    main(["evaluate", str(path), str(tmp_path / "herd")])
    printed = capsys.readouterr().out
    assert "queries and gallery were drawn" in printed
    assert "sampler" not in printed and "trained on" not in printed
