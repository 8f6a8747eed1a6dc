"""Runs the code blocks of a page in their order, on small data; only the size of the runs is set."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from spcl.cli.main import main
from tests.fakes import draw, write_fake
from tests.journeys.test_official_commands import SMALL as SMALL_OFFICIAL
from tests.journeys.test_official_commands import run as run_official
from tests.shared import PROJECT_ROOT

_STEPS = "--batch-size 8 --iters 2 --epochs 1 --k1 6 --k2 2"
SMALL_TRAIN = f"--arch timm/test_resnet --pretrained none --height 32 --width 16 {_STEPS}"
SMALL_DEMO = (
    "--arch timm/test_resnet --pretrained none --train-identities 4 --test-identities 3 --images-per-camera 2"
    " --epochs 1 --iters 2 --batch-size 8"
)
SMALL = {"train": SMALL_TRAIN, "demo": SMALL_DEMO, "adapt": _STEPS}


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and code of each block of a page of the project."""
    text = (PROJECT_ROOT / page).read_text()
    return re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL)


def write_readers_folder(folder: Path) -> None:
    """What the pages speak of: a reader's crops, tables and data sets."""
    lines = ["path,identity,camera,split"]
    for number in range(24):
        path = draw(folder / "my_crops" / f"{number:03d}.jpg", number // 4, number)
        split = ("train", "train", "query", "gallery")[number % 4]
        lines.append(f"{path.relative_to(folder)},{number // 4},{number % 4},{split}")
    (folder / "my_cameras.csv").write_text("\n".join(lines))
    labelled = write_fake("personx", folder / "elsewhere")
    (folder / "labelled_persons").symlink_to(labelled)
    for name in ("market1501", "personx"):
        write_fake(name, folder / "examples/data")


def run_blocks(page: str) -> None:
    """Run every block of a page in the present folder."""
    for language, code in blocks_of(page):
        if language == "python":
            exec(compile(code, page, "exec"), {})
        else:
            for line in code.strip().splitlines():
                run_line(line)


def run_line(line: str) -> None:
    """Run a line of the shell: pip is not run, its extras must exist."""
    words = shlex.split(line, comments=True)
    if not words:
        return
    if words[0] == "pip":
        extras = re.findall(r"\[([\w,]+)\]", line)
        project = (PROJECT_ROOT / "pyproject.toml").read_text()
        for extra in (name for part in extras for name in part.split(",")):
            assert re.search(rf"^{extra} = \[", project, flags=re.MULTILINE), extra
    elif words[0] == "python":
        small = SMALL_OFFICIAL if "train" in words[1] else "-a timm/test_resnet --height 32 --width 16 -j 2"
        run_official(line, small)
    else:
        assert words[0] == "spcl"
        main([*words[1:], *shlex.split(SMALL.get(words[1], ""))])
