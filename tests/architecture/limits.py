"""Counts lines and parameters of the package and of the benchmarks against the limits; ``make lint`` prints them.

Lines of a file are all its lines; lines of a function are those from ``def`` to its end, without decorators and
docstring. Parameters are counted without ``self`` and ``cls``, ``*args`` and ``**kwargs`` as one each. Dataclasses hold
settings, and are not limited.

python tests/architecture/limits.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("src/spcl", "benchmarks")
LIMITS = {"file": 300, "function": 50, "parameters": 8}

PUBLISHED = {
    "src/spcl/training_run/train.py: train (parameters)",
    "src/spcl/verification/calibrate.py: calibrate (parameters)",
    "src/spcl/selfpaced/pseudo_labels.py: pseudo_labels (parameters)",
    "src/spcl/grouping/groups.py: cluster (parameters)",
}
"""Functions of the published interface: ``spcl.train`` takes the data and eight keywords, ``spcl.calibrate`` two values
and seven; ``spcl.pseudo_labels`` and ``spcl.cluster`` take the settings of each step and two arrays of known pairs."""

EXCEPTIONS: frozenset[str] = frozenset()
"""Places that are above a limit still: the list only becomes shorter."""


@dataclass(frozen=True)
class Count:
    """One count.

    Attributes:
        place: File, and function where it is one.
        kind: ``file``, ``function`` or ``parameters``.
        number: Lines, or parameters.
    """

    place: str
    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.place} ({self.kind})"

    @property
    def is_above(self) -> bool:
        return self.number > LIMITS[self.kind]

    @property
    def is_excepted(self) -> bool:
        return self.name in PUBLISHED or self.name in EXCEPTIONS


def counts() -> Iterator[Count]:
    """Every count of the package and of the benchmarks."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        yield from counts_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())


def counts_of(source: str, place: str) -> Iterator[Count]:
    yield Count(place, "file", len(source.splitlines()))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Count(f"{place}: {node.name}", "function", _lines_of(node))
            yield Count(f"{place}: {node.name}", "parameters", _parameters_of(node))


def _lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    described = ast.get_docstring(function) is not None
    docstring = function.body[0].end_lineno - function.body[0].lineno + 1 if described else 0
    return function.end_lineno - function.lineno + 1 - docstring


def _parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args)]
    is_method = names[:1] in (["self"], ["cls"])
    return len(names) - is_method + len(given.kwonlyargs) + bool(given.vararg) + bool(given.kwarg)


def summary(found: list[Count]) -> str:
    """The largest counts that are no exceptions, and the number of places above the limits."""
    most = {
        kind: max(count.number for count in found if count.kind == kind and not count.is_excepted) for kind in LIMITS
    }
    above = [count for count in found if count.is_above and not count.is_excepted]
    excepted = [count for count in found if count.is_above and count.name in EXCEPTIONS]
    return (
        f"longest file {most['file']} (limit {LIMITS['file']}), longest function {most['function']} (limit "
        f"{LIMITS['function']}), most parameters {most['parameters']} (limit {LIMITS['parameters']}), functions and "
        f"files above limits: {len(above)} (and {len(excepted)} exceptions)"
    )


def main() -> None:
    found = list(counts())
    print(summary(found))
    above = [count for count in found if count.is_above and not count.is_excepted]
    for count in above:
        print(f"{count.name} has {count.number}; at most {LIMITS[count.kind]}")
    needed = {count.name for count in found if count.is_above}
    for name in sorted(EXCEPTIONS - needed):
        print(f"{name} is no exception any more: take it from the list")
    sys.exit(1 if above else 0)


if __name__ == "__main__":
    main()
