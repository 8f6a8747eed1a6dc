"""Several sources become one, and nothing that is given is dropped."""

from __future__ import annotations

import pytest

from spcl.cli.options import refuse_repeated
from spcl.cli.train_words import with_joined_data
from spcl.config import DataConfig, Recipe
from spcl.data.catalogue import load_dataset
from spcl.data.combined_sources import combined_sources, joined_sources, sources_of
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.training_run.session import Session
from spcl.training_run.training_sets import load_sets
from tests.fakes import draw
from tests.input_errors import input_error


def market(folder, identities=(1, 2), cameras=(1, 2)):
    for who in identities:
        for camera in cameras:
            for shot in range(2):
                draw(folder / "bounding_box_train" / f"{who:04d}_c{camera}s1_{shot:06d}_00.jpg", who)
    return folder


def labelled(name):
    return load_dataset(name, labelled=True)


def test_identities_and_cameras_of_several_sources_are_different(tmp_path):
    a, b = market(tmp_path / "a"), market(tmp_path / "b", (2, 7, 9), (1, 2, 3))
    found = combined_sources(f"{a}+{b}", labelled)
    assert len(found.train) == 8 + 18
    assert {record.identity for record in found.train if tmp_path / "a" in record.path.parents} == {0, 1}
    assert {record.identity for record in found.train if tmp_path / "b" in record.path.parents} == {2, 3, 4}
    assert {record.camera for record in found.train if tmp_path / "a" in record.path.parents} == {0, 1}
    assert {record.camera for record in found.train if tmp_path / "b" in record.path.parents} == {2, 3, 4}
    assert found.notes[0] == f"{a}: 8 images of 2 identities, 2 camera(s)"
    assert f"{b}: 18 images of 3 identities, 3 camera(s)" in found.notes
    alone = combined_sources(str(a), labelled)
    assert alone == labelled(str(a))


def test_cameras_are_unknown_where_one_source_has_none(tmp_path):
    a = market(tmp_path / "a")
    for who in ("ann", "ben"):
        draw(tmp_path / "b" / who / "1.jpg", 1)
    found = combined_sources(f"{a},{tmp_path / 'b'}", labelled)
    assert {record.camera for record in found.train} == {None}
    assert {record.identity for record in found.train} == {0, 1, 2, 3}
    assert "cameras are not used: not every image of every source has one" in found.notes


def test_one_image_in_two_sources_is_an_error(tmp_path):
    a = market(tmp_path / "a")
    (tmp_path / "c").symlink_to(a)
    with input_error("identity-contradiction", "/a"):
        combined_sources(f"{a}+{tmp_path / 'c'}", labelled)


def test_what_exists_by_a_name_with_a_mark_is_one_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "a+b", "x,y"):
        (tmp_path / name).mkdir()
    (tmp_path / "t_train.csv").write_text("path\n")
    assert sources_of("a+b") == ("a+b",)
    assert sources_of("b,a") == ("b", "a")
    assert sources_of(" b + x,y") == ("b", "x,y")
    assert sources_of("market1501,msmt17+vehicleid:800") == ("market1501", "msmt17", "vehicleid:800")
    assert sources_of("train=p.csv,query=q.csv") == ("train=p.csv,query=q.csv",)
    assert sources_of("train=p.csv,query=q.csv+b") == ("train=p.csv,query=q.csv", "b")
    assert sources_of("t+b") == ("t", "b")
    assert joined_sources(["b", "x,y"]) == "b+x,y"
    with input_error("source-not-combinable", "'a+b'"):
        joined_sources(["a+b", "b"])
    for text, code in (("a++b", "empty-name"), ("b,b", "source-given-twice"), ("b,", "empty-name")):
        with input_error(code):
            sources_of(text)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--source a --source b --target t --epochs 2", "--target t --epochs 2 --source a+b"),
        ("--source a b --target t", "--target t --source a+b"),
        ("--source=a --source b c --target t", "--target t --source a+b+c"),
        ("--source=a b --target t", "--target t --source a+b"),
        ("s t --epochs 2", "s+t --epochs 2"),
        ("s t --source a b", "s+t --source a+b"),
        ("--target s t --source a", "--source a --target s+t"),
        ("--target s --target=t --epochs 2", "--epochs 2 --target s+t"),
        ("--source a s t", "--source a s+t"),
        ("--source=a s t --json", "--source=a s+t --json"),
        ("--source a s --source b t", "s+t --source a+b"),
        ("t --source a b", "t --source a+b"),
        ("--source a t", "--source a t"),
        ("--source a,b t", "--source a,b t"),
        ("--source a --target t", "--source a --target t"),
        ("--epochs 2 --source a t --json", "--epochs 2 --source a t --json"),
    ],
)
def test_sources_of_a_command_line_are_collected(words, expected):
    assert with_joined_data(words.split()) == expected.split()


def test_what_names_data_or_places_is_not_given_twice():
    for words in ("--target a --target b", "--images=1 x --images 2", "-o a -o b", "--data-dir a --data_dir b"):
        with pytest.raises(InputError, match="is given twice"):
            refuse_repeated(words.split())
    # Of a setting the last counts.
    for words in ("--target a --source b", "--epochs 1 --epochs 2", "--target a --target a", "a a a", "-- -o 1 -o 2"):
        refuse_repeated(words.split())


def test_a_training_reads_all_sources_and_the_target_as_grouping_does(tmp_path):
    a, b = market(tmp_path / "a"), market(tmp_path / "b")
    for number in range(6):
        draw(tmp_path / "site" / "2026-05-01" / "cam 1" / f"{number}.jpg", number)
    draw(tmp_path / "site" / "selection" / "x.jpg", 1)
    data = DataConfig(source=f"{a}+{b}", target=str(tmp_path / "site"))
    source, target = load_sets(Recipe(data=data), Session(Runtime("cpu"), SilentReporter()))
    assert source is not None
    assert len({record.identity for record in source.train}) == 4
    assert len(target.train) == 7
    assert {record.identity for record in target.train} == {None}


def test_settings_of_reading_reach_the_training(tmp_path):
    first = draw(tmp_path / "source" / "0001_c1.jpg", 1)
    (tmp_path / "source" / "0001_c2.jpg").write_bytes(first.read_bytes())
    draw(tmp_path / "source" / "0002_c1.jpg", 2)
    data = DataConfig(source=str(tmp_path / "source"), target=str(tmp_path / "source"), identity_from="name")
    source, target = load_sets(Recipe(data=data), Session(Runtime("cpu"), SilentReporter()))
    assert [record.identity for record in source.train] == [0, 0, 1]
    assert len(target.train) == 3
    first_alone = SourceOptions(duplicates="first", identity_from="name")
    found = load_dataset(tmp_path / "source", labelled=True, options=first_alone)
    assert [record.identity for record in found.train] == [0, 1]
    (tmp_path / "source" / "0003_c1.jpg").write_bytes(first.read_bytes())
    with input_error("identity-contradiction", "0001_c1.jpg", "0003_c1.jpg"):
        load_dataset(tmp_path / "source", labelled=True, options=first_alone)
