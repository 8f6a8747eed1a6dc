"""Images in tar archives and in cloud storage: found, read and named as files are."""

from __future__ import annotations

import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.fs
import pytest

from spcl import EmbeddingRequest, SearchRequest, embed_images, search_images
from spcl.data import cloud_storage
from spcl.data.cloud_storage import address_of
from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.data.image_key import image_key, image_keys, kept_path, shown_path
from spcl.data.image_sources import check_is_there, images_of
from spcl.data.source_options import SourceOptions
from spcl.data.stored_images import stored_bytes
from spcl.gallery.columns import path_text
from spcl.gallery.features_file import FeaturesFile
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from tests.fakes import draw
from tests.input_errors import input_error


def shard(path: Path, images: Path, begin: int, end: int, **facts: Any) -> Path:
    """An archive as WebDataset writes them: 000003.jpg, 000003.json."""
    with tarfile.open(path, "w") as tar:
        for at in range(begin, end):
            tar.add(images / f"{at}.jpg", f"{at:06d}.jpg")
            text = json.dumps({name: value(at) for name, value in facts.items()}).encode()
            entry = tarfile.TarInfo(f"{at:06d}.json")
            entry.size = len(text)
            if facts:
                tar.addfile(entry, io.BytesIO(text))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for at in range(10):
        draw(tmp_path / "images" / f"{at}.jpg", at % 4, at)
    return tmp_path / "images"


@pytest.fixture
def shards(images: Path, tmp_path: Path) -> Path:
    (tmp_path / "shards").mkdir()
    for number in range(2):
        facts = {"identity": lambda at: f"cow {at % 4}", "camera": lambda at: at % 2, "other": lambda at: [1]}
        shard(tmp_path / "shards" / f"s-{number}.tar", images, 5 * number, 5 * number + 5, **facts)
    return tmp_path / "shards"


def encoding() -> EncodeOptions:
    return EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=2)


def test_a_folder_of_archives_is_its_images_with_their_columns(shards: Path, images: Path) -> None:
    table = images_of(shards)
    assert [record.path for record in table.records] == [
        shards / f"s-{at // 5}.tar" / f"{at:06d}.jpg" for at in range(10)
    ]
    assert table.columns["identity"] == [f"cow {at % 4}" for at in range(10)]
    assert table.columns["camera"] == [at % 2 for at in range(10)] and "other" not in table.columns
    assert any("identity, camera" in note for note in table.notes)
    for at, record in enumerate(table.records):
        assert np.array_equal(np.asarray(open_image(record.path)), np.asarray(open_image(images / f"{at}.jpg")))
    assert [record.path for record in images_of(shards / "s-1.tar").records] == [r.path for r in table.records[5:]]
    one = shards / "s-1.tar" / "000007.jpg"
    check_is_there(one, SourceOptions())
    assert [record.path for record in images_of(one).records] == [one]


def test_features_of_archives_are_those_of_the_files(shards: Path, images: Path, tmp_path: Path) -> None:
    embed_images(EmbeddingRequest(shards, output=tmp_path / "a.parquet", encoding=encoding()))
    embed_images(EmbeddingRequest(images, output=tmp_path / "b.parquet", encoding=encoding()))
    (a, in_archives), (b, in_files) = (
        next(FeaturesFile(tmp_path / name).parts()) for name in ("a.parquet", "b.parquet")
    )
    assert np.allclose(in_archives, in_files, atol=1e-6)
    assert a.column("identity").to_pylist()[:2] == ["cow 0", "cow 1"] and b.column("identity").null_count == 10
    embed_images(EmbeddingRequest(shards, gallery=tmp_path / "g", encoding=encoding()))
    found = search_images(SearchRequest(tmp_path / "g", shards / "s-0.tar" / "000003.jpg", top=1))
    # The query itself is not listed: it is the image of the same name.
    assert Path(found.hits[0][0].path).name != "000003.jpg"


def test_samples_with_classes_and_names_with_folders(images: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(images / "1.jpg", "./a/1.2.seg.jpg")
        entry = tarfile.TarInfo("a/1.cls")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b" 7\n"))
        link = tarfile.TarInfo("evil.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    table = images_of(tmp_path / "x.tar")
    assert [record.path for record in table.records] == [tmp_path / "x.tar" / "a/1.2.seg.jpg"]
    assert table.columns["identity"] == ["7"]


def test_what_cannot_be_read_is_said(images: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive" * 100)
    with input_error("damaged-file", tmp_path / "bad.tar"):
        images_of(tmp_path / "bad.tar")
    with tarfile.open(tmp_path / "z.tar", "w:gz") as tar:
        tar.add(images / "1.jpg", "1.jpg")
    with input_error("damaged-file", "unpacked"):
        images_of(tmp_path / "z.tar")
    with tarfile.open(tmp_path / "none.tar", "w") as tar:
        tar.add(images / "1.jpg", "1.txt")
    with input_error("no-images", tmp_path / "none.tar"):
        images_of(tmp_path / "none.tar")
    whole = shard(tmp_path / "cut.tar", images, 0, 3)
    with pytest.raises(UnreadableImageError, match="no such file"):
        open_image(whole / "nothing.jpg")
    entry = tarfile.TarInfo("0.json")
    entry.size = 1
    with tarfile.open(tmp_path / "json.tar", "w") as tar:
        tar.addfile(entry, io.BytesIO(b"["))
    with input_error("damaged-file", "0.json"):
        images_of(tmp_path / "json.tar")


def test_threads_read_many_archives_and_replaced_ones(images: Path, tmp_path: Path) -> None:
    archives = [shard(tmp_path / f"{number:03d}.tar", images, number % 10, number % 10 + 1) for number in range(150)]
    members = [archive / f"{number % 10:06d}.jpg" for number, archive in enumerate(archives)] * 4
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(stored_bytes, members))
    assert contents == [(images / f"{number % 10}.jpg").read_bytes() for number in range(150)] * 4
    before = stored_bytes(archives[0] / "000000.jpg")
    shard(archives[0], images, 0, 5)
    assert stored_bytes(archives[0] / "000000.jpg") == before
    assert stored_bytes(archives[0] / "000004.jpg") == (images / "4.jpg").read_bytes()


def test_a_folder_with_images_or_folders_is_no_folder_of_archives(shards: Path) -> None:
    draw(shards / "one.jpg", 1)
    assert [record.path.name for record in images_of(shards).records] == ["one.jpg"]
    (shards / "one.jpg").unlink()
    draw(shards / "below" / "two.jpg", 1)
    assert [record.path.name for record in images_of(shards).records] == ["two.jpg"]


def test_an_address_has_one_key_and_one_name_in_each_spelling() -> None:
    spellings = ["s3://bucket/a/1.jpg", "s3:/bucket/a/1.jpg", str(Path("s3://bucket/a/1.jpg"))]
    assert {image_key(text) for text in spellings} == {"s3://bucket/a/1.jpg"}
    assert image_keys([*spellings, "/x/y.jpg"]) == ["s3://bucket/a/1.jpg"] * 3 + ["/x/y.jpg"]
    assert {path_text(kept_path(text)) for text in spellings} == {"s3://bucket/a/1.jpg"}
    assert shown_path(Path(spellings[0])) == "s3://bucket/a/1.jpg"
    assert address_of("/data/s3/1.jpg") is address_of("c:/x.jpg") is None


@pytest.fixture
def bucket(images: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Folders of this disk as a bucket: the file system that an address gets is replaced."""
    root = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr(cloud_storage, "_system_of", lambda scheme: root)
    return "s3://"


def test_images_in_cloud_storage_are_embedded_and_found(bucket: str, images: Path, tmp_path: Path) -> None:
    table = images_of("s3://images")
    assert [path_text(record.path) for record in table.records] == [f"s3://images/{at}.jpg" for at in range(10)]
    embed_images(EmbeddingRequest("s3://images", gallery=tmp_path / "g", encoding=encoding()))
    again = embed_images(EmbeddingRequest("s3://images/3.jpg", gallery=tmp_path / "g", encoding=encoding()))
    assert again.gallery is not None and (again.gallery.replaced, again.gallery.num_images) == (1, 10)
    found = search_images(SearchRequest(tmp_path / "g", images / "3.jpg", top=1))
    assert found.hits[0][0].path == "s3://images/3.jpg"
    assert len(images_of("s3://shards").records) == 10
    (images / "4.jpg").write_bytes(b"no image")
    done = embed_images(EmbeddingRequest("s3://images", output=tmp_path / "f.parquet", encoding=encoding()))
    assert done.num_images == 9 and "not an image" in done.broken[0][1]


def test_an_address_without_images_or_server_is_an_error(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with input_error("unreachable-storage", "s3://nothing"):
        images_of("s3://nothing")
    monkeypatch.undo()
    with input_error("package-not-installed", "adl://"):
        images_of("adl://container/x")
