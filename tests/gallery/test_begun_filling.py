"""A run that adds images to a gallery goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spcl import EmbeddingRequest, Gallery, embed_images
from spcl.gallery import images_to_rows
from spcl.inference import embedding
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.reporting.console import SilentReporter
from tests.fakes import draw

ENCODING = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=0)


class StopError(Exception):
    pass


class Counted:
    """Counts the images that are encoded, and stops before some part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num, self.stop_before, self._real = 0, 100, embedding.embed_parts
        monkeypatch.setattr(images_to_rows, "IMAGES_A_PART", 3)
        monkeypatch.setattr(embedding, "embed_parts", self.parts)

    def parts(self, *values: Any, **named: Any) -> Any:
        for number, part in enumerate(self._real(*values, **named)):
            if number == self.stop_before:
                raise StopError
            self.num += len(part.records) + len(part.broken)
            yield part


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for at in range(10):
        draw(tmp_path / "crops" / f"{at:02d}_c{at % 2}.jpg", at % 5, at)
    (tmp_path / "crops" / "04_c0.jpg").write_bytes(b"no image")
    return tmp_path / "crops"


def stopped(counted: Counted, request: EmbeddingRequest, parts: int) -> None:
    counted.num, counted.stop_before = 0, parts
    with pytest.raises(StopError):
        embed_images(request)
    counted.num, counted.stop_before = 0, 100


def test_the_same_command_encodes_the_rest_alone(crops: Path, tmp_path: Path, counted: Counted) -> None:
    request = EmbeddingRequest(crops, gallery=tmp_path / "g", encoding=ENCODING)
    stopped(counted, request, 2)
    assert len(Gallery.open(tmp_path / "g")) == 5
    lines: list[str] = []
    report = SilentReporter()
    report.say = lines.append  # type: ignore[method-assign]
    done = embed_images(request, report=report)
    assert counted.num == 4 and any("6 of 10 images were done" in line for line in lines)
    assert done.gallery is not None and (done.num_images, done.gallery.added, done.gallery.num_images) == (9, 9, 9)
    assert [path.name for path, _ in done.broken] == ["04_c0.jpg"]
    assert not list((tmp_path / "g").glob("filling-*"))
    embed_images(EmbeddingRequest(crops, gallery=tmp_path / "whole", encoding=ENCODING))
    rows = {
        name: {path: vector for part in Gallery.open(tmp_path / name).read(["path"]) for vector, path in
               zip(part.features, part.columns["path"], strict=True)}
        for name in ("g", "whole")
    }  # fmt: skip
    assert rows["g"].keys() == rows["whole"].keys()
    assert all(vector == pytest.approx(rows["whole"][path], abs=1e-6) for path, vector in rows["g"].items())


def test_a_complete_run_is_done_again_and_other_images_begin_anew(
    crops: Path, tmp_path: Path, counted: Counted
) -> None:
    request = EmbeddingRequest(crops, gallery=tmp_path / "g", encoding=ENCODING)
    embed_images(request)
    counted.num = 0
    done = embed_images(request)
    assert counted.num == 10 and done.gallery is not None and done.gallery.replaced == 9
    stopped(counted, request, 2)
    draw(crops / "10_c0.jpg", 1, 1)
    embed_images(request)
    assert counted.num == 11


def test_images_that_were_removed_meanwhile_and_a_damaged_file_begin_anew(
    crops: Path, tmp_path: Path, counted: Counted
) -> None:
    request = EmbeddingRequest(crops, gallery=tmp_path / "g", encoding=ENCODING)
    stopped(counted, request, 2)
    Gallery.open(tmp_path / "g").remove("path like '%02_c0%'")
    embed_images(request)
    assert counted.num == 10
    stopped(counted, request, 2)
    next((tmp_path / "g").glob("filling-*")).write_bytes(b'{"covered": [')
    embed_images(request)
    assert counted.num == 10 and len(Gallery.open(tmp_path / "g")) == 9


def test_a_features_file_gets_all_images(crops: Path, tmp_path: Path, counted: Counted) -> None:
    stopped(counted, EmbeddingRequest(crops, gallery=tmp_path / "g", encoding=ENCODING), 2)
    both = EmbeddingRequest(crops, output=tmp_path / "f.parquet", gallery=tmp_path / "g", encoding=ENCODING)
    assert embed_images(both).num_images == 9 and counted.num == 10
