"""From the words of a user to groups and images of a table: by number, name or path."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from spcl.corrections.group_table import NO_GROUP, GroupTable
from spcl.data.image_key import image_key, image_keys
from spcl.errors import InputError

_SHOWN = 5


class References:
    """Finds the groups and the images that words mean.

    Args:
        table: Images and their groups.
        by_hand: ``[N]`` bool, images whose group a person has given.
    """

    def __init__(self, table: GroupTable, by_hand: NDArray[np.bool_]) -> None:
        self.table = table
        self._by_hand = by_hand

    def group(self, word: str) -> int:
        """Give the number of the group that a word means: a name or a number, or ``name:7`` and ``group:7``.

        Raises:
            InputError: If there is none, with the nearest names; if a name and a number both fit.
        """
        kind, _, rest = word.partition(":")
        by_name = None if kind == "group" else self._numbers_of_names.get(rest if kind == "name" else word)
        text = rest if kind == "group" else word
        by_number = int(text) if text.isdecimal() and len(text) < 19 and int(text) in self.sizes else None
        if by_name is not None and by_number is not None and by_name != by_number and kind != "name":
            raise InputError(
                f"{word} is the number of a group and the name of group {by_name}; write group:{word} or name:{word}",
                code="ambiguous-group",
            )
        found = by_name if by_name is not None else by_number
        if found is None:
            raise InputError(f"there is no group {word!r}; {self._nearest(word)}", code="no-such-group")
        return found

    def image(self, word: str | Path) -> int:
        """Give the row of the image that a word means: a path, or the end of one, such as a file name.

        Raises:
            InputError: If there is none, with the nearest names; if several end like this.
        """
        row = self._row_of.get(image_key(word))
        if row is not None:
            return row
        parts = PurePath(word).parts
        found = [at for at in self._rows_called.get(PurePath(word).name, ()) if self._ends_in(at, parts)]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(str(self.table.paths[at]) for at in found[:_SHOWN])
            raise InputError(
                f"{len(found)} images end in {word}: {shown}; give a longer part of the path", code="ambiguous-image"
            )
        near = get_close_matches(PurePath(word).name, self._rows_called, n=3, cutoff=0.5)
        hint = f"the nearest names are {', '.join(near)}" if near else "give a path of the column path of groups.csv"
        raise InputError(f"there is no image {word} in these groups; {hint}", code="no-such-image")

    def members(self, group: int) -> list[int]:
        """Give the rows of a group, the surest first, known by hand before others."""
        rows = np.flatnonzero(self.table.group == group)
        order = np.lexsort((rows, -self.table.confidence[rows], ~self._by_hand[rows]))
        return [int(row) for row in rows[order]]

    def surest(self, group: int, without: Sequence[int] = ()) -> Path | None:
        """Give the path of the surest image of a group that is not among ``without``; None if there is none."""
        left = set(without)
        return next((self.table.paths[row] for row in self.members(group) if row not in left), None)

    @cached_property
    def sizes(self) -> dict[int, int]:
        """Number of images of each group."""
        numbers, counts = np.unique(self.table.group[self.table.group != NO_GROUP], return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    @cached_property
    def _numbers_of_names(self) -> dict[str, int]:
        return {name: number for number, name in self.table.names.items()}

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in reversed(list(enumerate(image_keys(self.table.paths))))}

    @cached_property
    def _rows_called(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, path in enumerate(self.table.paths):
            found.setdefault(path.name, []).append(row)
        return found

    def _ends_in(self, row: int, parts: tuple[str, ...]) -> bool:
        return self.table.paths[row].parts[-len(parts) :] == parts

    def _nearest(self, word: str) -> str:
        """The groups that a word may mean, for an error."""
        if not self.sizes:
            return "no image is in a group"
        if word.isdecimal() and len(word) < 19:
            near = sorted(self.sizes, key=lambda number: (abs(number - int(word)), number))[:3]
            return f"the nearest numbers are {', '.join(map(str, sorted(near)))}"
        near_names = get_close_matches(word, self._numbers_of_names, n=3, cutoff=0.4)
        if near_names:
            return f"the nearest names are {', '.join(near_names)}"
        names = ", ".join(sorted(self._numbers_of_names)[:_SHOWN]) or "none"
        return f"expected a number from 0 to {max(self.sizes)}, or a name (names: {names})"
