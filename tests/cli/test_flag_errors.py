"""Errors in the words of a command line: one line, a stable code, exit code 2."""

from __future__ import annotations

import pytest

from spcl.cli.main import main, run_guarded
from spcl.cli.official import train_usl


def refused(run, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        run()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        ("cluster a b", "too-many-arguments", "a b; for several folders give the folder above them"),
        ("cluster a b -o out", "too-many-arguments", "a b"),
        ("embed c.pth a b", "too-many-arguments", "c.pth a b"),
        ("datasets x", "too-many-arguments", "x"),
        ("cluster a --epx 3", "unknown-flag", "did you mean --eps?"),
        ("cluster a -o x --no-json", "unknown-flag", "--no-json"),
        ("train x --batchsize 4", "unknown-flag", "did you mean --batch-size?"),
        ("train x --data.epochs 3", "unknown-flag", "did you mean --epochs?"),
        ("train x -z", "unknown-flag", "-z"),
        ("cluster a", "missing-argument", "--out FOLDER is missing"),
        ("cluster", "missing-argument", "IMAGES and --out FOLDER are missing"),
        ("adapt c.pth", "missing-argument", "IMAGES is missing"),
        ("train x --epochs", "missing-argument", "--epochs expects N"),
        ("suggest x --arch --json", "missing-argument", "--arch expects NETWORK"),
        ("embed", "missing-argument", "images is missing"),
        ("sweep spcl", "missing-argument", "RECIPE DATA"),
        ("runs", "missing-argument", "runs/*"),
        ("cluster a -o x --eps foo", "bad-value", "--eps is 'foo'; expected a number or auto"),
        ("cluster a -o x --eps=foo", "bad-value", "--eps is 'foo'"),
        ("train x --epochs 2.5", "bad-value", "--epochs is '2.5'; expected a whole number"),
        ("train x --batch_size x", "bad-value", "--batch_size is 'x'"),
        ("train x --check some", "bad-value", "--check is 'some'; expected sample or all"),
        ("train x --resume=false", "bad-value", "--resume takes no value"),
        ("search g q --top -1", "setting-out-of-range", "--top is -1"),
        ("search g q --top", "missing-argument", "--top expects N"),
        ("sweep a b --seed x", "bad-value", "--seed is 'x'"),
        ("nothing", "no-such-command", "'nothing'"),
        ("clutser a", "no-such-command", "did you mean 'cluster'"),
    ],
)
def test_one_line_with_a_code(words, code, named, capsys):
    shown = refused(lambda: main(words.split()), capsys)
    assert shown.endswith(f" [{code}]\n"), shown
    assert named in shown
    if code in ("too-many-arguments", "unknown-flag", "bad-value"):
        assert f"spcl {words.split()[0]} --help" in shown


def test_official_scripts_too(capsys):
    shown = refused(lambda: run_guarded(lambda: train_usl(["--epoch", "x"])), capsys)
    assert "--epochs is 'x'" in shown
    assert shown.endswith("[bad-value]\n")
    assert "[unknown-flag]" in refused(lambda: run_guarded(lambda: train_usl(["--stepsize", "3"])), capsys)


def test_a_refused_setting_is_named_as_its_flag_is_written(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "images", "--batch-size", "1"])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert "[setting-out-of-range]" in printed and "--batch-size is 1" in printed
