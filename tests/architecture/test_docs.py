"""The pages: each is in the site's navigation, links and anchors lead somewhere; the site's page of Python names."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import spcl
from spcl.kinds import KINDS
from tests.shared import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
PAGES = [PROJECT_ROOT / "README.md", PROJECT_ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SITE = yaml.safe_load((PROJECT_ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
GENERATED = {"python.md", "errors.md"}


def prose(path: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda found: found[0].replace("](", ""), text)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[\s]", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def pages_in(entry: object) -> list[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry
    return [page for part in inner for page in pages_in(part)]


def hook_of(name: str) -> ModuleType:
    """A hook of the site's build, which is no part of a package."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    hook = importlib.util.module_from_spec(spec)
    sys.modules[name] = hook
    spec.loader.exec_module(hook)
    return hook


def test_every_page_is_in_the_navigation_once():
    there = {path.name for path in DOCS.glob("*.md")} | GENERATED
    listed = pages_in(SITE["nav"])
    assert set(listed) == there, "add a new page to nav in mkdocs.yml"
    assert len(listed) == len(there)
    assert {title for part in SITE["nav"] for title in part} >= {
        "Tutorials",
        "How-to guides",
        "Reference",
        "Explanation",
    }
    # A broken link is an error of the build, and nothing is fetched.
    assert SITE["strict"] is True
    assert SITE["theme"]["font"] is False


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_and_anchor_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), f"{page.name}: {link}"
        assert page.parent != DOCS or DOCS in target.resolve().parents, f"{page.name}: {link} is not on the site"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_the_doors_and_the_glossary_are_reached_from_the_readme():
    text = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("folder-of-images", "cameras", "research", "index", "glossary", "faq"):
        assert f"(docs/{name}.md)" in text, name
    assert len(re.findall(r"^## ", (DOCS / "glossary.md").read_text(encoding="utf-8"), flags=re.MULTILINE)) >= 12


def test_the_page_of_python_names_has_each_public_name():
    hook = hook_of("api_pages")
    names = hook.public_names((PROJECT_ROOT / "src/spcl/__init__.py").read_text(encoding="utf-8"))
    assert names == [name for name in spcl.__all__ if not name.startswith("__")]
    page = hook.page_of(names)
    assert re.findall(r"^::: spcl\.(\w+)$", page, flags=re.MULTILINE) == [
        *sorted(name for name in names if name[0].islower()),
        *sorted(name for name in names if name[0].isupper()),
    ]
    assert hook.PAGE in GENERATED
    with pytest.raises(ValueError, match="no __all__"):
        hook.public_names("x = 1")


def test_every_error_of_the_user_has_a_literal_code():
    errors = hook_of("error_pages").raised_errors()
    assert len(errors) > 300
    without = [error.place for error in errors if not error.is_coded]
    assert not without, "\n".join(["InputError without code=, as a literal in kebab case:", *without])


def test_the_page_of_error_codes_has_each_code_and_its_messages(tmp_path):
    hook = hook_of("error_pages")
    (tmp_path / "faults.py").write_text(
        """
class UnreadableError(InputError):
    pass

class NoImageError(InputError):
    def __init__(self, path):
        super().__init__(f"{path} is not an image", code="not-an-image")

def check(path, size, error):
    if size:
        raise InputError(f"{path} has {size:,} bytes; " + ("give" if a else "take") + f" {len(path)}", code="too-large")
    if path:
        raise UnreadableError("a `quoted` word", code="not-readable")
    if error:
        raise NoImageError(path) from errors.InputError(str(error), code=error.code)
    raise InputError("no code")
""",
        encoding="utf-8",
    )
    errors = hook.raised_errors(tmp_path)
    assert [error.code for error in errors] == ["not-an-image", "too-large", "not-readable", None, None]
    assert [error.is_coded for error in errors] == [True, True, True, True, False]
    assert errors[4].place == "faults.py:16"
    page = hook.page_of(errors)
    assert re.findall("^## (.+)$", page, flags=re.MULTILINE) == [*("not-an-image", "not-readable", "too-large")]
    assert "- `{path} has {size} bytes; give {...}`\n- `{path} has {size} bytes; take {...}`\n" in page
    assert "- `` a `quoted` word ``\n" in page
    assert hook.PAGE in GENERATED


def test_every_test_that_a_page_names_exists():
    names: dict[str, str] = {}
    for path in (PROJECT_ROOT / "tests").rglob("test_*.py"):
        names[path.name] = names.get(path.name, "") + path.read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for file, test in re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)(?:: (test_\w+))?", text):
            assert (PROJECT_ROOT / file).exists() if "/" in file else file in names, f"{page.name}: {file}"
            assert f"def {test}" in names[Path(file).name], f"{page.name}: {file}: {test}"


def test_every_file_of_the_project_that_a_page_names_exists():
    for page in PAGES:
        for file in re.findall(r"`((?:\w+/)+\w+\.(?:py|toml|sbatch))\b", page.read_text(encoding="utf-8")):
            roots = (PROJECT_ROOT, PROJECT_ROOT / "src/spcl")
            assert file.startswith("boxmot/") or any((root / file).exists() for root in roots), f"{page.name}: {file}"


def test_the_files_of_where_is_what_exist():
    text = (PROJECT_ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+\? \| (.+) \|$", text, flags=re.MULTILINE)
    assert len(rows) >= 10
    for row in rows:
        files = re.findall(r"`([^`]+)`", row)
        assert files
        assert [file for file in files if not (PROJECT_ROOT / "src/spcl" / file).is_file()] == []


def test_every_recipe_and_every_kind_of_a_part_is_on_its_page():
    recipes = {path.stem for path in (PROJECT_ROOT / "src/spcl/recipes").glob("*.toml")}
    kinds = {kind for section in KINDS.values() for kind in section}
    for page, names in (("cli.md", recipes), ("change-the-parts.md", kinds)):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert {name for name in names if f"`{name}`" not in text} == set(), page


def test_examples_in_docstrings_stand_under_the_heading_that_the_site_knows():
    for path in (PROJECT_ROOT / "src").rglob("*.py"):
        assert not re.search(r"^\s*Example:$", path.read_text(encoding="utf-8"), flags=re.MULTILINE), (
            f"{path}: Examples:"
        )
