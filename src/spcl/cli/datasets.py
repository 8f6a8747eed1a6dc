"""``spcl datasets``: which data sets are known, where each is looked for, what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spcl.cli.command_line import options_of
from spcl.cli.computing import CommandOptions
from spcl.data.registered_datasets import DatasetStatus, KnownDatasets, describe_datasets


@dataclass(frozen=True)
class Datasets(CommandOptions):
    """List the registered data sets: the folder of each, the images that were found, and the published counts."""

    usage: ClassVar[str] = "[options]"
    example: ClassVar[str] = "spcl datasets --data-dir examples/data"

    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    json: bool = False
    """Print what was found as JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl datasets`` with these words."""
    options = options_of(Datasets, arguments, "spcl datasets")
    found = describe_datasets(options.data_dir)
    if options.json:
        print(json.dumps(found.to_dict()))
    else:
        print_datasets(found)


def print_datasets(found: KnownDatasets) -> None:
    """Print where each data set was looked for and its counts, and how other data is given."""
    for status in found:
        print("\n".join(_lines(status)))
    print("\nGive other data by its path: Market-1501 layout, a folder per identity, a folder of images, or a")
    print("table (CSV or Parquet) with the columns path, identity, camera, split: docs/data.md")


def _lines(status: DatasetStatus) -> list[str]:
    if status.problem is not None:
        return [f"{status.name:<11} {status.folder}: {status.problem}"]
    lines = [f"{status.name:<11} {status.folder}"]
    for split, (identities, images) in status.counts.items():
        line = f"{'':<11}   {split:<8} {identities:>6} identities {images:>7} images"
        published = status.published.get(split)
        if published is not None:
            same = images in published[1]
            wanted = f"{' or '.join(map(str, published[0]))} / {' or '.join(map(str, published[1]))}"
            line += "   as published" if same else f"   published: {wanted}"
        lines.append(line)
    return lines
