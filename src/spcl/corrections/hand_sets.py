"""Sets of images that a person has called one object, and pairs that are two.

A later statement replaces an earlier one that it contradicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


class HandSets:
    """Sets of rows, each of one object, with pairs of rows of two objects.

    Attributes:
        notes: Contradictions that were found, and what was done, in sentences.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._next = 0
        self._sets: dict[int, dict[int, int]] = {}  # the rows of each set, each with the correction that put it there
        self._set_of: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self._named_by: dict[int, int] = {}
        self._apart: dict[tuple[int, int], int] = {}
        self._partners: dict[int, set[int]] = {}

    def join(self, rows: Sequence[int], number: int, name: str = "") -> list[int]:
        """Say that rows show one object; their sets become one.

        Args:
            rows: Row numbers, at least one.
            number: Number of the correction.
            name: Name of the object. A set that has the name already becomes part of this one. Empty: the name of the
                first set that has one.

        Returns:
            All rows of the set, ascending.
        """
        joined = dict.fromkeys(self._set_of[row] for row in rows if row in self._set_of)
        if name:
            joined |= dict.fromkeys(which for which, held in self._names.items() if held == name)
        named = [self._names[which] for which in joined if which in self._names]
        kept = name or (named[0] if named else "")
        lost = sorted({each for each in named if each != kept})
        if lost and not name:
            self.notes.append(f"correction {number}: {', '.join(lost)} and {kept} are one object now, called {kept}")
        home = min(joined, default=self._next)
        self._next = max(self._next, home + 1)
        members = self._sets.setdefault(home, {})
        for which in joined:
            if which != home:
                members.update(self._sets.pop(which))
            self._names.pop(which, None)
        for row in rows:
            members.setdefault(row, number)
        for row in members:
            self._set_of[row] = home
        if kept:
            self._names[home] = kept
            self._named_by[home] = number
        self._forget_pairs_inside(members, number)
        return sorted(members)

    def leave(self, rows: Sequence[int], number: int) -> None:
        """Take rows out of their sets; pairs of two objects that they are in stay."""
        for row in rows:
            home = self._set_of.pop(row, None)
            if home is None:
                continue
            del self._sets[home][row]
            if not self._sets[home]:
                del self._sets[home]
                if name := self._names.pop(home, ""):
                    self.notes.append(f"correction {number}: no image is left that was named {name}")

    def part(self, pairs: Sequence[tuple[int, int]], number: int) -> None:
        """Say that the two rows of each pair show two objects; where both are in one set, the second one leaves it."""
        for first, second in pairs:
            if first == second:
                continue
            home = self._set_of.get(first)
            if home is not None and home == self._set_of.get(second):
                before = max(self._sets[home][first], self._sets[home][second])
                self.notes.append(f"correction {number} contradicts correction {before}; the later one counts")
                self.leave([second], number)
            self._apart[min(first, second), max(first, second)] = number
            self._partners.setdefault(first, set()).add(second)
            self._partners.setdefault(second, set()).add(first)

    def sets(self) -> Iterator[list[int]]:
        """Give the rows of each set of at least two rows or with a name, ascending."""
        for home, members in self._sets.items():
            if len(members) > 1 or home in self._names:
                yield sorted(members)

    def named(self) -> Iterator[tuple[str, list[int]]]:
        """Give each name with the rows of its set, ascending."""
        for home, name in self._names.items():
            yield name, sorted(self._sets[home])

    def is_in_a_set(self, count: int) -> NDArray[np.bool_]:
        """Mark, of ``count`` rows, those that are in a set of at least two, or in a set with a name."""
        found = np.zeros(count, dtype=np.bool_)
        for home, members in self._sets.items():
            if len(members) > 1 or home in self._names:
                found[list(members)] = True
        return found

    def must_links(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give pairs ``[M, 2]`` that connect the rows of each set, and the correction of each pair ``[M]``."""
        links: list[tuple[int, int, int]] = []
        for members in self._sets.values():
            first, *rest = sorted(members)
            links += [(first, row, max(members[first], members[row])) for row in rest]
        return _pairs(links)

    def cannot_links(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the pairs ``[C, 2]`` of two objects, and the correction of each ``[C]``: two names are two objects."""
        links = [(first, second, number) for (first, second), number in self._apart.items()]
        heads = [(min(self._sets[home]), self._named_by[home]) for home in self._names]
        links += [
            (min(first, second), max(first, second), max(before, after))
            for (first, before), (second, after) in combinations(heads, 2)
        ]
        return _pairs(sorted({link[:2]: link for link in links}.values()))

    def _forget_pairs_inside(self, members: dict[int, int], number: int) -> None:
        for row in members:
            for other in self._partners.get(row, set()) & members.keys():
                before = self._apart.pop((min(row, other), max(row, other)), None)
                if before is not None and before != number:
                    self.notes.append(f"correction {number} contradicts correction {before}; the later one counts")
        for row in members:
            if row in self._partners:
                self._partners[row] -= members.keys()


def _pairs(links: Sequence[tuple[int, int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = np.array(links, dtype=np.int64).reshape(-1, 3)
    return table[:, :2].copy(), table[:, 2].copy()
