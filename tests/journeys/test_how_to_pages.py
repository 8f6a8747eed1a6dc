"""Every code block of the how-to pages runs, with a checkpoint of the reader's where the page does not make one."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.journeys.pages import run_blocks, run_line, write_readers_folder
from tests.shared import PROJECT_ROOT

PAGES = ("search", "compare", "group", "adapt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A reader's folder with a run in it."""
    folder = tmp_path_factory.mktemp("reader")
    write_readers_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_line("spcl train my_crops --logs-dir runs/mine")
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, trained, tmp_path, monkeypatch):
    folder = tmp_path / "reader"
    shutil.copytree(trained, folder, symlinks=True)
    text = (PROJECT_ROOT / f"docs/{page}.md").read_text()
    if re.search(r"spcl train .*--logs-dir runs/mine\b", text):
        shutil.rmtree(folder / "runs")
    monkeypatch.chdir(folder)
    run_blocks(f"docs/{page}.md")
