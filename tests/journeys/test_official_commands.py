"""The official project's commands, as its README prints them, on small copies of its data sets.

Only the size of the run is set beside them: a small network, few and small steps, random weights.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from spcl.cli.main import run_guarded
from spcl.cli.official import run_test, train_uda, train_usl
from tests.fakes import write_fake
from tests.shared import PROJECT_ROOT

SCRIPTS = {"spcl_train_uda.py": train_uda, "spcl_train_usl.py": train_usl, "test.py": run_test}
SMALL = "-a timm/test_resnet --pretrained none -b 8 --iters 2 --epochs 1 --height 32 --width 16 --k1 6 --k2 2 -j 2"

UDA = [
    "python examples/spcl_train_uda.py -ds personx -dt market1501 --logs-dir logs/spcl_uda/personx2market_resnet50",
    "python examples/spcl_train_uda.py --iters 800 -ds market1501 -dt msmt17"
    " --logs-dir logs/spcl_uda/market2msmt_resnet50",
    "python examples/spcl_train_uda.py --iters 800 --height 224 --width 224 -ds vehicleid -dt veri"
    " --logs-dir logs/spcl_uda/vehicleid2veri_resnet50",
    "python examples/spcl_train_uda.py -ds vehiclex -dt vehicleid --logs-dir logs/spcl_uda/vehiclex2vehicleid",
]
USL = [
    "python examples/spcl_train_usl.py -d market1501 --logs-dir logs/spcl_usl/market_resnet50",
    "python examples/spcl_train_usl.py --iters 800 -d msmt17 --logs-dir logs/spcl_usl/msmt_resnet50",
    "python examples/spcl_train_usl.py --iters 800 --height 224 --width 224 -d veri"
    " --logs-dir logs/spcl_usl/veri_resnet50",
]


@pytest.fixture
def official_folder(tmp_path, monkeypatch):
    """A folder like the project's, with the six data sets in the places of the official README."""
    for name in ("market1501", "msmt17", "personx", "veri", "vehicleid", "vehiclex"):
        write_fake(name, tmp_path / "examples/data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str, added: str = "") -> None:
    """Run a printed command in this process; what is added at the end takes precedence over what is printed."""
    _python, script, *words = shlex.split(command)
    kept = without_repeated([*words, *shlex.split(added)])
    run_guarded(lambda: SCRIPTS[Path(script).name](kept))


def without_repeated(words: list[str]) -> list[str]:
    """The last value of each flag."""
    values: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("-"):
            values.pop(word, None)
            flag = word
            values[flag] = []
        else:
            values[flag].append(word)
    return [word for flag, given in values.items() for word in (flag, *given)]


def logs_of(command: str) -> Path:
    return Path(command.split("--logs-dir ")[1])


@pytest.mark.parametrize("command", [*UDA, *USL])
def test_training_leaves_the_official_files(command, official_folder):
    run(command, SMALL)
    logs = logs_of(command)
    for name in ("model_best.pth.tar", "checkpoint.pth.tar"):
        checkpoint = torch.load(logs / name, weights_only=True)
        assert checkpoint["epoch"] == 1
        assert isinstance(checkpoint["best_mAP"], float)
        names = list(checkpoint["state_dict"])
        assert all(name.startswith("module.") for name in names)
        assert any(".BN_S." in name for name in names) == (command in UDA)
        assert any(name.startswith("module.feat_bn.") for name in names)


def test_testing_as_printed(official_folder, capsys):
    run(UDA[1], SMALL)
    run(USL[0], SMALL)
    capsys.readouterr()
    small = "-a timm/test_resnet --height 32 --width 16 -j 2"
    model = "logs/spcl_uda/market2msmt_resnet50/model_best.pth.tar"
    run(f"python examples/test.py --dsbn -d msmt17 --resume {model}", small)
    run(f"python examples/test.py --dsbn --test-source -d market1501 --resume {model}", small)
    run("python examples/test.py -d market1501 --resume logs/spcl_usl/market_resnet50/model_best.pth.tar", small)
    run(
        "python examples/test.py -d market1501 --rerank --resume logs/spcl_usl/market_resnet50/model_best.pth.tar",
        small,
    )
    printed = capsys.readouterr().out
    assert printed.count("protocol market1501") == 4
    assert printed.count("after re-ranking") == 1


def test_a_plain_checkpoint_is_not_tested_with_dsbn(official_folder, capsys):
    run(USL[0], SMALL)
    with pytest.raises(SystemExit) as stopped:
        run(
            "python examples/test.py --dsbn -d market1501 --resume logs/spcl_usl/market_resnet50/model_best.pth.tar",
            "-a timm/test_resnet --height 32 --width 16",
        )
    assert stopped.value.code == 2
    assert "leave --dsbn out" in capsys.readouterr().err


def test_other_words_of_the_official_parser(official_folder):
    """No workers, no identity sampler, and the beginnings of flags."""
    added = SMALL.replace("-j 2", "-j0 --num-inst=0 --print 0 --weight 0 --lr 0")
    run(USL[0], added)
    assert "num_instances = 0" in (logs_of(USL[0]) / "config.toml").read_text()


def test_a_source_is_asked_for(official_folder, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("python examples/spcl_train_uda.py -dt market1501")
    assert stopped.value.code == 2
    assert "DukeMTMC" in capsys.readouterr().err


def test_the_scripts_are_thin():
    for name in SCRIPTS:
        assert len((PROJECT_ROOT / "examples" / name).read_text().splitlines()) < 15
