"""Runs the code blocks of a page in their order, on small data; only the size of the runs is set."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise, product
from pathlib import Path

import pytest

from spcl.cli.main import main
from tests.fakes import draw, write_fake
from tests.footage.small_video import frames, write_mot, write_video
from tests.journeys.test_official_commands import SMALL as SMALL_OFFICIAL
from tests.journeys.test_official_commands import run as run_official
from tests.shared import PROJECT_ROOT

_STEPS = "--batch-size 8 --iters 2 --epochs 1 --k1 6"
_WRITTEN = (
    "-o",
    "--out",
    "--output",
    "--gallery",
    "--logs-dir",
    "--save-picture",
    "--picture",
    "--per-query",
    "--groups",
)
SMALL_TRAIN = f"--arch timm/test_resnet --pretrained none --height 32 --width 16 {_STEPS}"
SMALL_DEMO = (
    "--arch timm/test_resnet --pretrained none --train-identities 4 --test-identities 3 --images-per-camera 2"
    " --epochs 1 --iters 2 --batch-size 8"
)
SMALL_SWEEP = (
    "--set network.arch=timm/test_resnet network.pretrained=none data.height=32 data.width=16 labels.k1=6"
    " schedule.batch_size=8 schedule.epochs=1 schedule.iters=1"
)
SMALL = {"train": SMALL_TRAIN, "demo": SMALL_DEMO, "adapt": _STEPS, "sweep": SMALL_SWEEP}
_NAMED_IMAGE = re.compile(r"\S+/(\d{4})_c\d+s\d+_(\d{6})_\d{2}\.jpg")


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


def write_footage(folder: Path) -> None:
    """Videos of two cameras, each with the boxes of a tracker, and a table of the reader's crops with tracks."""
    pytest.importorskip("av")
    for camera, identities in (("gate", (0, 1)), ("yard", (1, 2))):
        pictures, rows = frames(identities=identities)
        write_video(folder / f"{camera}.mp4", pictures)
        write_mot(folder / f"{camera}.txt", rows)
    lines = ["path,identity,camera,track,frame"]
    lines += [f"my_crops/{n:03d}.jpg,{n // 4},{n // 2 % 2},{n // 2},{n}" for n in range(24)]
    (folder / "my_travel.csv").write_text("camera_a,camera_b,min_seconds,max_seconds\ngate,yard,5,60\n")
    (folder / "my_sightings.csv").write_text("\n".join(lines))
    (pairs,) = (code for _, code in blocks_of("docs/tracks.md") if code.startswith("path_a"))
    (folder / "my_pairs.csv").write_text(pairs)


def write_months(folder: Path) -> None:
    """Images of three months: eight objects, then two of them and a new one, then the new one and another."""
    for month, objects in (("january", range(8)), ("february", (0, 1, 20)), ("march", (0, 20, 21))):
        for number in objects:
            for shot in range(6):
                draw(folder / month / f"{number:02d}_{shot}.jpg", number, 10 * len(month) + shot)


def run_blocks(page: str) -> None:
    """Run every block of a page in the present folder; blocks of text are what was printed where it was written."""
    for language, code in blocks_of(page):
        if language == "python":
            exec(compile(code, page, "exec"), {})
        elif language == "bash":
            for line in code.strip().splitlines():
                run_line(line)
        else:
            assert language == "text", language


def commands_of(page: str) -> list[list[str]]:
    """The words of each command line of a page."""
    lines = [line for language, code in blocks_of(page) if language == "bash" for line in code.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def written_by(page: str) -> set[Path]:
    """The files and folders that the commands of a page say they write."""
    found = set()
    for words in commands_of(page):
        found |= {Path(after) for word, after in pairwise(words) if word in _WRITTEN}
        if words[:2] == ["spcl", "export"]:
            found.add(Path(words[words.index("--hub") + 1 if "--hub" in words else 3]))
    return found


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
        draw_named_images(words)
        main([*words[1:], *shlex.split(SMALL.get(words[1], ""))])


def draw_named_images(words: list[str]) -> None:
    """The images in Market-1501's layout that a line names, where the small data set that stands in has others."""
    for word in words:
        named = _NAMED_IMAGE.fullmatch(word)
        if named and not Path(word).exists():
            assert Path(word).parent.is_dir(), word
            draw(Path(word), int(named[1]), int(named[2]))


def write_herd(folder: Path) -> None:
    """A small data set in the place and the layout of the cattle."""
    for number in range(1, 25):
        for camera, shot in product((1, 2), range(3)):
            split = "bounding_box_train" if number % 2 else "query" if shot == 0 else "bounding_box_test"
            name = f"{number:04d}_c{camera}s1_{900 + shot:06d}_00.jpg"
            draw(folder / "cattle" / split / name, number, 10 * camera + shot)


def commands_not_run(page: str) -> list[list[str]]:
    """The words of each command in an indented block, which is not run: it needs other data, several nodes or hours."""
    text = re.sub(r"```.*?```", "", (PROJECT_ROOT / page).read_text(), flags=re.DOTALL)
    lines = re.findall(r"^    (\S.*)$", re.sub(r"\\\n\s*", "", text), flags=re.MULTILINE)
    programs = ("spcl ", "python ", "torchrun ", "accelerate ", "sbatch ")
    return [shlex.split(re.split(r"\s{3,}", line)[0]) for line in lines if line.startswith(programs)]


def sections_of(page: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"^## (.+)$", (PROJECT_ROOT / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
