"""Every code block of the README runs."""

from __future__ import annotations

import re

from tests.journeys.pages import blocks_of, run_blocks, write_readers_folder
from tests.shared import PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text()


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    write_readers_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of("README.md")
    assert {language for language, _ in blocks} == {"bash", "python"}
    assert len(blocks) >= 8
    run_blocks("README.md")
    assert (tmp_path / "my_groups" / "groups.csv").exists()
    assert "last epoch:" in capsys.readouterr().out
    assert (tmp_path / "my_ranking.png").exists()


def test_its_make_targets_exist():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
