"""The command line: settings over one another, clear refusals with exit code 2, results where they are said to be."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spcl import DemoRequest, run_demo
from spcl.cli import main as cli
from spcl.cli import official
from spcl.cli.main import main, run_guarded
from spcl.cli.train import parsed_recipe
from spcl.config import load_config, load_recipe, read_settings
from spcl.demo.run_demo import ENCODERS
from spcl.errors import InputError
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw, write_fake
from tests.shared import IMPORT_PATH

SMALL = shlex.split(
    "--arch timm/test_resnet --pretrained none --height 32 --width 16 --batch-size 8 --iters 2 --epochs 2"
    " --eval-step 1 --k1 6 --k2 2 --device cpu --recipe spcl"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_fake("market1501", tmp_path / "examples/data")
    return tmp_path


def refused(words: list[str], capsys) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(r" \[[a-z-]+\]\n$", error)
    assert "Traceback" not in error
    return error


def test_train_evaluate_and_what_is_left(folder, capsys):
    main(["train", "market1501", *SMALL, "--logs-dir", "runs/a"])
    printed = capsys.readouterr().out
    assert "target: market1501, 18 training images, 9 queries" in printed
    assert "published are 751 / 12936" in printed
    assert "last epoch: runs/a/checkpoint.pth.tar" in printed
    assert "best epoch: runs/a/model_best.pth.tar" in printed
    assert "target mAP: last" in printed
    rows = [json.loads(line) for line in (folder / "runs/a/metrics.jsonl").read_text().splitlines()]
    assert load_config(folder / "runs/a/config.toml").schedule.iters == 2
    main(["evaluate", "runs/a/checkpoint.pth.tar", "market1501", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["mAP"] == pytest.approx(rows[-1]["mAP"], abs=1e-6)
    assert figures["protocol"] == "market1501"
    main(["evaluate", "runs/a/checkpoint.pth.tar", "market1501", "--rerank", "--protocol", "no-camera"])
    printed = capsys.readouterr().out
    assert "protocol no-camera, 9 of 9 queries can match" in printed
    assert "after re-ranking" in printed


def test_broken_test_images_are_told_by_training_and_evaluation(folder, capsys):
    lost = next((folder / "examples/data/market1501").rglob("bounding_box_test/00*_c1*"))
    lost.write_bytes(b"no image")
    told = "1 image(s) could not be read and are ranked as grey: "
    main(["train", "market1501", *SMALL, "--logs-dir", "runs/a", "--on-broken", "skip"])
    assert f"{told}{lost.relative_to(folder)}" in capsys.readouterr().out
    rows = [json.loads(line) for line in (folder / "runs/a/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["broken"] == 1
    words = ["evaluate", "runs/a/checkpoint.pth.tar", "market1501", "--on-broken", "skip"]
    main(words)
    assert capsys.readouterr().out.count(lost.name) == 1
    main([*words, "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["broken"] == [str(lost.relative_to(folder))]
    assert any("published are 751 / 12936" in note for note in figures["notes"])


def test_the_file_lies_over_the_recipe_and_the_line_over_the_file(tmp_path):
    (tmp_path / "mine.toml").write_text('[labels]\nk1 = 12\nthreshold = 0.7\n[run]\nlogs_dir = "x"\n')
    _, settings = parsed_recipe(["x", "--recipe", "person", "--config", str(tmp_path / "mine.toml"), "--k1", "9"])
    assert (settings.network.pooling, settings.labels.k1, settings.labels.threshold) == ("gem", 9, 0.7)


@pytest.mark.parametrize(
    "words",
    [
        ["--recipe", "quick", "--recipe", "vehicle"],
        ["--recipe=quick", "--recipe=vehicle"],
        ["--recipe", "quick", "--recipe=vehicle"],
    ],
)
def test_of_a_flag_given_twice_the_last_counts(words):
    options, settings = parsed_recipe(["x", *words])
    assert options.recipe == "vehicle"
    assert settings == load_recipe("vehicle")


def test_a_flag_may_be_written_with_low_lines(tmp_path):
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    path = tmp_path / "c.pth.tar"
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), path)
    _, settings = parsed_recipe(["x", "--from_checkpoint", str(path)])
    assert (settings.network.arch, settings.data.height, settings.data.width) == ("timm/test_resnet", 32, 16)


def test_a_source_and_a_target_by_name(folder, capsys):
    write_fake("personx", folder / "examples/data")
    main(["train", "--source", "personx", "--target", "market1501", *SMALL, "--logs-dir", "uda", "--json"])
    result = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in (folder / "uda/metrics.jsonl").read_text().splitlines()]
    assert (result["folder"], result["best_epoch"]) == ("uda", 1)
    assert [epoch["mAP"] for epoch in result["epochs"]] == [row["mAP"] for row in rows]
    main(["evaluate", "uda/model_best.pth.tar", "personx", "--domain", "source"])
    assert "personx: protocol market1501" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "did you mean 'train'?"),
        (["train", *SMALL], "no images are given"),
        (["train", "nowhere/x", *SMALL], "there is no data set 'nowhere/x'"),
        (["train", "market1501", *SMALL, "--target", "veri"], "[option-contradiction]"),
        (["train", "market1501", *SMALL, "--recipe", "spc"], "there is no recipe 'spc'; there are person, quick, spcl"),
        (["train", "market1501", *SMALL, "--config", "no.toml"], "cannot read the settings file no.toml"),
        (["train", "market1501", *SMALL[2:], "--arch", "resnet49"], "there is no network 'resnet49'"),
        (["train", "market1501", *SMALL, "--device", "cuda:77"], "device 'cuda:77'"),
        (["train", "market1501", *SMALL, "--source-only"], "--source-only needs a labelled source"),
        (["train", "empty", *SMALL], "is empty"),
        (["evaluate", "no.pth.tar", "market1501"], "there is no checkpoint no.pth.tar"),
        (["evaluate", "notes.txt", "market1501"], "cannot be read"),
    ],
)
def test_refusals(folder, capsys, words, message):
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("no checkpoint")
    assert message in refused(words, capsys)


@pytest.mark.parametrize("words", [["--eps", "0.99"], ["--batch-size", "1"], ["--momentum", "2"]])
def test_values_out_of_range_are_refused(folder, capsys, words):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "market1501", "--logs-dir", "x", *words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "expected" in error
    assert "Traceback" not in error
    assert not (folder / "x").exists()


def test_unknown_flags_are_refused(folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "market1501", "--epsilon", "1"])
    assert stopped.value.code == 2


def test_a_run_is_never_overwritten(folder, capsys):
    main(["train", "market1501", *SMALL, "--logs-dir", "a"])
    before = (folder / "a/checkpoint.pth.tar").stat().st_mtime_ns
    assert "a holds a run already; continue it with --resume" in refused(
        ["train", "market1501", *SMALL, "--logs-dir", "a"], capsys
    )
    main(["train", "market1501", *SMALL, "--logs-dir", "a", "--resume"])
    assert "this run has finished its 2 epochs" in capsys.readouterr().out
    assert (folder / "a/checkpoint.pth.tar").stat().st_mtime_ns == before
    (folder / "file").write_text("")
    assert "is a file" in refused(["train", "market1501", *SMALL, "--logs-dir", "file"], capsys)


def test_broken_images(folder, capsys):
    for number in range(12):
        draw(folder / "crops" / f"{number}.jpg", number % 3, number)
    (folder / "crops" / "3.jpg").write_bytes(b"broken")
    error = refused(["train", "crops", *SMALL, "--logs-dir", "a", "--check", "all"], capsys)
    assert "1 image(s) of crops (training) cannot be read: crops/3.jpg" in error
    assert "--on-broken skip" in error
    main(["train", "crops", *SMALL, "--logs-dir", "a", "--on-broken", "skip"])
    printed = capsys.readouterr().out
    assert "crops/3.jpg" in printed
    assert "They are left out" in printed
    assert "target: crops, 11 training images" in printed


def test_queries_that_cannot_match_are_found_before_training(folder, capsys):
    lines = ["path,identity,camera,split"]
    for number in range(12):
        draw(folder / "c" / f"{number}.png", number % 3, number)
        lines.append(f"c/{number}.png,{number % 3},0,{('train', 'query', 'gallery')[number % 3]}")
    (folder / "m.csv").write_text("\n".join(lines))
    assert "no query of m can match under the protocol market1501" in refused(
        ["train", "m.csv", *SMALL, "--logs-dir", "a"], capsys
    )
    assert not (folder / "a").exists()


def test_datasets(folder, capsys):
    main(["datasets", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert "market1501" in {status["name"] for status in found["datasets"]}
    main(["datasets"])
    printed = capsys.readouterr().out
    assert "market1501" in printed
    assert "published: 751 / 12936" in printed
    assert "not found" in printed


def test_help_and_version(capsys):
    for words, code in ((["--help"], 0), ([], 2), (["--version"], 0)):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == code
    assert "spcl 0." in capsys.readouterr().out


def test_control_c(capsys):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run_guarded(interrupted)
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "\nstopped\n"


@pytest.mark.parametrize("words", [["--help"], ["datasets"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_error(words, unbuffered):
    """As in ``spcl --help | head -1``: the reader has gone before all is written."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "spcl", *words],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


def test_control_c_while_a_command_is_loaded(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "x"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err.strip().startswith("stopped; give the same command again")


def test_no_permission(capsys):
    def forbidden():
        raise PermissionError(13, "Permission denied", "secret/folder")

    with pytest.raises(SystemExit) as stopped:
        run_guarded(forbidden)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "error: no permission to read or write secret/folder; give another place, or change who may [no-permission]\n"
    )


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "spcl", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("spcl ")


def test_demo_in_small(folder, capsys):
    words = shlex.split(
        "demo --arch timm/test_resnet --pretrained none --train-identities 4 --test-identities 3"
        " --images-per-camera 2 --epochs 1 --iters 2 --batch-size 8"
    )
    main(words)
    summary = json.loads((folder / "runs/demo/summary.json").read_text())
    for name in ENCODERS:
        assert 0 <= summary[name]["mAP"] <= 1
        assert 0 <= summary[name]["top1"] <= 1
    assert {"render", "source_only", "spcl", "spcl: train", "true_labels", "all"} <= set(summary["seconds"])
    assert (folder / "runs/demo/ranked.png").stat().st_size > 10000
    assert "On the street" in capsys.readouterr().out
    small = {"train_identities": 4, "test_identities": 3, "images_per_camera": 2, "epochs": 1, "iters": 2}
    shown = run_demo(DemoRequest(arch="timm/test_resnet", pretrained="none", batch_size=8, **small))
    assert capsys.readouterr() == ("", "")  # a finished demo gives its figures again
    assert shown.figures["spcl"] == summary["spcl"]
    kinds = {
        name: read_settings(folder / "runs/demo" / name / "config.toml")["labels"]["kind"]
        for name in ("spcl", "spcl_plus", "true_labels")
    }
    assert kinds["spcl"] == "self-paced" and kinds["spcl_plus"] == "average-linkage"
    assert kinds["true_labels"] == "spcl.demo.true_labels:TrueLabels"
    rows = (folder / "runs/demo/true_labels/metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["num_clusters"] == 4  # the training persons
    assert shown.to_dict() == json.loads((folder / "runs/demo/summary.json").read_text())
    assert shown.picture.is_file()
    assert "[folder-not-empty]" in refused([*words, "--seed", "5"], capsys)
    main([*words, "--seed", "5", "--restart"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "epochs is 0; expected at least 1"),
        (["--batch-size", "1"], "batch_size is 1; expected at least 2 images"),
        (["--images-per-camera", "1"], "images_per_camera is 1; expected at least 2"),
        (["--train-identities", "0"], "train_identities is 0; expected at least 1"),
        (["--test-identities", "0"], "test_identities is 0; expected at least 1"),
        (["--arch", "timm/test_resnt"], "timm has no model 'test_resnt'"),
        (["--pretrained", "no.pth"], "there is no weights file no.pth"),
    ],
)
def test_a_demo_that_cannot_be_is_refused_before_anything_is_written(folder, capsys, words, message):
    small = ["--arch", "timm/test_resnet", "--train-identities", "2", "--images-per-camera", "2"]
    # A file that is named twice is refused for that.
    small += [] if "--pretrained" in words else ["--pretrained", "none"]
    assert message in refused(["demo", *small, *words], capsys)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("local_rank", "told"), [("0", "error: there is no command 'tran'"), ("1", "error: process 3 of 4: there is no ")]
)
def test_before_processes_join_the_first_of_a_machine_tells_the_error(capsys, monkeypatch, local_rank, told):
    monkeypatch.setattr("spcl.cli.main._PATIENCE", 0.0)  # nobody ends the other: it alone has found it
    for name, value in {"WORLD_SIZE": "4", "RANK": f"{2 + int(local_rank)}", "LOCAL_RANK": local_rank}.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        main(["tran"])
    signal.signal(signal.SIGTERM, before)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(told)


WAITS = """
import time
from spcl.cli.main import main

sleep = time.sleep
time.sleep = lambda seconds: (print("waits", flush=True), sleep(seconds))
main(WORDS)
"""


@pytest.mark.parametrize("words", [["tran"], ["evaluate", "c", "d", "--wrong"]])
def test_before_processes_join_the_others_are_ended_in_silence(words):
    second = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "PYTHONPATH": IMPORT_PATH}
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS.replace("WORDS", repr(words))],
        env=os.environ | second,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waits\n"
    process.terminate()
    _, told = process.communicate()
    assert (process.returncode, told) == (2, "")


def test_what_the_environment_and_the_system_leave_empty(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0

    def forbidden():
        raise PermissionError("not for you")

    with pytest.raises(SystemExit):
        run_guarded(forbidden)
    assert "no permission to read or write: not for you; give another place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "least"), [("--workers", "-1", 0), ("--batch-size", "0", 1), ("--batch-size", "-1", 1)]
)
def test_an_evaluation_with_nothing_to_work_with_is_refused(folder, capsys, flag, value, least):
    error = refused(["evaluate", "no.pth.tar", "market1501", flag, value], capsys)
    assert f"{flag} is {value}; expected at least {least}" in error
    assert error.endswith("[setting-out-of-range]\n")
    with pytest.raises(InputError, match=f"{flag} {value}") as official_error:
        official.run_test(["--resume", "no.pth.tar", flag, value])
    assert official_error.value.code == "setting-out-of-range"


def test_a_disk_that_takes_nothing_is_told(capsys):
    def full():
        raise OSError(28, "No space left on device", "some/file")

    with pytest.raises(SystemExit) as stopped:
        run_guarded(full)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        "error: cannot read or write some/file: No space left on device; free some space, or give another place "
        "[file-system]\n"
    )


def test_a_closed_output_is_no_error():
    closed = "import sys; sys.stdout = None; from spcl.cli.main import run_guarded; run_guarded(lambda: None)"
    done = subprocess.run(
        [sys.executable, "-c", closed], env=os.environ | {"PYTHONPATH": IMPORT_PATH}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


_SPEAKS = """
from spcl.cli.main import run_guarded
from spcl.reporting.console import ConsoleReporter
run_guarded(lambda: [ConsoleReporter().say("a line") for _ in range(100_000)])
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one():
    given = os.environ | {"PYTHONPATH": IMPORT_PATH}
    process = subprocess.Popen(
        [sys.executable, "-c", _SPEAKS], env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", _SPEAKS], env=given, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (
        2,
        "error: cannot write to the standard output: No space left on device; free some space, or send it elsewhere "
        "[no-space]\n",
    )


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        ("-j 0", "workers", 0),
        ("-j4", "workers", 4),
        ("-b8", "batch_size", 8),
        ("--batch_size 8", "batch_size", 8),
        ("--lr 1e-3", "lr", 0.001),
        ("--dropout 0", "dropout", 0.0),
        ("--features 0", "features", 0),
    ],
)
def test_official_flags_as_the_official_parser_takes_them(words, name, expected):
    assert getattr(official.parsed_flags(official.TrainUSL, words.split()), name) == expected


def test_a_comparison_of_a_folder_asks_for_one_image(tmp_path, capsys):
    assert f"{tmp_path} is a folder; give one image" in refused(["compare", "c.pth.tar", str(tmp_path), "b"], capsys)
