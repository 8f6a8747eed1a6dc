"""The state of each registered data set on this machine, compared with the published counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.data.catalogue import REGISTERED, Counts, Entry, count
from spcl.data.source_options import DATA_DIR
from spcl.data.table_dataset import SPLITS
from spcl.errors import InputError, first_line


@dataclass(frozen=True)
class DatasetStatus:
    """The state of a registered data set.

    Attributes:
        name: Name of the data set.
        folder: Folder that was searched.
        problem: Reason why it cannot be used; None: it can be used.
        counts: Numbers of identities and of images found, by split.
        published: Published numbers of identities and of images, by split; several where publications differ.
    """

    name: str
    folder: Path
    problem: str | None
    counts: dict[str, tuple[int, int]]
    published: Counts

    def to_dict(self) -> dict[str, Any]:
        """Give the status as plain values; ``published`` has a list of identities and one of images for each split."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "problem": self.problem,
            "counts": {split: list(found) for split, found in self.counts.items()},
            "published": {split: [list(values) for values in counts] for split, counts in self.published.items()},
        }


@dataclass(frozen=True)
class KnownDatasets:
    """The state of all registered data sets; iterable.

    Attributes:
        data_dir: Folder that was searched.
        datasets: Status of each data set, in a fixed order.
    """

    data_dir: Path
    datasets: tuple[DatasetStatus, ...]

    def __iter__(self) -> Iterator[DatasetStatus]:
        """Iterate over the statuses."""
        return iter(self.datasets)

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain values, for a JSON file."""
        return {"data_dir": str(self.data_dir), "datasets": [status.to_dict() for status in self.datasets]}


def describe_datasets(data_dir: str | Path = DATA_DIR) -> KnownDatasets:
    """Look for each registered data set, and count its identities and images. Prints nothing.

    Args:
        data_dir: Folder that holds the registered data sets.

    Returns:
        KnownDatasets; a data set that cannot be used raises no error: its ``problem`` is the reason.

    Examples:
        >>> found = describe_datasets("no/such/folder")
        >>> [status.name for status in found if status.problem == "not found"][:2]
        ['market1501', 'msmt17']

    Cost: the file names of each data set are listed; no image is read.
    """
    folder = Path(data_dir)
    return KnownDatasets(folder, tuple(_status(name, entry, folder) for name, entry in REGISTERED.items()))


def _status(name: str, entry: Entry, folder: Path) -> DatasetStatus:
    where = folder / entry.folder
    if not where.exists():
        return DatasetStatus(name, where, "not found", {}, entry.published)
    try:
        dataset = entry.load(folder)
    except InputError as error:
        return DatasetStatus(name, where, first_line(error), {}, entry.published)
    counts = {split: count(records) for split in SPLITS if (records := getattr(dataset, split))}
    return DatasetStatus(name, where, None, counts, entry.published)
