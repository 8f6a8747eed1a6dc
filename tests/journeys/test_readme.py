"""Every code block of the README runs, in its order, on small data; only the size of the runs is set."""

from __future__ import annotations

import re
import shlex

import pytest

from spcl.cli.main import main
from tests.fakes import draw, write_fake
from tests.journeys.test_official_commands import SMALL as SMALL_OFFICIAL
from tests.journeys.test_official_commands import run as run_official
from tests.shared import PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
SMALL_TRAIN = (
    "--arch timm/test_resnet --pretrained none --height 32 --width 16 --batch-size 8 --iters 2 --epochs 1 --k1 6 --k2 2"
)
SMALL_DEMO = (
    "--arch timm/test_resnet --pretrained none --train-identities 4 --test-identities 3 --images-per-camera 2"
    " --epochs 1 --iters 2 --batch-size 8"
)


@pytest.fixture
def readers_folder(tmp_path, monkeypatch):
    """What the README speaks of: a reader's crops, tables and data sets."""
    lines = ["path,identity,camera,split"]
    for number in range(24):
        path = draw(tmp_path / "my_crops" / f"{number:03d}.jpg", number // 4, number)
        split = ("train", "train", "query", "gallery")[number % 4]
        lines.append(f"{path.relative_to(tmp_path)},{number // 4},{number % 4},{split}")
    (tmp_path / "my_cameras.csv").write_text("\n".join(lines))
    labelled = write_fake("personx", tmp_path / "elsewhere")
    (tmp_path / "labelled_persons").symlink_to(labelled)
    for name in ("market1501", "personx"):
        write_fake(name, tmp_path / "examples/data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_line(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "pip":
        extras = re.findall(r"\[(\w+)\]", line)
        project = (PROJECT_ROOT / "pyproject.toml").read_text()
        assert all(re.search(rf"^{extra} = \[", project, flags=re.MULTILINE) for extra in extras)
    elif words[0] == "python":
        small = SMALL_OFFICIAL if "train" in words[1] else "-a timm/test_resnet --height 32 --width 16 -j 2"
        run_official(line, small)
    else:
        assert words[0] == "spcl"
        small = {"train": SMALL_TRAIN, "demo": SMALL_DEMO}.get(words[1], "")
        main([*words[1:], *shlex.split(small)])


def test_every_block_runs(readers_folder, capsys):
    assert {language for language, _ in BLOCKS} == {"bash", "python"}
    assert len(BLOCKS) >= 8
    for language, code in BLOCKS:
        if language == "python":
            exec(compile(code, "README.md", "exec"), {})
        else:
            for line in code.strip().splitlines():
                run_line(line)
    assert "groups;" in capsys.readouterr().out


def test_its_commands_and_links_exist():
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("https://") or (PROJECT_ROOT / link).exists(), link
