"""A hook of mkdocs: the page of error codes, made from the calls of ``InputError`` in the source.

Each call has a literal ``code``; the messages are shown with the names of the values that are filled in. Run as a
script, it prints the page. Nothing is imported from the package.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = "errors.md"
SOURCE = Path(__file__).parents[1] / "src" / "spcl"
_BASE = "InputError"
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEAD = """# Error codes

An error that you can correct is printed as one message with a code in brackets, and the command ends with exit code 2:

    error: there is no checkpoint runs/mine/model.pth.tar [no-such-checkpoint]

The message names the value, what was expected and the next step; its words can change between versions. The code stays.
Programs should compare the code. In Python the error is a `spcl.InputError`, and its attribute `code` holds the code:

    try:
        encoder = spcl.load_encoder(path)
    except spcl.InputError as error:
        if error.code != "no-such-checkpoint":
            raise

Below, every code is listed with its messages. `{name}` stands for a value that is filled in, `{...}` for a longer part.
"""


@dataclass(frozen=True)
class RaisedError:
    """One call that makes an error.

    Attributes:
        place: File below the package and line.
        code: Literal code. None: there is none, or it is not a literal.
        hands_on: Whether the code of another error is handed on (``code=error.code``, or a parameter ``code``).
        messages: Templates of the message, one for each alternative.
    """

    place: str
    code: str | None
    hands_on: bool
    messages: tuple[str, ...]

    @property
    def is_coded(self) -> bool:
        """Whether the code is a literal in kebab case, or that of another error."""
        return self.hands_on or (self.code is not None and _KEBAB.fullmatch(self.code) is not None)


def raised_errors(source: Path = SOURCE) -> list[RaisedError]:
    """Every call below a folder that makes an ``InputError`` or one of a subclass, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    subclasses = [node for node in classes if any(_name(base) == _BASE for base in node.bases)]
    # A subclass with an ``__init__`` of its own gives message and code there; the others are called as their base is.
    names = {_BASE} | {node.name for node in subclasses if not any(_is_init(part) for part in node.body)}
    inits = {id(call) for node in subclasses for part in node.body if _is_init(part) for call in ast.walk(part)}
    found = []
    for path, tree in trees.items():
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        calls = [node for node in nodes if _name(node.func) in names or (id(node) in inits and _is_of_super(node))]
        for call in sorted(calls, key=lambda call: call.lineno):
            found.append(_raised(call, f"{path.relative_to(source).as_posix()}:{call.lineno}"))
    return found


def page_of(errors: list[RaisedError]) -> str:
    """The page's Markdown: one section for each code, in alphabetical order."""
    messages: dict[str, list[str]] = {}
    for error in errors:
        if error.code is not None:
            known = messages.setdefault(error.code, [])
            known += [message for message in error.messages if message not in known]
    sections = [
        f"## {code}\n\n" + "".join(f"- {_quoted(text)}\n" for text in messages[code]) for code in sorted(messages)
    ]
    return "\n".join([_HEAD, *sections])


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs with the site's files: adds the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page_of(raised_errors())))
    return files


def _raised(call: ast.Call, place: str) -> RaisedError:
    """What a call says."""
    given = next((word.value for word in call.keywords if word.arg == "code"), None)
    code = given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None
    texts = _templates(call.args[0]) if call.args else []
    shown = tuple(dict.fromkeys(text for text in texts if re.sub(r"\{[^}]*\}|\W", "", text)))
    return RaisedError(place, code, given is not None and _name(given) == "code", shown)


def _is_init(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "__init__"


def _is_of_super(call: ast.Call) -> bool:
    """Whether this is ``super().__init__(...)``."""
    return isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"


def _name(node: ast.AST) -> str | None:
    """The last name of an expression: of ``a.b`` it is b."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def _templates(node: ast.AST) -> list[str]:
    """The texts that an expression can be, with the names of filled-in values in braces."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*_templates(node.body), *_templates(node.orelse)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in _templates(node.left) for right in _templates(node.right)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(_parts(node))]
    return ["{...}"]


def _parts(node: ast.JoinedStr) -> Iterator[str]:
    """The parts of an f-string."""
    for part in node.values:
        if isinstance(part, ast.Constant):
            yield str(part.value)
        elif isinstance(part, ast.FormattedValue):
            yield "{" + (_name(part.value) or "...").lower().strip("_") + "}"


def _quoted(text: str) -> str:
    """A text as code on one line of Markdown."""
    line = " ".join(text.split())
    return f"`` {line} ``" if "`" in line else f"`{line}`"


if __name__ == "__main__":
    sys.stdout.write(page_of(raised_errors()))
