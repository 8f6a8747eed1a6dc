"""Random tables: of images, pairs, corrections, groups, tracks, travel times; as text and as Parquet."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spcl.corrections.answers import read_answers
from spcl.corrections.corrected_groups import read_groups
from spcl.corrections.corrections_file import read_corrections
from spcl.data.image_sources import images_of
from spcl.data.listed_images import listed_images
from spcl.data.source_options import SourceOptions
from spcl.footage.track_boxes import TrackFileOptions
from spcl.footage.track_files import read_tracks
from spcl.linking.travel_times import read_travel_times
from spcl.pairs.pair_table import read_pairs
from tests.fakes import draw
from tests.trust.mutations import VALUES, WORDS, damaged_bytes, damaged_text, encoded
from tests.trust.workers import EntryPoint, TryInput

NAMES = tuple(f"c{camera}/{number}.png" for camera in (1, 2) for number in range(3))

TABLES = (
    "path,identity,camera,time\n"
    + "".join(f"{name},{row // 2},{1 + row % 2},2026-03-01 12:0{row}\n" for row, name in enumerate(NAMES)),
    "path;identity;camera;track;frame;left;top;width;height\n"
    + "".join(f"{name};id {row};{row % 2};t{row // 2};{row};1;2;3.5;4\n" for row, name in enumerate(NAMES)),
    "sep=|\npath|split|identity|note\n"
    + "".join(f'"{name}"|{("train", "query", "gallery")[row % 3]}|{row}|"a ""b"""\n' for row, name in enumerate(NAMES)),
    "path\ttime\tgroup\n" + "".join(f"./{name}\t1772366{row:03d}\t{row}\n" for row, name in enumerate(NAMES)),
    "# a remark\npath,score,similarity,rank\n"
    + "".join(f"{name},{row}.5,0.{row},{row}\n" for row, name in enumerate(NAMES)),
    "\n".join(NAMES) + "\n",
)
PAIRS = (
    "path_a,path_b,relation\n"
    + "".join(f"{NAMES[at]},{NAMES[at + 1]},{('same', 'different', '')[at % 3]}\n" for at in range(5)),
    "track_a,track_b,relation\nt1,t2,same\nt2,t3,different\nt4,t5,\n",
    "group_a,group_b,path_a,path_b,relation,who\n1,2,,,same,me\n,,c1/0.png,c2/0.png,different,you\n",
)
ANSWERS = (
    "path_a,path_b,answer\n"
    + "".join(f"{NAMES[at]},{NAMES[at + 1]},{('same', 'different', 'unsure', '', 'y')[at]}\n" for at in range(5)),
)
GROUPS = (
    "path,group,confidence\n" + "".join(f"{name},{row // 2},0.{row}5\n" for row, name in enumerate(NAMES)),
    "path,group,confidence,corrected\n"
    + "".join(f"{name},{'a b' if row < 3 else -1},1.0,\n" for row, name in enumerate(NAMES)),
)
CORRECTIONS = (
    "number,time,who,action,subjects,argument\n"
    "1,2026-03-01 12:00:00,me,merge,c1/0.png|c2/1.png,\n"
    "2,2026-03-01 12:01:00,me,split,c1/0.png,\n"
    "3,2026-03-01 12:02:00,me,name,c1/0.png,Bella\n"
    "4,2026-03-01 12:03:00,me,undo,,2\n",
)
TRACKS = (
    "".join(f"{frame},{1 + frame % 2},{10 + frame},20,30.5,60,0.9,-1,-1,-1\n" for frame in range(1, 7)),
    "".join(f"{frame} {1 + frame % 2} {10 + frame} 20 30 60\n" for frame in range(1, 7)),
    "frame,track,left,top,width,height,confidence\n" + "".join(f"{f},t{f % 2},1,2,30,40,0.5\n" for f in range(6)),
    "frame;id;x1;y1;x2;y2\n" + "".join(f"{f};{f % 2};1;2;30;40\n" for f in range(6)),
)
TRAVEL = (
    "camera_a,camera_b,min_seconds,max_seconds\n1,2,5,60\n2,3,,120\n3,1,-2,\n",
    "camera_a, camera_b, min_seconds, max_seconds\na,b,0,1.5\n",
)
_COLUMNS = ["identity", "camera", "time", "track", "frame", "left", "split", "Path", "x y", "vector", "", "group"]
_WORDS = (
    *WORDS,
    *NAMES,
    "path",
    "identity",
    "camera",
    "time",
    "split",
    "same",
    "different",
    "train",
    "merge",
    "undo",
    "group",
)


def _folder_with_images(folder: Path) -> None:
    for row, name in enumerate(NAMES):
        draw(folder / name, row // 2, row)


def _of_text(samples: Sequence[str], name: str, use: Callable[[Path], Any]) -> Callable[[Path], TryInput]:
    def prepare(folder: Path) -> TryInput:
        _folder_with_images(folder)
        path = folder / name

        def try_input(rng: random.Random) -> None:
            if rng.random() < 0.8:
                content = encoded(rng, damaged_text(rng, samples, _WORDS))
            else:
                content = damaged_bytes(rng, [sample.encode() for sample in samples])
            path.write_bytes(content)
            use(path)

        return try_input

    return prepare


def _images(path: Path) -> None:
    listed_images({"": path})
    images_of(path, labelled=path.stat().st_size % 2 == 0)


def _tables_of_parquet(rng: random.Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"path": list(NAMES)}
    for name in rng.sample(_COLUMNS, 3):
        columns[name] = _column_of_parquet(rng)
    compression = rng.choice(("none", "snappy", "zstd", "gzip"))
    written = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), written, compression=compression)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        written = io.BytesIO()
        pq.write_table(pa.table({"path": list(NAMES), "identity": [1, 2, 3, None, 5, 6]}), written)
    return written.getvalue()


def _column_of_parquet(rng: random.Random) -> Any:
    import pyarrow as pa

    kind = rng.randrange(6)
    if kind == 0:
        return [rng.choice((*VALUES[:18], *WORDS[:20], b"\xff")) for _ in NAMES]
    if kind in (1, 2):
        values = [rng.choice((*VALUES[:18], *WORDS[:20], "2026-03-01 12:00")) for _ in NAMES]
        return [value if type(value) is (int, str)[kind - 1] else None for value in values]
    if kind == 3:
        numbers = pa.array([rng.randrange(-(2**62), 2**62) for _ in NAMES])
        units = pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("s"), pa.duration("ms"), pa.float64()
        return numbers.cast(rng.choice(units), safe=False)
    if kind == 4:
        return pa.array([b"a", b"\xff", None, b"", b"\x00", b"unknown"], rng.choice((pa.binary(), pa.large_binary())))
    return pa.array([[1.0, 2.0]] * len(NAMES)) if rng.random() < 0.5 else pa.array(NAMES).dictionary_encode()


def _parquet(folder: Path) -> TryInput:
    _folder_with_images(folder)
    path = folder / "table.parquet"
    samples = [_tables_of_parquet(random.Random(seed)) for seed in range(12)]

    def try_input(rng: random.Random) -> None:
        path.write_bytes(_tables_of_parquet(rng) if rng.random() < 0.3 else damaged_bytes(rng, samples))
        _images(path)

    return try_input


def _groups(folder: Path) -> TryInput:
    _folder_with_images(folder)
    summary = json.dumps({"images": 6, "groups": 3, "corrections": 2, "grouped_with": 0})
    files = {"groups.csv": GROUPS, "corrections.csv": CORRECTIONS, "summary.json": (summary,), "pairs.csv": PAIRS[:1]}

    def try_input(rng: random.Random) -> None:
        for name, samples in files.items():
            text = rng.choice(samples)
            if rng.random() < 0.5:
                text = damaged_text(rng, samples, _WORDS)
            (folder / name).write_bytes(
                encoded(rng, text) if rng.random() < 0.2 else text.encode("utf-8", "surrogatepass")
            )
        read_groups(folder)

    return try_input


def _labels(folder: Path) -> TryInput:
    """Labels of ultralytics: a folder with a text for each frame."""
    samples = ("0 0.5 0.5 0.1 0.2 7\n1 0.25 0.5 0.1 0.2 0.9 8\n", "0 0.5 0.5 1 1 3\n")
    place = folder / "labels"
    place.mkdir()

    def try_input(rng: random.Random) -> None:
        for frame in (1, 2):
            (place / f"video_{frame}.txt").write_bytes(encoded(rng, damaged_text(rng, samples, WORDS)))
        read_tracks(place, TrackFileOptions(), video="video")

    return try_input


def _options(path: Path) -> None:
    images_of(path, SourceOptions(identity_from=("table", "name", "folder")[path.stat().st_size % 3]))


def _tracks(path: Path) -> None:
    read_tracks(path, TrackFileOptions())


ENTRY_POINTS = (
    EntryPoint("table of images, CSV", _of_text(TABLES, "table.csv", _images)),
    EntryPoint("table of images, TSV", _of_text(TABLES, "table.tsv", _images)),
    EntryPoint("list of paths, TXT", _of_text(TABLES, "table.txt", _images)),
    EntryPoint("table of images, Parquet", _parquet),
    EntryPoint("table of images with identities from names", _of_text(TABLES, "table.csv", _options)),
    EntryPoint("pairs.csv", _of_text(PAIRS, "pairs.csv", read_pairs)),
    EntryPoint("answers", _of_text(ANSWERS, "answers.csv", read_answers)),
    EntryPoint("corrections.csv", _of_text(CORRECTIONS, "corrections.csv", read_corrections)),
    EntryPoint("folder of groups", _groups),
    EntryPoint("boxes of tracks", _of_text(TRACKS, "tracks.txt", _tracks)),
    EntryPoint("labels of ultralytics", _labels),
    EntryPoint("travel times", _of_text(TRAVEL, "travel.csv", read_travel_times)),
)
