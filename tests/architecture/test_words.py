"""The words of the package: plain technical terms, none of the old private idiom."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ALTERNATIVES = {
    r"(?:re)?tells?|telling|told": "print, report, warn, contain, show or distinguish",
    r"nobody|somebody": "unknown, a stranger, or no process",
    r"heaps?": "a flat folder, or an unlabelled list",
    r"likewise": "the same as `x`, with the name of x",
    r"see there": "the meaning itself",
    r"no numbers? at all": "NaN or infinite",
    r"knows of": "contains, or has",
    r"who wants": "to do this, ...",
    r"the like of it|as for all; and": "the meaning itself",
}
OLD_WORDS = re.compile("|".join(rf"(?P<w{n}>\b(?:{words})\b)" for n, words in enumerate(ALTERNATIVES)), re.IGNORECASE)
NO_ENTRY = re.compile(r"^\s+[\w*, ]+: (?:Likewise|See there|As `+\w+`+|Of the \w+|Its|Whose|Which)\.$", re.MULTILINE)


def texts(source: str) -> Iterator[tuple[int, str]]:
    """The first line and the text of each comment and of each string, parts of f-strings included."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def old_words(text: str, line: int) -> list[tuple[int, str]]:
    found = []
    for match in OLD_WORDS.finditer(text):
        better = list(ALTERNATIVES.values())[int(str(match.lastgroup)[1:])]
        found.append((line + text[: match.start()].count("\n"), f"{match.group()!r}: write {better}"))
    for match in NO_ENTRY.finditer(text):
        place = line + text[: match.start()].count("\n")
        found.append((place, f"{match.group().strip()!r}: write a phrase that stands alone"))
    return found


def test_no_old_words_in_the_package_and_its_pages() -> None:
    found = []
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        # Few files hold such a word at all: only these are parsed, to leave out names in the code.
        for line, text in texts(source) if OLD_WORDS.search(source) or NO_ENTRY.search(source) else ():
            found += [f"{path.relative_to(ROOT)}:{place}: {what}" for place, what in old_words(text, line)]
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(ROOT)}:{place}: {what}" for place, what in old_words(page, 1)]
    assert not found, "\n".join(["words to replace (CONTRIBUTING.md, Words):", *found])


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('"""Fine."""\n\n\ndef f(a):\n    """Do.\n\n    Args:\n        a: Likewise.\n    """\n', [8, 8]),
        ('def f(a):\n    """Do.\n\n    Args:\n        a: Of the draw.\n    """\n', [5]),
        ("x = 1  # nobody reads it\n", [1]),
        ('y = f"{x} does not tell it"\n', [1]),
        ('told = 1  # a name of a variable\nfile.tell()\nz = "storytelling"\n', []),
    ],
)
def test_old_words_are_found_where_they_stand(source: str, lines: list[int]) -> None:
    assert sorted(place for line, text in texts(source) for place, _ in old_words(text, line)) == lines
