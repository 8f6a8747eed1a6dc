"""``spcl embed``, ``search`` and ``identify`` with a gallery in Qdrant in the place of a folder."""

from __future__ import annotations

import json

import pytest
import torch

from spcl.cli.main import main
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.cli.test_commands import refused
from tests.fakes import draw
from tests.gallery.qdrant_server import stand_in


@pytest.fixture
def address(tmp_path, monkeypatch):
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), tmp_path / "m.pth.tar")
    for number in range(60):
        identity = number // 2
        draw(tmp_path / "crops" / f"{identity:04d}" / f"c{number % 3 + 1}_{number}.jpg", identity, number)
    monkeypatch.chdir(tmp_path)
    with stand_in() as (host, _):
        yield f"qdrant://{host}/gates"


def answered(*words, capsys):
    main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_a_gallery_is_made_filled_searched_and_named(address, tmp_path, capsys):
    main(["embed", "m.pth.tar", "crops", "--gallery", address, "--identity-from", "folder"])
    printed = capsys.readouterr().out
    assert f"gallery: {address}, 60 added, 0 replaced, 60 in all, exact search" in printed
    # The gallery names its encoder; images that are there are replaced.
    done = answered("embed", "crops/0000", "--gallery", address, capsys=capsys)
    assert done["gallery"] == {
        "path": address, "added": 0, "replaced": 2, "kept": {"identity": 2}, "num_images": 60, "recall": None
    }  # fmt: skip
    found = answered(
        "search", address, "crops/0003/c1_6.jpg", "--top", "5", "--where", "path like 'crops/%'", capsys=capsys
    )
    hits = found["queries"][0]["hits"]
    assert len(hits) == 5 and hits[0]["path"] == str(tmp_path / "crops/0003/c2_7.jpg")
    assert (hits[0]["identity"], hits[0]["camera"]) == ("0003", "2")
    named = answered("identify", address, "crops/0003/c1_6.jpg", capsys=capsys)
    assert named["queries"][0]["nearest"] == "0003"
    assert address in refused(["serve", address], capsys)
    assert address in refused(["monitor", address, "crops"], capsys)


def test_refusals_come_before_the_work(address, capsys):
    assert "has no collection gates" in refused(["search", address, "crops/0003/c1_6.jpg"], capsys)
    assert "has no collection gates" in refused(["identify", "m.pth.tar", address, "crops/0003/c1_6.jpg"], capsys)
    assert "no address of a gallery" in refused(["embed", "m.pth.tar", "crops", "--gallery", "qdrant://host"], capsys)
    main(["embed", "m.pth.tar", "crops/0000", "--gallery", address])
    assert "--flip" in refused(["embed", "m.pth.tar", "crops/0001", "--gallery", address, "--flip"], capsys)
    assert "there is no column lane" in refused(
        ["search", address, "crops/0003/c1_6.jpg", "--where", "lane = 3"], capsys
    )
