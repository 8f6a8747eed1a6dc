"""A hook of mkdocs: the page of the public Python names, made from ``spcl.__all__`` and the docstrings."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

PAGE = "python.md"
_INIT = Path(__file__).parents[1] / "src" / "spcl" / "__init__.py"
_HEAD = """# Python

The public names, all imported from `spcl`. Arrays may be NumPy arrays or torch tensors. Shape letters: `B` batch, `D`
feature length, `N` target images, `Q` and `G` queries and gallery, `k` neighbours.
"""


def public_names(source: str) -> list[str]:
    """The names in ``__all__`` of a module's source, but for dunder names; nothing is imported."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    raise ValueError("the source has no __all__")


def page_of(names: list[str]) -> str:
    """The page's Markdown: functions first, then classes."""
    functions = sorted(name for name in names if name[0].islower())
    classes = sorted(name for name in names if not name[0].islower())
    parts = [_HEAD]
    for title, group in (("Functions", functions), ("Classes", classes)):
        parts += [f"## {title}\n", *(f"::: spcl.{name}\n" for name in group)]
    return "\n".join(parts)


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs with the site's files: adds the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page_of(public_names(_INIT.read_text(encoding="utf-8")))))
    return files
