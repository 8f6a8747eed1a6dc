"""What corrections say about images: groups after them, and pairs that are one object or two.

Corrections are replayed in their order. Each image may belong to a set of images that a person has called one object. A
later correction counts where it contradicts an earlier one. If the images were grouped again with the corrections so
far, their sets are gathered, and only later corrections change whole groups, which have other numbers and members then.

- merge: the groups of the images become one; these images become one set.
- confirm, name: the images become one group and one set; ``name`` also names it.
- move: the images join the group and the set of another image, or no group.
- split: the images leave the group of another image together, as a new group and a set.
- deny: the two images are two objects; their groups are not changed.
- divide: the first image and another one are two objects. The images leave the group of the other one together; a
  program chose them, so that they are no set, and later groupings follow the two images alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.corrections.correction import Correction
from spcl.corrections.corrections_file import CorrectionLog
from spcl.corrections.group_table import NO_GROUP, GroupTable
from spcl.corrections.hand_sets import HandSets
from spcl.data.image_key import image_keys

_WITH_AN_IMAGE = ("move", "split", "divide")
"""Actions whose argument is an image."""


@dataclass(frozen=True)
class Usage:
    """How much of a file of corrections was used.

    Attributes:
        used: Number of corrections that count and of which at least one image is here.
        undone: Number of corrections that were taken back.
        missing: Number of corrections that name at least one image that is not here.
        missing_images: The images that are not here.
        notes: Contradictions between corrections, and what was done, in sentences.
    """

    used: int
    undone: int
    missing: int
    missing_images: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def words(self) -> str:
        """Give the line that programs print."""
        text = f"corrections: {self.used} used, {self.undone} undone"
        return f"{text}, {self.missing} name images that are not here" if self.missing else text


@dataclass(frozen=True)
class Replayed:
    """Groups after corrections, and what the corrections say about pairs.

    Attributes:
        group: ``[N]`` int64, number of the group of each image, -1 none. Numbers of the grouping before are kept.
        names: Name of each group that has one, by its number.
        by_hand: ``[N]`` bool, whether a person has said which images show the same object as this one.
        must_link: ``[M, 2]`` int64 row numbers of images of one object.
        must_origin: ``[M]`` int64, the number of the correction that says so.
        cannot_link: ``[C, 2]`` int64 row numbers of images of two objects; two names are two objects.
        cannot_origin: ``[C]`` int64, the number of the correction that says so.
        usage: How much of the corrections was used.
    """

    group: NDArray[np.int64]
    names: Mapping[int, str]
    by_hand: NDArray[np.bool_]
    must_link: NDArray[np.int64]
    must_origin: NDArray[np.int64]
    cannot_link: NDArray[np.int64]
    cannot_origin: NDArray[np.int64]
    usage: Usage

    def table(self, found: GroupTable) -> GroupTable:
        """Give the table of the groups after corrections; the confidence of what is known by hand is 1."""
        sure = np.where(self.by_hand & (self.group != NO_GROUP), 1.0, found.confidence)
        return GroupTable(found.paths, self.group, np.where(self.group == NO_GROUP, 0.0, sure), self.names)


def replay(
    log: CorrectionLog, paths: Sequence[Path], group: NDArray[np.int64] | None = None, *, grouped_with: int = 0
) -> Replayed:
    """Apply corrections to a grouping of images.

    Args:
        log: The corrections.
        paths: Paths of the ``N`` images.
        group: ``[N]`` int, their groups, -1 none; None: no groups, for the pairs alone.
        grouped_with: Number of the last correction that this grouping took into account; 0: none.

    Returns:
        Replayed, in the order of ``paths``.

    Cost: O(N + images that the corrections name) steps, and the squared number of names for their pairs.
    """
    run = _Replay(np.full(len(paths), NO_GROUP, dtype=np.int64) if group is None else group)
    row_of = {key: row for row, key in reversed(list(enumerate(image_keys(paths))))}
    used: set[int] = set()
    missing: set[int] = set()
    gone: dict[Path, None] = {}
    is_gathered = False
    keys = _keys_of(log.active)
    for each in log.active:
        if each.number > grouped_with and not is_gathered:
            run.gather_sets()
            is_gathered = True
        rows = [row_of.get(keys[str(path)], -1) for path in each.subjects]
        gone.update(dict.fromkeys(path for path, row in zip(each.subjects, rows, strict=True) if row < 0))
        if -1 in rows:
            missing.add(each.number)
        there = list(dict.fromkeys(row for row in rows if row >= 0))
        other = row_of.get(keys.get(each.argument, ""), -1)
        if there:
            used.add(each.number)
            run.apply(each, there, other, sets_alone=each.number <= grouped_with)
    if not is_gathered:
        run.gather_sets()
    undone = {each.number for each in log.corrections if each.action != "undo"} & log.undone
    must, must_origin = run.sets.must_links()
    cannot, cannot_origin = run.sets.cannot_links()
    return Replayed(
        group=run.group,
        names=run.names(),
        by_hand=run.sets.is_in_a_set(len(paths)),
        must_link=must,
        must_origin=must_origin,
        cannot_link=cannot,
        cannot_origin=cannot_origin,
        usage=Usage(len(used), len(undone), len(missing), tuple(gone), tuple(run.sets.notes)),
    )


def _keys_of(corrections: Sequence[Correction]) -> dict[str, str]:
    """Keys of all images that corrections name, by their paths; each folder is resolved once."""
    paths = {str(path): None for each in corrections for path in each.subjects}
    paths |= {each.argument: None for each in corrections if each.action in _WITH_AN_IMAGE and each.argument}
    return dict(zip(paths, image_keys(list(paths)), strict=True))


class _Replay:
    """Groups while corrections are applied to them.

    Args:
        group: ``[N]`` int, the groups before; a copy is changed.
    """

    def __init__(self, group: NDArray[np.int64]) -> None:
        self.group = group.astype(np.int64)
        self.sets = HandSets()
        self._members: dict[int, set[int]] = {}
        for row, number in enumerate(self.group.tolist()):
            if number != NO_GROUP:
                self._members.setdefault(number, set()).add(row)
        self._next = max(self._members, default=-1) + 1
        self._divided: set[tuple[int, int, int]] = set()

    def apply(self, correction: Correction, rows: list[int], other: int, *, sets_alone: bool) -> None:
        """Apply one line.

        Args:
            correction: The line.
            rows: Rows of its images that are here, at least one.
            other: Row of the image in its argument; -1: none.
            sets_alone: Whether the grouping took the line into account, so that groups are not changed.
        """
        number = correction.number
        if correction.action in ("merge", "confirm", "name"):
            name = correction.argument if correction.action == "name" else ""
            joined = self.sets.join(rows, number, name)
            if not sets_alone:
                # The first image that is named gives the number of merged groups.
                self._merge([*rows, *joined]) if correction.action == "merge" else self._gather(joined)
        elif correction.action in ("move", "split"):
            self.sets.leave(rows, number)
            if not sets_alone:
                (self._move if correction.action == "move" else self._split)(rows, other)
            if correction.action == "split":
                self.sets.join(rows, number)
                self.sets.part([(row, other) for row in rows if other >= 0], number)
            elif other >= 0:
                self.sets.join([other, *rows], number)
        elif correction.action == "divide":
            if other >= 0 and not sets_alone:
                self._divide(number, rows, other)
            self.sets.part([(rows[0], other)] if other >= 0 else [], number)
        else:
            pairs = [(first, second) for at, first in enumerate(rows) for second in rows[at + 1 :]]
            self.sets.part(pairs, number)

    def gather_sets(self) -> None:
        """Put the images of each set into the group that most of them have."""
        for rows in self.sets.sets():
            self._gather(rows)

    def names(self) -> dict[int, str]:
        """Give the name of each group that has one."""
        found: dict[int, str] = {}
        for name, rows in self.sets.named():
            numbers = [number for number in self.group[rows].tolist() if number != NO_GROUP]
            if numbers:
                found.setdefault(max(numbers, key=numbers.count), name)
        return found

    def _put(self, row: int, number: int) -> None:
        before = int(self.group[row])
        if before != NO_GROUP:
            self._members[before].discard(row)
        if number != NO_GROUP:
            self._members.setdefault(number, set()).add(row)
        self.group[row] = number

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _home(self, rows: Sequence[int]) -> int:
        """The group of most of some images, the first of equals; a new one if none has a group."""
        numbers = [number for number in self.group[list(rows)].tolist() if number != NO_GROUP]
        return max(numbers, key=numbers.count) if numbers else self._new()

    def _merge(self, rows: Sequence[int]) -> None:
        """The groups of the images become the group of the first that has one."""
        numbers = [number for number in self.group[list(rows)].tolist() if number != NO_GROUP]
        home = numbers[0] if numbers else self._new()
        for number in dict.fromkeys(numbers[1:]):
            if number != home:
                for row in sorted(self._members[number]):
                    self._put(row, home)
        for row in rows:
            self._put(row, home)

    def _gather(self, rows: Sequence[int]) -> None:
        home = self._home(rows)
        for row in rows:
            self._put(row, home)

    def _move(self, rows: Sequence[int], other: int) -> None:
        if other < 0:
            home = NO_GROUP
        else:
            home = int(self.group[other])
            if home == NO_GROUP:
                home = self._new()
                self._put(other, home)
        for row in rows:
            self._put(row, home)

    def _split(self, rows: Sequence[int], other: int) -> None:
        """The images leave the group of the other image; images that are in a third group already stay there."""
        left = int(self.group[other]) if other >= 0 else NO_GROUP
        inside = [row for row in rows if other < 0 or int(self.group[row]) in (left, NO_GROUP)]
        outside = [row for row in rows if row not in set(inside)]
        if inside:
            home = self._home(outside) if outside else self._new()
            for row in inside:
                self._put(row, home)

    def _divide(self, number: int, rows: Sequence[int], other: int) -> None:
        """The images leave the group of the other image, unless the first one has another group already."""
        key = number, rows[0], other
        # A division of many images has several lines, which repeat its first image.
        if self.group[rows[0]] == self.group[other] != NO_GROUP or key in self._divided:
            self._divided.add(key)
            leaving = set(rows)
            for members in self.sets.sets():
                # What a person has called one object stays whole: with the first image, or where it is.
                if rows[0] in members:
                    leaving.update(members)
                elif not leaving.issuperset(members):
                    leaving.difference_update(members)
            self._split(sorted(leaving), other)
