"""The licences of all packages that spcl needs, with its extras: the table of docs/licences.md.

::

    python release/licences.py            # print the table
    python release/licences.py --write    # write it into docs/licences.md

Read from the metadata of the installed packages, so that what is not installed is listed as such. Packages that only
development needs are left out: users never get them.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/licences.md"
MARK = "<!-- the table: python release/licences.py --write -->\n"
NOT_FOR_USERS = ("dev", "docs")
_LONGEST = 60


def declared() -> dict[str, list[Requirement]]:
    """The direct dependencies by who declares them: ``spcl`` and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = {"spcl": project["dependencies"], **project["optional-dependencies"]}
    return {name: list(map(Requirement, texts)) for name, texts in parts.items() if name not in NOT_FOR_USERS}


def needed() -> dict[str, set[str]]:
    """Each package, directly or indirectly needed, with the names of those who need it: ``spcl`` or extras."""
    found: dict[str, set[str]] = {}
    for part, requirements in declared().items():
        waiting = list(requirements)
        seen: set[tuple[str, str]] = set()
        while waiting:
            one = waiting.pop()
            name = canonicalize_name(one.name)
            extras = ("", *sorted(one.extras))
            if one.marker is not None and not one.marker.evaluate({"extra": ""}):
                continue
            for extra in extras:
                if (name, extra) in seen:
                    continue
                seen.add((name, extra))
                found.setdefault(name, set()).add(part)
                waiting += _of_extra(installed(name), extra)
    return found


def _of_extra(package: Distribution | None, extra: str) -> list[Requirement]:
    """The requirements of an installed package, or of one of its extras."""
    if package is None:
        return []
    listed = [Requirement(text) for text in package.requires or ()]
    chosen = []
    for one in listed:
        if one.marker is None:
            chosen += [] if extra else [one]
        elif one.marker.evaluate({"extra": extra}) and (not extra or not one.marker.evaluate({"extra": ""})):
            one.marker = None
            chosen.append(one)
    return chosen


def installed(name: str) -> Distribution | None:
    """A package as it is installed; None: it is not."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def licence_of(package: Distribution) -> str:
    """The licence that the metadata of a package name."""
    about = package.metadata
    expression = about.get("License-Expression")
    if expression:
        return expression
    named = [text.split(" :: ")[-1] for text in about.get_all("Classifier") or () if text.startswith("License :: ")]
    named = [text for text in named if text not in ("OSI Approved", "Other/Proprietary License")]
    if named:
        return "; ".join(named)
    text = (about.get("License") or "").strip().replace("UNKNOWN", "")
    first = text.splitlines()[0].strip() if text else ""
    return first if 0 < len(first) <= _LONGEST else "not named; see its files"


def is_copyleft(licence: str) -> bool:
    """Whether a licence may ask for something of a program that uses the package: GPL, AGPL, LGPL."""
    return bool(re.search(r"\b(A|L)?GPL|\bGNU\b", licence))


def rows() -> list[tuple[str, str, str]]:
    """Name, licence and who needs it, in the order of the names."""
    listed = []
    for name, parts in sorted(needed().items()):
        package = installed(name)
        licence = "not installed here" if package is None else licence_of(package)
        listed.append((name, licence, "spcl" if "spcl" in parts else ", ".join(sorted(parts))))
    return listed


def table() -> str:
    """The table as Markdown."""
    head = ["| package | licence | needed by |", "|---|---|---|"]
    return "\n".join(head + [f"| {name} | {licence.replace('|', '/')} | {parts} |" for name, licence, parts in rows()])


def main(words: list[str]) -> None:
    """Print the table, or write it behind the mark of the page."""
    if words != ["--write"]:
        print(table())
        return
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.partition(MARK)[0] + MARK + "\n" + table() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
