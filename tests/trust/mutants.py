"""Mutation testing: put one fault at a time into a room of the package, and count the faults that its tests find.

::

    python tests/trust/mutants.py selfpaced --number 150 --seed 0 --out /tmp/mutants

A fault is a changed comparison, operator, constant, condition or returned value. The compiled loops run as Python
(``NUMBA_DISABLE_JIT=1``), so that a fault in them costs no compilation, and so that coverage sees them. First the tests
of the room run once under coverage, each line with the tests that reach it; tests that take long without compilation
are left out and counted. Then each fault gets a process of its own, forked from one in which the libraries are loaded,
and the tests that reach its line run until one of them fails. A fault is found if a test fails, or if the tests need
more than ten times their processor time (a loop without an end). A fault that is not found, on a line that a test
reaches that was left out, is not judged and does not count.

The sample is drawn with a seed; the same command draws the same faults. Results are appended to a file, one line a
fault; a stopped run continues there.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("selfpaced", "retrieval", "neighbours", "verification")
_LONGEST_TEST, _FACTOR, _LEAST_SECONDS, _LONGEST_WAIT = 8.0, 10.0, 30, 900.0

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


class _Sites(ast.NodeVisitor):
    """Collects the nodes that can be changed, in the order of the file."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str]] = []

    def visit(self, node: ast.AST) -> None:
        for kind in kinds_of(node):
            self.found.append((node, kind))
        for name, value in ast.iter_fields(node):
            # Types, decorators and texts are no behaviour that a test of numbers can see.
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Raise):
                    self.visit(child)


def kinds_of(node: ast.AST) -> tuple[str, ...]:
    """The kinds of change that a node can have."""
    match node:
        case ast.Compare():
            return ("comparison",)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in _OPERATORS:
            return ("operator",)
        case ast.Constant(value=bool() | int() | float()):
            return ("constant",)
        case ast.BoolOp():
            return ("and-or",)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return ("no-negation",)
        case ast.If() | ast.While() | ast.IfExp() if "TYPE_CHECKING" not in ast.dump(node.test):
            return ("condition",)
        case ast.Return(value=ast.expr()):
            return ("return",)
        case ast.Break() | ast.Continue():
            return ("break-continue",)
    return ()


def changed(source: str, number: int) -> tuple[ast.Module, int, str]:
    """Change the site ``number`` of a source.

    Returns:
        The tree, the line of the change, and a description: the old and the new code.
    """
    tree = ast.parse(source)
    sites = _Sites()
    sites.visit(tree)
    node, kind = sites.found[number]
    old = ast.unparse(node).splitlines()[0]
    new = _replacement(node, kind)
    if new is not node:
        _Swap(node, new).visit(tree)
    ast.fix_missing_locations(tree)
    return tree, node.lineno, f"{kind}: {old} -> {ast.unparse(new).splitlines()[0]}"  # type: ignore[attr-defined]


def _replacement(node: ast.AST, kind: str) -> ast.AST:
    match node:
        case ast.Compare():
            node.ops[0] = _COMPARISONS[type(node.ops[0])]()
        case ast.BinOp() | ast.AugAssign():
            node.op = _OPERATORS[type(node.op)]()
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant():
            node.value = node.value + 1 if isinstance(node.value, int) else node.value * 2 or 1.0
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            return node.operand
        case ast.If() | ast.While() | ast.IfExp():
            node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
        case ast.Return():
            node.value = ast.copy_location(ast.Constant(None), node)
        case ast.Break():
            return ast.copy_location(ast.Continue(), node)
        case ast.Continue():
            return ast.copy_location(ast.Break(), node)
    return node


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def num_sites(source: str) -> int:
    """How many changes a source can have."""
    sites = _Sites()
    sites.visit(ast.parse(source))
    return len(sites.found)


class _Loader(importlib.abc.Loader):
    def __init__(self, tree: ast.Module, path: Path) -> None:
        self.tree, self.path = tree, path

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the changed module in place of the one on the disk."""

    def __init__(self, name: str, tree: ast.Module, path: Path) -> None:
        self.name, self.loader, self.path = name, _Loader(tree, path), path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self.loader, origin=str(self.path))
        spec.has_location = True
        return spec


_OPTIONS = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not trust", "--no-header"]


def _environment(out: Path) -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "NUMBA_DISABLE_JIT": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(out / "hypothesis"),
    }


class _Times:
    """A plugin of pytest: the processor time and the outcome of each test, and which lines it reaches."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self.seconds: Counter[str] = Counter()
        self.unfit: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()
        self.measured.switch_context(_name(item.nodeid))
        try:
            return (yield)
        finally:
            self.seconds[_name(item.nodeid)] += time.process_time() - began
            self.measured.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome != "passed":
            self.unfit.add(_name(report.nodeid))


def _name(node: str) -> str:
    """``tests/room/test_x.py::test_y[1]`` as coverage names it: ``tests.room.test_x.test_y``."""
    return node.split("[")[0].replace(".py::", ".").replace("/", ".").replace("::", ".")


def covered(room: str, out: Path) -> None:
    """Run the tests of a room once under coverage; write which tests reach which line, with their processor time."""
    child = os.fork()
    if child == 0:
        log = os.open(out / f"{room}.coverage.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        measured = coverage.Coverage(
            data_file=str(out / f"{room}.coverage"), branch=True, source=[str(ROOT / "src/spcl" / room)],
            config_file=False, context=None,
        )  # fmt: skip
        times = _Times(measured)
        measured.start()
        try:
            pytest.main([*_OPTIONS, "--timeout=900", f"tests/{room}"], plugins=[times])
        finally:
            measured.stop()
            measured.save()
            measured.report(show_missing=True)
            content = {"seconds": times.seconds, "unfit": sorted(times.unfit)}
            (out / f"{room}.times.json").write_text(json.dumps(content))
            os._exit(0)
    os.waitpid(child, 0)


def tests_of_lines(room: str, out: Path) -> tuple[dict[Path, dict[int, set[str]]], dict[str, float], int]:
    """The tests that reach each line of each file, the seconds of each test, and how many were left out as too long."""
    content = json.loads((out / f"{room}.times.json").read_text())
    seconds = content["seconds"]
    usable = {name for name, taken in seconds.items() if taken <= _LONGEST_TEST and name not in content["unfit"]}
    data = coverage.CoverageData(str(out / f"{room}.coverage"))
    data.read()
    # Tests whose lines were not told apart run for every fault.
    everywhere = usable - data.measured_contexts()
    lines: dict[Path, dict[int, set[str]]] = {}
    for file in data.measured_files():
        contexts = data.contexts_by_lineno(file)
        lines[Path(file)] = {line: everywhere | (usable & set(names)) for line, names in contexts.items()}
        for line, names in contexts.items():
            if "" in names:  # executed at the import: every test of the room may see it
                lines[Path(file)][line] |= usable
    return lines, seconds, len(seconds) - len(usable)


def reached_by(path: Path, line: int, room: str, out: Path) -> set[str]:
    """The tests that reach a line, those that take too long included."""
    data = coverage.CoverageData(str(out / f"{room}.coverage"))
    data.read()
    return set(data.contexts_by_lineno(str(path)).get(line, ()))


def node_id(name: str) -> str:
    """``tests.room.test_x.test_y`` as pytest names it."""
    module, test = name.rsplit(".", 1)
    return f"{module.replace('.', '/')}.py::{test}"


def run_one(path: Path, number: int, tests: Sequence[str], seconds: float) -> str:
    """Run tests with one fault in a forked process: ``killed``, ``survived`` or ``no end``."""
    tree, _, _ = changed(path.read_text(encoding="utf-8"), number)
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setsid()
            limit = int(_LEAST_SECONDS + _FACTOR * seconds)
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
            resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
            null = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(null, stream)
            sys.meta_path.insert(0, _Finder(name, tree, path))
            code = int(pytest.main([*_OPTIONS, "-x", "--timeout=600", *map(node_id, tests)]))
        finally:
            os._exit(code)
    return _outcome(child)


def _outcome(child: int) -> str:
    end = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code in (-signal.SIGXCPU, -signal.SIGKILL):
                return "no end"
            return "survived" if code == 0 else "killed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "no end"


def sample(room: str, number: int, seed: int) -> list[tuple[Path, int]]:
    """Draw faults of a room: files with their numbers, in the order in which they were drawn."""
    files = sorted((ROOT / "src/spcl" / room).glob("*.py"))
    sites = [(file, index) for file in files for index in range(num_sites(file.read_text(encoding="utf-8")))]
    random.Random(seed).shuffle(sites)
    print(f"{room}: {len(sites)} possible faults; {min(number, len(sites))} drawn with seed {seed}", flush=True)
    return sites[:number]


def _preload() -> None:
    for name in ("numpy", "torch", "scipy.sparse", "scipy.stats", "scipy.optimize", "numba", "pytest", "hypothesis",
                 "PIL.Image", "sklearn.cluster", "pyarrow", "timm"):  # fmt: skip
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed; its tests are skipped")


def main(room: str, number: int, seed: int, out: Path) -> None:
    """Run the faults of a room and print the score and the survivors."""
    out.mkdir(parents=True, exist_ok=True)
    os.environ.update(_environment(out))
    sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]
    os.chdir(ROOT)
    _preload()
    if not (out / f"{room}.times.json").exists():
        covered(room, out)
    lines, seconds, left_out = tests_of_lines(room, out)
    print(f"{room}: {len(seconds)} tests, of which {left_out} take more than {_LONGEST_TEST:g} s or do not apply")
    too_long = {name for name, taken in seconds.items() if taken > _LONGEST_TEST}
    results = out / f"{room}.jsonl"
    known = {(row["file"], row["site"]) for row in read(results)}
    for path, site in sample(room, number, seed):
        file = str(path.relative_to(ROOT))
        if (file, site) in known:
            continue
        _, line, what = changed(path.read_text(encoding="utf-8"), site)
        tests = sorted(lines.get(path, {}).get(line, ()), key=lambda name: seconds[name])
        budget = sum(seconds[name] for name in tests)
        outcome = run_one(path, site, tests, budget) if tests else "not reached"
        if outcome in ("survived", "not reached") and too_long & reached_by(path, line, room, out):
            outcome = "not judged"
        with results.open("a") as handle:
            row = {"file": file, "site": site, "line": line, "what": what, "tests": len(tests), "outcome": outcome}
            handle.write(json.dumps(row) + "\n")
    print_score(room, list(read(results)))


def read(results: Path) -> Iterator[dict[str, str]]:
    """The lines of a file of results."""
    if results.exists():
        yield from map(json.loads, results.read_text().splitlines())


def print_score(room: str, rows: list[dict[str, str]]) -> None:
    """Print how many faults were found, and those that were not."""
    counts = Counter(row["outcome"] for row in rows)
    found, judged = counts["killed"] + counts["no end"], len(rows) - counts["not judged"]
    print(f"{room}: {found} of {judged} faults found ({100 * found / max(1, judged):.0f} %), {dict(counts)}")
    for row in rows:
        if row["outcome"] in ("survived", "not reached"):
            print(f"  {row['outcome']:12} {row['file']}:{row['line']}  {row['what']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--number", type=int, default=150, help="faults to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    given = parser.parse_args()
    main(given.room, given.number, given.seed, given.out)
