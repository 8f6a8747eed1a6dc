"""``spcl.evaluate``: what the command prints, as an object; silent."""

from __future__ import annotations

import json

import spcl
from spcl.cli.main import main
from tests.fakes import write_fake
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
