"""Every code block of the how-to pages runs, with a checkpoint of the reader's where the page does not make one."""

from __future__ import annotations

import functools
import io
import re
import shutil
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest

import spcl
from spcl.cli.main import main
from tests.journeys.pages import (
    blocks_of,
    commands_not_run,
    commands_of,
    run_blocks,
    run_line,
    sections_of,
    write_footage,
    write_herd,
    write_months,
    write_readers_folder,
    written_by,
)
from tests.shared import PROJECT_ROOT, slow_but

DOORS = ("folder-of-images", "cameras", "research")
PAGES = (
    *DOORS,
    "tracks",
    "search",
    "compare",
    "group",
    "correct",
    "road-of-a-year",
    "report",
    "adapt",
    "export",
    "scale",
    "other-programs",
    "trackers",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A reader's folder with a run in it."""
    folder = tmp_path_factory.mktemp("reader")
    write_readers_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_line("spcl train my_crops --logs-dir runs/mine")
    return folder


@pytest.mark.parametrize("page", slow_but(PAGES, "folder-of-images", "search", "export"))
def test_every_block_runs(page, trained, tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    shutil.copytree(trained, folder, symlinks=True)
    text = (PROJECT_ROOT / f"docs/{page}.md").read_text()
    if re.search(r"spcl train .*--logs-dir runs/mine\b", text):
        shutil.rmtree(folder / "runs")
    if page == "tracks":
        write_footage(folder)
    if page == "road-of-a-year":
        write_months(folder)
    monkeypatch.chdir(folder)
    run_blocks(f"docs/{page}.md")
    require_written(f"docs/{page}.md")


def test_exported_weights_give_the_same_features_in_plain_timm(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "reader", symlinks=True)
    monkeypatch.chdir(tmp_path / "reader")
    run_line("spcl export runs/mine/checkpoint.pth.tar encoder.safetensors")
    (plain,) = (code for _, code in blocks_of("docs/export.md") if "safe_open" in code)
    assert "spcl" not in plain
    names: dict[str, Any] = {}
    exec(compile(plain, "docs/export.md", "exec"), names)
    expected = spcl.load_encoder("runs/mine/checkpoint.pth.tar").embed("my_crops/000.jpg")
    np.testing.assert_allclose(names["features"].numpy(), expected, atol=1e-5)


def test_every_block_on_data_runs(tmp_path, monkeypatch, capsys):
    write_readers_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_blocks("docs/data.md")
    assert "24 ['camera', 'herd', 'split'] ()" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", ["walkthrough-street", "walkthrough-cattle"])
def test_every_command_on_the_data_of_a_walkthrough(page, tmp_path, monkeypatch):
    """On a small set of the same layout; and each command is there."""
    write_herd(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_blocks(f"docs/{page}.md")
    shown = {words[1] for words in commands_of(f"docs/{page}.md")}
    assert shown >= {
        *("train", "embed", "search", "cluster", "suggest", "calibrate", "compare", "identify", "adapt", "export")
    }
    require_written(f"docs/{page}.md")


def require_written(page: str) -> None:
    """What the page's commands say they write is there, and holds something."""
    written = written_by(page)
    assert written
    for path in written:
        assert any(path.iterdir()) if path.is_dir() else path.stat().st_size, path


def test_no_page_has_a_block_that_is_not_run():
    # The blocks of recipes are trainings of hours: only their flags are checked, below.
    elsewhere = {
        "serve",
        "data",
        "change-the-parts",
        "experiments",
        "recipes",
        "reliability",  # its blocks are make targets and tests
        "walkthrough-street",
        "walkthrough-cattle",
    }
    pages = {page.stem for page in (PROJECT_ROOT / "docs").glob("*.md") if blocks_of(f"docs/{page.name}")}
    assert pages <= {*PAGES, *elsewhere}


@pytest.fixture(scope="module")
def flags_of(tmp_path_factory):
    """The flags of a command, from its help."""

    @functools.cache
    def flags(command: str) -> set[str]:
        printed = io.StringIO()
        with redirect_stdout(printed), pytest.raises(SystemExit):
            main([command, "--help"])
        return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", printed.getvalue()))

    return flags


@pytest.mark.parametrize("page", sorted(path.name for path in (PROJECT_ROOT / "docs").glob("*.md")))
def test_the_flags_of_commands_that_are_not_run_exist(page, flags_of):
    for words in commands_not_run(f"docs/{page}"):
        if "benchmarks/" in words[1]:
            script, given = PROJECT_ROOT / words[1], words[2:]
            # The options of a script may be in a file beside it.
            source = "".join(file.read_text() for file in script.parent.glob(f"{script.stem}*.py"))
            known = {f"--{name.replace('_', '-')}" for name in re.findall(r"\w+", source)}
        elif "spcl" in words:
            command, *given = words[words.index("spcl") + 1 :]
            known = flags_of(command)
        else:
            continue
        positive = {word.partition("=")[0].replace("--no-", "--") for word in given if word.startswith("--")}
        missing = positive - {word.replace("--no-", "--") for word in known}
        assert not missing, f"{page}: {' '.join(words)}"


def test_the_flags_of_the_reference_exist(flags_of):
    seen = 0
    for title, text in sections_of("docs/cli.md").items():
        commands = re.findall(r"`spcl (\w+)`", title)
        known = set().union(*(flags_of(command) for command in commands))
        rows = re.findall(r"^\| (`-[^|]*) \|", text, flags=re.MULTILINE) if commands else []
        for flag in (flag for row in rows for flag in re.findall(r"(?<![\w-])--?[a-z][\w-]*", row)):
            assert flag in known, f"{title}: {flag}"
            seen += 1
    assert seen > 60
