"""The Python examples run as they are."""

from __future__ import annotations

import functools
import runpy
import sys

import pytest
import torch

import spcl
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw
from tests.shared import PROJECT_ROOT


def test_group_features(capsys):
    runpy.run_path(str(PROJECT_ROOT / "examples/cluster_features.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("20 groups, 0 images in none")


def test_group_a_folder(tmp_path, monkeypatch, capsys):
    for number in range(12):
        draw(tmp_path / "crops" / f"{number:02d}.png", number // 6, number)
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    words = [str(tmp_path / name) for name in ("crops", "out", "c.pth.tar")]
    monkeypatch.setattr(sys, "argv", ["group_folder.py", *words])
    runpy.run_path(str(PROJECT_ROOT / "examples/group_folder.py"), run_name="__main__")
    assert "2 groups; 0 images are in none" in capsys.readouterr().out
    assert len(list((tmp_path / "out/groups").rglob("*.png"))) == 12


def test_embed_images(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    images = [str(draw(tmp_path / f"{number}.png", 1, number)) for number in range(2)]
    monkeypatch.setattr(sys, "argv", ["embed_images.py", str(tmp_path / "c.pth.tar"), *images])
    runpy.run_path(str(PROJECT_ROOT / "examples/embed_images.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"2 features of length {encoder.feature_dim}")
    assert 0.5 < float(printed[1]) <= 1.0


@pytest.mark.slow
def test_export_onnx(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    images = [str(draw(tmp_path / f"{number}.png", number)) for number in range(3)]
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", str(tmp_path / "c.pth.tar"), str(tmp_path / "c.onnx"), *images])
    runpy.run_path(str(PROJECT_ROOT / "examples/export_onnx.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{tmp_path / 'c.onnx'}: ")
    assert printed[1].startswith(f"3 features of length {encoder.feature_dim}")
    assert float(printed[1].split()[-1]) < 1e-5


def test_search_gallery(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    for number in range(12):
        draw(tmp_path / "my_crops" / f"{number // 4}_c{number % 4}.jpg", number // 4, number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["search_gallery.py", "c.pth.tar", "my_crops", "my_crops/1_c2.jpg"])
    for summary in ("12 images are new, 0 were there, 0 cannot be read", "0 images are new, 12 were there"):
        runpy.run_path(str(PROJECT_ROOT / "examples/search_gallery.py"), run_name="__main__")
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].startswith(summary)
        assert len(printed) == 6
        assert {line.split()[1] for line in printed[1:4]} == {
            str(tmp_path / f"my_crops/1_c{camera}.jpg") for camera in (0, 1, 3)
        }


def test_the_scripts_run_as_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spcl_train_uda.py", "--help"])
    for name in ("spcl_train_uda.py", "spcl_train_usl.py", "test.py"):
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(PROJECT_ROOT / "examples" / name), run_name="__main__")
        assert stopped.value.code == 0
        assert "--pretrained" in capsys.readouterr().out


def test_adapt_to_cameras(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    for number in range(20):
        draw(tmp_path / "crops" / f"{number:02d}_c{number % 2 + 1}.png", number // 4, number)
    words = [str(tmp_path / name) for name in ("c.pth.tar", "crops", "run")]
    # The example takes the default length, for a shorter one may do harm; here nothing depends on it.
    monkeypatch.setattr(spcl, "AdaptationSettings", functools.partial(spcl.AdaptationSettings, epochs=2, iters=5))
    monkeypatch.setattr(sys, "argv", ["adapt_to_cameras.py", *words])
    runpy.run_path(str(PROJECT_ROOT / "examples/adapt_to_cameras.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(("found_again: ", "mutual_neighbours: ", "across_cameras: ")) for line in printed) == 3
    assert printed[-1].startswith(f"features of length {encoder.feature_dim} from ")
    assert (tmp_path / "run/adapted.pth.tar").exists()


def test_identify(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "c.pth.tar")
    for number in range(24):
        draw(tmp_path / "known" / f"animal {number // 4}" / f"{number}.png", number // 4, number)
    for number in range(2):
        draw(tmp_path / "new" / f"{number}.png", 3, 90 + number)
    words = [str(tmp_path / name) for name in ("c.pth.tar", "known", "new")]
    monkeypatch.setattr(sys, "argv", ["identify.py", *words])
    runpy.run_path(str(PROJECT_ROOT / "examples/identify.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("two images show one identity from a similarity of ")
    assert printed[1] == "24 images enrolled"
    assert len(printed) == 4
    assert all("animal 3" in line or "unknown" in line for line in printed[2:])
