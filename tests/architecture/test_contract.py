"""The shape of the code: imports go downward, files stay small, the public names are there and documented."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import spcl
from tests.architecture import limits
from tests.shared import PROJECT_ROOT

SOURCES = sorted((PROJECT_ROOT / "src/spcl").rglob("*.py"))
MODULES = [module.name for module in pkgutil.walk_packages(spcl.__path__, "spcl.") if module.name != "spcl.__main__"]


def test_imports_go_downward_only():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main(['--no-logo'])"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_files_have_a_docstring_and_print_only_where_they_may(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert "cli" in path.parts
        assert not isinstance(node, ast.Assert)


def test_files_and_functions_are_within_the_limits():
    found = list(limits.counts())
    assert not [count for count in found if count.is_above and not count.is_excepted]
    assert limits.LIMITS == {"file": 300, "function": 50, "parameters": 8}


def test_what_is_counted():
    source = 'class A:\n    def f(self, a, *b, c=1, **d):\n        """One.\n\n        """\n        return a\n'
    counts = [(count.kind, count.number) for count in limits.counts_of(source, "a.py")]
    assert counts == [("file", 6), ("function", 2), ("parameters", 4)]


def test_the_public_names():
    for name in spcl.__all__:
        value = getattr(spcl, name)
        assert name == "__version__" or inspect.getdoc(value)
    assert set(dir(spcl)) == set(spcl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        spcl.nothing  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_such_examples():
    finder = doctest.DocTestFinder()
    tests = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(tests) >= 5


def test_help_does_not_wait_for_torch():
    code = "import sys; from spcl.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
