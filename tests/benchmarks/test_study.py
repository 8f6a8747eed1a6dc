"""The study: variants, cut sets, label quality by hand, and a small study from data to table that goes on."""

from __future__ import annotations

import numpy as np
import pytest
import study
import study_sets
from study_sets import StudySet, cut_to_few
from study_table import VariantFigures, study_table

from spcl.config import load_recipe, overlay
from spcl.data.catalogue import load_dataset
from spcl.errors import InputError
from spcl.kinds import KINDS
from spcl.settings import kind_of
from tests.fakes import write_fake
from tests.training_run.small_runs import SMALL


def test_label_quality_by_hand():
    found = study.label_quality(np.array([0, 0, 1, 2]), np.array([0, 0, 0, 1]))
    assert found["precision"] == pytest.approx(1)
    assert found["recall"] == pytest.approx((2 * 2 / 3 + 1 / 3 + 1) / 4)
    assert found["objects"] == 2
    perfect = study.label_quality(np.array([5, 5, 9]), np.array([1, 1, 0]))
    assert perfect["F"] == perfect["ARI"] == 1


def test_variants_and_their_recipes(tmp_path):
    given = StudySet(tmp_path, "", {"optimiser": {"lr": 0.5}})
    recipes = {name: study.recipe_of(name, given, {}) for name in study.variants()}
    assert kind_of("labels", recipes["stack"].labels, KINDS) == "average-linkage"
    plus = overlay(load_recipe("spcl-plus"), given.settings, "test")
    assert recipes["stack"] == overlay(plus, {"schedule": {"select": "evaluation"}}, "test")
    assert kind_of("labels", recipes["without average linkage"].labels, KINDS) == "self-paced"
    assert kind_of("labels", recipes["spcl"].labels, KINDS) == "self-paced"
    assert recipes["stack"].optimiser.lr == 0.5 and kind_of("optimiser", recipes["stack"].optimiser, KINDS) == "adamw"
    assert recipes["floor"].schedule.iters == 1 and recipes["ceiling"].labels.data == str(tmp_path)
    assert recipes["+teacher"].teacher is not None and recipes["stack"].teacher is None
    uda = study.recipe_of("floor", StudySet(tmp_path, "source"), {"schedule": {"epochs": 3}})
    assert uda.schedule.source_only and uda.schedule.epochs == 3


def test_a_cut_set_has_few_images_and_the_same_test(tmp_path):
    whole = write_fake("market1501", tmp_path, num_identities=5)
    cut = cut_to_few(whole, tmp_path / "work" / "cut", 2)
    ours, theirs = load_dataset(cut), load_dataset(whole)
    assert len(ours.train) == 2 * len({record.identity for record in theirs.train})
    assert {record.path for record in ours.query} == {record.path.absolute() for record in theirs.query}
    assert len(ours.gallery) == len(theirs.gallery)


def test_the_names_of_the_sets(tmp_path):
    (tmp_path / "cattle").mkdir()
    names = study_sets.set_names(tmp_path)
    assert {"cattle-usl", "cattle-usl-6", "pedestrian-uda", "vehicle-usl-6"} <= set(names)
    assert not any(name.startswith(("omniglot", "grocery")) for name in names)
    found = study_sets.study_set("cattle-usl", tmp_path, tmp_path / "work")
    assert found.target == tmp_path / "cattle" and not found.source and found.settings["data"]["height"] == 128


def test_a_small_study_trains_goes_on_and_makes_its_table(tmp_path, monkeypatch):
    target = write_fake("market1501", tmp_path, num_identities=8)
    small = {section: values for section, values in SMALL.items() if section != "labels"}
    monkeypatch.setattr(study, "set_names", lambda data: ["fake"])
    monkeypatch.setattr(study, "study_set", lambda name, data, work: StudySet(target, "", small))
    options = study.StudyOptions(
        out=tmp_path / "out",
        variants=("floor", "ceiling", "spcl", "fresh features"),
        seeds=(1,),
        set=("schedule.epochs=1", "schedule.iters=2"),
    )
    table = study.study(options)
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows][1:5] == ["| floor", "| ceiling", "| spcl", "| fresh features"]
    assert "100 / 100" in next(row for row in rows if row.startswith("| ceiling"))
    assert (tmp_path / "out/table.md").read_text() == table
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("checkpoint.pth.tar")}
    assert study.study(options) == table
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("checkpoint.pth.tar")}
    with pytest.raises(InputError) as error:
        study.study(study.StudyOptions(out=tmp_path / "out", variants=("nothing",)))
    assert error.value.code == "no-such-name"
    assert study_table(tmp_path / "empty", ["fake"], ["spcl"], "x.jsonl").startswith("## fake")


def test_the_panel_has_spcl_and_stack_side_by_side_and_the_floor_of_the_whole_set(tmp_path, monkeypatch):
    last = {"floor": 20.0, "spcl": 30.0, "stack": 50.0, "ceiling": 60.0}

    def figures_of(folder, quality_file):
        if folder.parent.name == "fake-6" and folder.name == "floor":
            return None
        rated = last.get(folder.name)
        return None if rated is None else VariantFigures((rated,), (rated,), (40.0, 30.0), (9.0, 8), 12.0)

    monkeypatch.setattr("study_table.figures_of", figures_of)
    table = study_table(tmp_path, ["fake-6"], list(study.variants()), "x.jsonl")
    cells = "fake-6 | 20.0 | 30.0 | 50.0 | 60.0 | 75 % | 30.0, 50.0 | 40 / 30, 40 / 30 | 9, 9 (8) | 12, 12"
    assert f"| {cells} |" in table
