"""``spcl cluster`` and ``spcl suggest``: what they leave, what they refuse, what they say."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from spcl.cli.main import main
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.shared import slow_but
from tests.verification.test_calibrate import write_checkpoint

SMALL = shlex.split("--arch timm/test_resnet --pretrained none --device cpu --workers 2")


@pytest.fixture
def crops(tmp_path, monkeypatch):
    """Four objects, six images each, in two folders."""
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        draw(tmp_path / "crops" / f"day{number % 2}" / f"{number // 2:02d}.jpg", number // 6, number)
    return tmp_path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_groups_of_a_folder(crops, capsys):
    (crops / "crops" / "broken.jpg").write_bytes(b"no image")
    main(["cluster", "crops", "-o", "out", *SMALL])
    printed = capsys.readouterr().out
    assert "4 groups of 24 images; the largest has 6; 0 images are in no group" in printed
    assert "1 image(s) could not be read and are left out: out/broken.csv" in printed
    assert "tall crops" in printed
    rows = table(crops / "out/groups.csv")
    assert list(rows[0]) == ["path", "group", "confidence"]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    groups_of: dict[int, set[str]] = {}
    for row in rows:
        day, name = Path(row["path"]).parts[-2:]
        groups_of.setdefault((2 * int(name[:2]) + int(day[-1])) // 6, set()).add(row["group"])
        assert 0 < float(row["confidence"]) <= 1
    assert sorted(groups_of.values()) == [{"0"}, {"1"}, {"2"}, {"3"}] or all(len(v) == 1 for v in groups_of.values())
    assert len(set.union(*groups_of.values())) == 4
    assert [Path(row["path"]).name for row in table(crops / "out/broken.csv")] == ["broken.jpg"]
    summary = json.loads((crops / "out/summary.json").read_text())
    assert (summary["groups"], summary["images"], summary["broken"]) == (4, 24, 1)
    assert summary["reasons"][0].startswith(f"k1 = {summary['k1']}, k2 = {summary['k2']}: ")
    with Image.open(crops / "out/groups.png") as picture:
        assert picture.width > 400


def test_what_is_left_out_and_what_is_odd_is_counted_and_named(crops, capsys):
    """Raw files, thumbnails and copies are in the summary, and each of them in a table."""
    (crops / "crops" / "1.cr2").write_bytes(b"II*\0raw")
    (crops / "crops" / "copy.jpg").write_bytes((crops / "crops" / "day0" / "00.jpg").read_bytes())
    Image.new("RGB", (4, 4)).save(crops / "crops" / "thumb.png")
    main(["cluster", "crops", "-o", "out", *SMALL])
    printed = capsys.readouterr().out
    assert "note: not read: 1 .cr2; the first is crops/1.cr2" in " ".join(printed.split())
    assert "1 copies and 1 far smaller images: out/odd.csv" in printed
    assert [Path(row["path"]).name for row in table(crops / "out/broken.csv")] == ["1.cr2"]
    # The first of two copies, in the order of paths, is no copy.
    assert [Path(row["path"]).name for row in table(crops / "out/odd.csv")] == ["00.jpg", "thumb.png"]
    summary = json.loads((crops / "out/summary.json").read_text())
    assert [summary[name] for name in ("images", "left_out", "copies", "thumbnails", "broken")] == [26, 1, 1, 1, 0]
    words = ["--duplicates", "first", "--min-size", "8", "--overwrite", "--json"]
    main(["cluster", "crops", "-o", "out", *SMALL, *words])
    summary = json.loads(capsys.readouterr().out)
    assert [summary[name] for name in ("images", "left_out", "copies", "thumbnails")] == [24, 3, 0, 0]
    assert len(table(crops / "out/broken.csv")) == 3
    assert not (crops / "out/odd.csv").exists()


def test_the_same_again_and_never_in_silence(crops, capsys):
    main(["cluster", "crops", "-o", "out", *SMALL, "--folders", "link"])
    first = (crops / "out/groups.csv").read_bytes()
    assert "out holds groups already; replace them with --overwrite" in refused(
        ["cluster", "crops", "-o", "out", *SMALL], capsys
    )
    links = sorted((crops / "out/groups").rglob("*.jpg"))
    assert len(links) == 24
    assert all(link.is_symlink() and not Path(link.readlink()).is_absolute() and link.exists() for link in links)
    # Two images of the same name, from two folders, in one group.
    assert any("~2" in link.name for link in links)
    main(["cluster", "crops", "-o", "out", *SMALL, "--overwrite", "--folders", "copy"])
    assert (crops / "out/groups.csv").read_bytes() == first
    copies = sorted((crops / "out/groups").rglob("*.jpg"))
    assert len(copies) == 24
    assert not any(copy.is_symlink() for copy in copies)
    assert not list((crops / "out").glob(".*"))


def test_results_among_the_images_are_no_crops(crops, capsys):
    main(["cluster", "crops", "-o", "crops/out", *SMALL, "--folders", "copy"])
    main(["cluster", "crops", "-o", "crops/out", *SMALL, "--overwrite", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["images"] == 24
    assert not (crops / "crops/out/groups").exists()  # folders of earlier groups would contradict the table
    (crops / "crops/out/groups").mkdir()
    draw(crops / "crops/out/groups/1.jpg", 1)
    assert "all the images are in crops/out" in refused(["cluster", "crops/out", "-o", "crops/out", *SMALL], capsys)


@pytest.mark.parametrize("images", slow_but(["../work/crops", "linked", "crops/day0/.."], "linked"))
def test_results_among_the_images_are_no_crops_however_they_are_called(crops, capsys, monkeypatch, images):
    (crops / "work").mkdir()
    (crops / "crops").rename(crops / "work" / "crops")
    (crops / "work" / "linked").symlink_to("crops")
    monkeypatch.chdir(crops / "work")
    out = f"{images}/out"
    main(["cluster", images, "-o", out, *SMALL, "--folders", "copy"])
    main(["cluster", images, "-o", out, *SMALL, "--folders", "copy", "--overwrite", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["images"] == 24
    assert sorted({Path(row["path"]).parent.name for row in table(Path(out, "groups.csv"))}) == ["day0", "day1"]


def test_settings_that_are_given_are_kept(crops, capsys):
    main(["cluster", "crops", "-o", "out", *SMALL, "--eps", "0.45", "--k1", "6", "--k2", "1", "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert (summary["eps"], summary["k1"], summary["k2"]) == (0.45, 6, 1)
    assert "given" in summary["reasons"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cluster", "nowhere", "-o", "out"], "there are no images at nowhere"),
        (["cluster", "empty", "-o", "out"], "no images in empty or below it"),
        (["cluster", "crops", "-o", "crops"], "all the images are in crops"),
        (["cluster", "crops", "-o", "full"], "full holds other files (notes.txt)"),
        (["cluster", "crops", "-o", "file"], "file is a file"),
        (["cluster", "crops", "-o", "file/out"], "[cannot-write]"),
        (["cluster", "crops", "-o", "out", "--eps", "1.5"], "--eps is 1.5"),
        (["cluster", "crops", "-o", "out", "--min-samples", "1"], "--min-samples is 1"),
        (["cluster", "crops", "-o", "out", "--k1", "0"], "[setting-out-of-range]"),
        (["cluster", "crops", "-o", "out", "--checkpoint", "no.pth.tar"], "there is no checkpoint no.pth.tar"),
        (["cluster", "broken", "-o", "out"], "none of the 2 images can be read"),
        (["cluster", "crops", "-o", "out", "--min-size", "-1"], "[setting-out-of-range]"),
        (["suggest", "nowhere"], "there are no images at nowhere"),
        (["suggest", "crops", "--columns", "path"], "--columns has 'path'; expected pairs"),
        (["suggest", "crops", "--min-samples", "1"], "--min-samples is 1"),
        (["suggest", "crops", "--picture", "full"], "[not-a-file]"),
        (["suggest", "crops", "--picture", "file/s.png"], "[cannot-write]"),
        (["suggest", "crops", "--checkpoint", "full/notes.txt"], "cannot be read"),
    ],
)
def test_refusals(crops, capsys, words, message):
    (crops / "empty").mkdir()
    for name in ("full/notes.txt", "broken/1.jpg", "broken/2.jpg"):
        (crops / name).parent.mkdir(exist_ok=True)
        (crops / name).write_text("text")
    (crops / "file").write_text("")
    small = SMALL[4:] if "--checkpoint" in words else SMALL  # a checkpoint has its own network and weights
    assert message in refused([words[0], *small, *words[1:]], capsys)
    assert not (crops / "out/groups.csv").exists()


def test_suggest_tells_and_draws(crops, capsys):
    main(["suggest", "crops", *SMALL, "--picture", "curves/s.png"])
    printed = capsys.readouterr().out
    main(["suggest", "crops", *SMALL, "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert f"eps {plain['eps']:g}, k1 {plain['k1']}, k2 {plain['k2']} (min-samples 4), because" in printed
    network = "--arch timm/test_resnet --pretrained none"
    assert plain["command"].startswith(f"spcl train crops --recipe spcl --height 128 --width 64 {network} --eps ")
    assert plain["command"] in printed and "--recipe person in place of --recipe spcl" in printed
    for reason in plain["reasons"]:
        assert reason in printed
    assert plain["curve"]["num_clusters"][plain["curve"]["eps"].index(plain["eps"])] == 4
    assert plain["images"] == 24
    with Image.open(crops / "curves/s.png") as picture:
        assert picture.height > picture.width > 400


def test_an_encoder_of_ones_own_has_its_own_weights_and_network(crops, capsys):
    write_checkpoint(crops / "c.pth.tar")
    words = shlex.split("crops --checkpoint c.pth.tar --device cpu")
    for command in (["suggest", *words], ["cluster", *words, "-o", "out"]):
        assert "c.pth.tar is a checkpoint of timm/test_resnet, not of resnet50" in refused(
            [*command, "--arch", "resnet50"], capsys
        )
        assert "--pretrained none is for a network without a checkpoint" in refused(
            [*command, "--pretrained", "none"], capsys
        )
        assert "c.pth.tar keeps the range that it was trained with" in refused([*command, "--range", "0:4095"], capsys)
        assert "expected auto, full, or the values" in refused([*command, "--range", "9"], capsys)
    main(["suggest", *words, "--arch", "timm/test_resnet"])
    printed = capsys.readouterr().out
    assert "encoder: c.pth.tar, images of" in printed
    # The command trains the encoder that was looked with, at its own size.
    assert "spcl train crops --recipe spcl --from-checkpoint c.pth.tar --arch timm/test_resnet --eps " in printed


def test_the_suggested_command_is_complete_and_says_what_it_would_not_read(crops, capsys):
    main(["suggest", "crops", *SMALL, "--min-samples", "3", "--data-dir", "elsewhere"])
    printed = capsys.readouterr().out
    assert "--min-samples 3 --data-dir elsewhere\n" in printed
    assert "warning" not in printed
    # The network that was looked with, where one was named.
    assert " --arch timm/test_resnet --pretrained none " in printed
    draw(crops / "crops" / "day0" / "old" / "1.jpg", 1)
    main(["suggest", "crops", *SMALL, "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert "--min-samples" not in plain["command"]
    # Training reads all images below a folder, too.
    assert (plain["training_note"], plain["images"]) == ("", 25)
    (crops / "crops" / "train").mkdir()
    for number in range(24):
        image = crops / "crops" / f"day{number % 2}" / f"{number // 2:02d}.jpg"
        image.replace(crops / "crops" / "train" / f"{number}.jpg")
    main(["suggest", "crops", *SMALL, "--json", "--duplicates", "first"])
    plain = json.loads(capsys.readouterr().out)
    assert plain["training_note"].startswith("spcl train learns from 24 of these 25 images")
    assert "--duplicates first" in plain["command"]


def test_what_was_found_is_told_before_it_is_drawn(crops, capsys, monkeypatch):
    def full(path, found):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spcl.grouping.suggestion_picture.suggestion_picture", full)
    with pytest.raises(SystemExit):
        main(["suggest", "crops", *SMALL, "--picture", "s.png"])
    printed = capsys.readouterr()
    assert "to train with it, by the paper's recipe:" in printed.out
    assert "cannot write s.png: No space left on device" in printed.err


def test_memory_is_advised_by_flags_that_there_are(crops, capsys, monkeypatch):
    monkeypatch.setattr("spcl.grouping.label_stage._REPORTED_FROM", 0)
    monkeypatch.setattr(
        "spcl.grouping.label_stage.psutil.virtual_memory", lambda: SimpleNamespace(available=1, total=64 * 10**9)
    )
    told = refused(["cluster", "crops", "-o", "out", *SMALL], capsys)
    assert "a smaller --k1 (now 30), at most about" in told
    assert "--features" not in told
    told = refused(["suggest", "crops", *SMALL], capsys)
    assert "What helps: at most about" in told


def test_suggest_with_too_few_images(crops, capsys):
    main(["suggest", "crops/day0/00.jpg", *SMALL, "--picture", "s.png"])
    printed = capsys.readouterr().out
    assert "1 image(s) cannot form a cluster" in printed
    assert "no picture: nothing was tried" in printed
    assert not (crops / "s.png").exists()
    main(["cluster", "crops/day0/00.jpg", "-o", "out", *SMALL])
    assert "0 groups of 0 images; 1 images are in no group" in capsys.readouterr().out
    assert table(crops / "out/groups.csv")[0]["group"] == "-1"
