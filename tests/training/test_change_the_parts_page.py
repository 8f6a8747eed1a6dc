"""docs/change-the-parts.md: every block runs; one that begins with a file's name is written to that file."""

from __future__ import annotations

import re
import shlex

import spcl
from spcl.cli.main import main
from tests.fakes import draw
from tests.journeys.pages import blocks_of
from tests.training_run.small_runs import SMALL

PAGE = "docs/change-the-parts.md"
ONE_EPOCH = {"schedule.epochs": 1, "schedule.iters": 2}
SMALL_FLAGS = shlex.split(
    "--arch timm/test_resnet --pretrained none --height 32 --width 16 --batch-size 8 --iters 2 --epochs 1"
    " --batch-norm-group 4 --device cpu"
)


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    for number in range(24):
        draw(tmp_path / "my_crops" / f"{number:03d}.png", number // 4, number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    train = spcl.train

    def small(target, **given):
        values = {f"{section}.{name}": value for section, part in SMALL.items() for name, value in part.items()}
        # A setting of the paper's labels, which the default recipe does not have.
        del values["labels.k2"]
        if "labeller" in given:
            values = {name: value for name, value in values.items() if not name.startswith("labels.")}
        return train(target, overrides=values | ONE_EPOCH, **given)

    monkeypatch.setattr(spcl, "train", small)
    written = []
    for language, code in blocks_of(PAGE):
        named = re.match(r"# (\w+\.(py|toml))\n", code)
        if named:
            (tmp_path / named[1]).write_text(code)
            written.append(named[1])
            if named[2] == "py":
                # The class and what it imports: twenty lines or so.
                assert len([line for line in code.splitlines() if line.strip()]) <= 22
        elif language == "python":
            exec(compile(code, PAGE, "exec"), {})
        else:
            assert language == "bash"
            for line in code.strip().splitlines():
                main([*shlex.split(line)[1:], *SMALL_FLAGS])
    assert written == ["my_loss.py", "my_clustering.py", "mine.toml", "hardest.toml"]
    assert spcl.load_recipe(tmp_path / "hardest.toml").memory.update == "hardest"
    printed = capsys.readouterr().out
    assert "'triplet': {'target': " in printed
    assert " clusters" in printed
    assert "1 " in printed
    for name in ("triplet", "linkage", "mine", "teacher", "heard"):
        assert (tmp_path / "runs" / name / "checkpoint.pth.tar").stat().st_size
