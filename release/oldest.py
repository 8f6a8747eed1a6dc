"""Make ``.venv-oldest``: the oldest Python and the oldest versions of the dependencies that pyproject.toml allows.

Every direct dependency of the package, of its extras for tests and of ``demo`` gets the oldest release that its lower
bound and the bounds of the others allow; what these need in turn gets the newest (``uv pip compile --resolution
lowest-direct``). The versions are written to ``.venv-oldest/versions.txt``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("dev", "demo")
OLDEST = re.compile(r'requires-python = ">=([0-9.]+)"')


def oldest_python(text: str) -> str:
    """The oldest version of Python in the text of pyproject.toml, as ``3.10``."""
    found = OLDEST.search(text)
    if found is None:
        raise SystemExit("pyproject.toml names no oldest version of Python (requires-python)")
    return found.group(1)


def found_python(version: str) -> tuple[str, bool]:
    """Look for a Python of a version.

    Returns:
        Its program and True, or the running Python and False.
    """
    homes = sorted((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python{version}"))
    for program in (f"python{version}", *map(str, homes)):
        try:
            # A stand-in of a version manager exists also where the version does not.
            subprocess.run([program, "--version"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return program, True
    return sys.executable, False


def main() -> None:
    """Resolve, install, and print what was chosen."""
    version = oldest_python((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    python, is_oldest = found_python(version)
    if not is_oldest:
        print(f"there is no python{version} here: the running Python {sys.version.split()[0]} takes its place")
    place = ROOT / ".venv-oldest"
    place.mkdir(exist_ok=True)
    uv, versions = [sys.executable, "-m", "uv"], place / "versions.txt"
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    run = [
        [*uv, "venv", "--quiet", "--allow-existing", "--python", python, str(place)],
        [*uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--resolution", "lowest-direct",
         "--python", python, *extras, "pyproject.toml", "-o", str(versions)],
        [*uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), "-r", str(versions)],
        [*uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), "--no-deps", "--editable", "."],
    ]  # fmt: skip
    for command in run:
        subprocess.run(command, cwd=ROOT, check=True)
    subprocess.run([place / "bin/python", "--version"], check=True)
    shown = re.compile(r"^(accelerate|lancedb|numba|numpy|pillow|pyarrow|scipy|timm|torch|torchvision)==", re.MULTILINE)
    print(*[line for line in versions.read_text().splitlines() if shown.match(line)], sep="\n")


if __name__ == "__main__":
    main()
