"""A folder of features files: complete, continued behind its last complete file, and never another run's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spcl import EmbeddingRequest, SearchRequest, embed_images, search_images
from spcl.data.source_options import SourceOptions
from spcl.file_lock import held_lock
from spcl.gallery import images_to_rows, shards
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.images_to_rows import EmbeddedRows, find_images
from spcl.gallery.shards import open_shards, rest_of
from spcl.inference import embedding
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.reporting.console import SilentReporter
from tests.fakes import draw
from tests.gallery.features import unit_rows
from tests.input_errors import input_error
from tests.trust.killing import each_kill
from tests.trust.tally import record, tries

FACTS = {"fingerprint": "x", "flip": False}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "IMAGES_A_SHARD", 6)
    monkeypatch.setattr(images_to_rows, "IMAGES_A_PART", 3)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for at in range(20):
        draw(tmp_path / "crops" / f"{at:02d}_c{at % 2}.jpg", at % 5, at)
    (tmp_path / "crops" / "04_c0.jpg").write_bytes(b"no image")
    return tmp_path / "crops"


def request(crops: Path, output: Path, **others: Any) -> EmbeddingRequest:
    choice = EncoderChoice(arch="timm/test_resnet", pretrained="none")
    return EmbeddingRequest(crops, output=output, encoding=EncodeOptions(encoder=choice, workers=0), **others)


def all_of(path: Path) -> tuple[list[str], Any]:
    parts = list(FeaturesFile(path).parts())
    names = [Path(name).name for table, _ in parts for name in table.column("path").to_pylist()]
    return names, np.concatenate([features for _, features in parts])


def test_a_folder_holds_what_one_file_holds_and_is_searched(crops: Path, tmp_path: Path) -> None:
    one = embed_images(request(crops, tmp_path / "f.parquet"))
    several = embed_images(request(crops, tmp_path / "f"))
    assert [entry.name for entry in sorted((tmp_path / "f").glob("part-*"))] == [
        f"part-{number:06d}.parquet" for number in range(4)
    ]
    assert (several.num_images, several.broken) == (one.num_images, one.broken) == (19, one.broken)
    (names, features), (few, single) = all_of(tmp_path / "f"), all_of(tmp_path / "f.parquet")
    assert names == few and np.allclose(features, single, atol=1e-6)
    assert is_features_file(tmp_path / "f") and len(FeaturesFile(tmp_path / "f")) == 19
    copy = tmp_path / "copy.jpg"
    copy.write_bytes((crops / "03_c1.jpg").read_bytes())
    found = search_images(SearchRequest(tmp_path / "f", copy, top=1))
    assert Path(found.hits[0][0].path).name == "03_c1.jpg"


class StopError(Exception):
    pass


def test_a_run_that_stopped_goes_on_behind_its_last_file(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_images(request(crops, tmp_path / "whole"))
    real, seen = embedding.embed_parts, []

    def stopping(encoder: Any, records: Any, *others: Any, **named: Any) -> Any:
        for number, part in enumerate(real(encoder, records, *others, **named)):
            if number == 5:
                raise StopError
            seen.append(len(part.records))
            yield part

    monkeypatch.setattr(embedding, "embed_parts", stopping)
    with pytest.raises(StopError):
        embed_images(request(crops, tmp_path / "f"))
    assert len(list((tmp_path / "f").glob("part-*"))) == 2
    with input_error("incomplete-features", "12 of 20", "goes on where it stopped"):
        FeaturesFile(tmp_path / "f")
    monkeypatch.setattr(embedding, "embed_parts", real)
    lines: list[str] = []
    report = SilentReporter()
    report.say = lines.append  # type: ignore[method-assign]
    done = embed_images(request(crops, tmp_path / "f"), report=report)
    assert any("12 of 20 images were done by a run that was stopped" in line for line in lines)
    assert done.num_images == 19 and [path.name for path, _ in done.broken] == ["04_c0.jpg"]
    names, features = all_of(tmp_path / "f")
    assert names == all_of(tmp_path / "whole")[0]
    assert np.allclose(features, all_of(tmp_path / "whole")[1], atol=1e-6)


def test_a_folder_is_continued_with_the_same_images_and_encoder_alone(crops: Path, tmp_path: Path) -> None:
    embed_images(request(crops, tmp_path / "f"))
    with input_error("already-exists", "already"):
        embed_images(request(crops, tmp_path / "f"))
    flipped = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=0, flip=True)
    with input_error("already-exists", "--flip"):
        embed_images(EmbeddingRequest(crops, output=tmp_path / "f", encoding=flipped))
    other = EncodeOptions(encoder=EncoderChoice(arch="timm/test_vit", pretrained="none"), workers=0)
    with input_error("already-exists", "encoder"):
        embed_images(EmbeddingRequest(crops, output=tmp_path / "f", encoding=other))
    draw(crops / "99_c1.jpg", 3)
    with input_error("already-exists", "images or their columns"):
        embed_images(request(crops, tmp_path / "f"))


def test_a_run_without_features_leaves_nothing_behind(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.jpg").write_bytes(b"no image")
    with input_error("no-readable-images"):
        embed_images(request(tmp_path / "bad", tmp_path / "f"))
    assert not (tmp_path / "f").exists()
    assert embed_images(request(crops, tmp_path / "f")).num_images == 19


def test_what_does_not_go_with_a_folder_is_refused(crops: Path, tmp_path: Path) -> None:
    for flag, others in {
        "--overwrite": {"overwrite": True},
        "--by track": {"by": "track"},
        "--gallery": {"gallery": tmp_path / "g"},
    }.items():
        with input_error("option-does-not-apply", flag, ".parquet"):
            request(crops, tmp_path / "f", **others)
    with input_error("already-exists", "no folder of features"):
        embed_images(request(crops, crops))
    (tmp_path / "file").write_text("mine")
    with input_error("already-exists", tmp_path / "file"):
        embed_images(request(crops, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_missing_and_damaged_files_are_errors_with_their_name(crops: Path, tmp_path: Path) -> None:
    embed_images(request(crops, tmp_path / "f"))
    part = tmp_path / "f" / "part-000001.parquet"
    content = part.read_bytes()
    part.unlink()
    with input_error("damaged-file", "3 of 4"):
        FeaturesFile(tmp_path / "f")
    part.write_bytes(content[:100])
    with input_error("damaged-file"):
        FeaturesFile(tmp_path / "f")
    with input_error("damaged-file", part):
        shards.begun_shards(tmp_path / "f")
    part.write_bytes((tmp_path / "f" / "part-000002.parquet").read_bytes())
    with input_error("damaged-file", part, "does not follow"):
        shards.begun_shards(tmp_path / "f")
    plan = tmp_path / "f" / shards.PLAN
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "format": 9}))
    with input_error("newer-format", "upgrade"):
        FeaturesFile(tmp_path / "f")
    plan.write_text("[")
    with input_error("damaged-file", plan):
        FeaturesFile(tmp_path / "f")


def test_two_runs_do_not_write_to_one_folder(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    busy = RuntimeError("busy")
    with held_lock(tmp_path / "f" / ".lock", longest_wait=0, busy=busy, place=""):  # type: ignore[arg-type]
        (tmp_path / "f" / shards.PLAN).write_text("{}")
        with input_error("busy", tmp_path / "f"):
            embed_images(request(crops, tmp_path / "f"))


def test_kills_at_each_change_of_the_disk(crops: Path, tmp_path: Path) -> None:
    found = find_images(crops, SourceOptions())
    folder = tmp_path / "f"

    def write() -> None:
        with open_shards(folder, found, FACTS, 8) as writer:
            rest = rest_of(found, writer.begun.num_covered)
            begin = writer.begun.num_covered
            for at in range(0, len(rest.records), 3):
                table = rest.table.slice(at, 3)
                writer.take(EmbeddedRows(table, unit_rows(20)[begin + at : begin + at + len(table)], ()))

    def prepare() -> None:
        for entry in folder.iterdir() if folder.exists() else ():
            entry.unlink()

    held = kills = 0
    for _ in each_kill(write, prepare=prepare, most=tries(1000, 6)):
        kills += 1
        if not json.loads((folder / shards.PLAN).read_text() if (folder / shards.PLAN).exists() else "{}").get(
            "complete"
        ):
            write()
        names, features = all_of(folder)
        left = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp"))
        held += len(names) == 20 and np.array_equal(features, unit_rows(20)) and not left
    record("Kills", "folder of features files: before each change of the disk; the next run completes it", kills, held)
    assert kills == held > 0
