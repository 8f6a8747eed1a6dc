"""Several targets are one unlabelled target: their cameras differ, and each is rated on its own queries."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from spcl.cli.main import main
from spcl.data.catalogue import load_dataset
from spcl.data.combined_targets import combined_targets
from spcl.inference.query_checks import can_evaluate
from spcl.reporting.events import Emitter, Evaluated, RunStarted
from spcl.tracking.trackers import figures_of
from spcl.training_run.run_epochs import evaluate_run, mean_row
from tests.fakes import draw, write_fake
from tests.shared import input_error
from tests.training_run.small_runs import assert_bit_equal, small_config, trained


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for number in range(6):
        draw(root / "flat" / f"{number}.jpg", 50 + number // 2, number)
    return write_fake("market1501", root), write_fake("personx", root), root / "flat"


def test_images_cameras_and_counts_of_several_targets(data):
    market, personx, flat = data
    found = combined_targets(f"{market}+{flat}+{personx}", load_dataset)
    alone = [load_dataset(each) for each in (market, flat, personx)]
    assert [len(part.train) for part in found.parts] == [len(each.train) for each in alone]
    assert [record.path for record in found.train] == [record.path for each in alone for record in each.train]
    assert {record.identity for record in found.train} == {None}
    cameras = [{record.camera for record in part.train} for part in found.parts]
    assert cameras[1] == {None} and not cameras[0] & cameras[2] and max(cameras[0]) < min(cameras[2])
    # Queries belong to their own data set, with its cameras and its protocol.
    assert not found.query and [part.query for part in found.parts] == [each.query for each in alone]
    assert [part.name for part in found.evaluated] == [str(market), str(personx)] and can_evaluate(found)
    assert combined_targets(str(market), load_dataset) == alone[0]


def test_an_image_in_two_targets_is_used_once_and_an_empty_target_is_an_error(data, tmp_path):
    market = data[0]
    (tmp_path / "again").symlink_to(market)
    draw(tmp_path / "more" / "1.jpg", 1)
    found = combined_targets(f"{market}+{tmp_path / 'more'}+{tmp_path / 'again'}", load_dataset)
    num = len(load_dataset(market).train)
    assert [len(part.train) for part in found.parts] == [num, 1, 0] and len(found.train) == num + 1
    assert f"{num} of its training images are in an earlier target: used once" in found.parts[2].notes

    def without_training(name):
        return replace(load_dataset(name), train=())

    with input_error("no-images", str(market)):
        combined_targets(f"{market}+{data[2]}", without_training)
    with input_error("source-given-twice", str(market)):
        combined_targets(f"{market}+{market}", load_dataset)


def test_a_run_on_several_targets_is_rated_on_each_and_resumes(data, tmp_path):
    market, personx, flat = data
    text = f"{market}+{flat}+{personx}"
    heard = []

    class Hears:
        num_hits = 3

        def on(self, event):
            heard.append(event)

    run = trained(small_config(text, tmp_path / "run"), report=Emitter([Hears()]))
    said = [event.text for event in heard if hasattr(event, "text")]
    for part in run.target.parts:
        assert any(line.startswith(f"  {part.name}: {len(part.train)} training images") for line in said)
    assert any("cameras unknown, not evaluated (0 queries, 0 gallery images)" in line for line in said)
    figures = run.state.history[-1].evaluation
    assert set(figures["targets"]) == {str(market), str(personx)}
    for part in run.target.evaluated:
        assert figures["targets"][part.name] == evaluate_run(run, part).to_row()
    rows = list(figures["targets"].values())
    assert figures["mAP"] == pytest.approx(np.mean([row["mAP"] for row in rows]))
    assert figures["valid_queries"] == sum(row["valid_queries"] for row in rows)
    evaluated = [event for event in heard if isinstance(event, Evaluated)]
    assert [event.dataset.name for event in evaluated[:2]] == [str(market), str(personx)]
    assert len(evaluated[0].hits.rows) == len(evaluated[0].dataset.query)
    (started,) = (event for event in heard if isinstance(event, RunStarted))
    assert len(started.target.train) == len(run.slots)
    logged = figures_of(run.state.history[-1])
    assert logged[f"target/{market}/mAP"] == rows[0]["mAP"] and logged["target/mAP"] == figures["mAP"]
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["targets"] == figures["targets"]
    trained(small_config(text, tmp_path / "half", schedule={"epochs": 1}))
    assert_bit_equal(run, trained(small_config(text, tmp_path / "half"), resume=True))


def test_a_row_of_means_names_each_protocol_once():
    row = {"mAP": 0.2, "top1": 0.1, "top5": 0.3, "top10": 0.4, "protocol": "no-camera", "valid_queries": 3, "broken": 1}
    found = mean_row({"a": row, "b": row | {"mAP": 0.4, "protocol": "market1501"}, "c": row})
    assert found["mAP"] == pytest.approx(0.8 / 3) and found["protocol"] == "no-camera+market1501"
    assert found["valid_queries"] == 9 and found["broken"] == 3 and found["targets"]["b"]["mAP"] == 0.4


def test_several_targets_on_the_command_line(data, tmp_path, capsys):
    market, personx, flat = data
    flags = ["--arch", "timm/test_resnet", "--pretrained", "none", "--height", "32", "--width", "16", "--epochs", "1"]
    flags += ["--iters", "2", "--batch-size", "8", "--logs-dir", str(tmp_path / "run"), "--device", "cpu"]
    main(["train", str(market), str(flat), "--source", str(personx), *flags])
    printed = capsys.readouterr().out
    assert f"  {market}: mAP " in printed and "(mean of the targets)" in printed
    with pytest.raises(SystemExit):
        main(["train", str(market), "--target", str(flat), *flags])
    assert "option-contradiction" in capsys.readouterr().err
