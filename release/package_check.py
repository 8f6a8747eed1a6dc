"""Build the wheel and the source archive twice, compare them byte by byte, install the wheel and run it.

1. Both are built from the files that git knows, in two folders, with the time of the last commit (SOURCE_DATE_EPOCH);
   the two builds must be equal, and the wheel that is built from the source archive must be the same wheel.
2. ``twine check`` reads their descriptions.
3. The wheel must hold each file of ``src/spcl`` (recipes, templates, static files) and nothing else.
4. The wheel is installed without its dependencies into a new environment, which takes those of the project's; there
   ``spcl --version``, a training and ``spcl embed`` run, far from the project.

The archives are left in ``dist/``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*words: object, cwd: Path = ROOT, **variables: str) -> str:
    """Run a program and give what it prints; a failure ends this program with its output."""
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=os.environ | variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def tracked() -> list[str]:
    """The files of the project that git knows, and that are there."""
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def copied(folder: Path) -> Path:
    """Copy the files of the project."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def same_each_time(archive: Path, time: int) -> None:
    """Write a ``.tar.gz`` anew, without what differs between two builds: times, owners and the order of files."""
    with tarfile.open(archive) as tar:
        members = [(member, tar.extractfile(member)) for member in sorted(tar.getmembers(), key=lambda one: one.name)]
        text = io.BytesIO()
        with tarfile.open(fileobj=text, mode="w", format=tarfile.PAX_FORMAT) as made:
            for member, content in members:
                member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                made.addfile(member, content)
    with archive.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed:
        packed.write(text.getvalue())


def built(source: Path, out: Path, time: int, *kinds: str) -> list[Path]:
    """Build from a folder; gives the archives."""
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", out, source, SOURCE_DATE_EPOCH=str(time))
    archives = sorted(out.iterdir())
    for archive in archives:
        if archive.name.endswith(".tar.gz"):
            same_each_time(archive, time)
    return archives


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_files(wheel: Path) -> int:
    """Check that the wheel has each file of the package; gives their number."""
    expected = {name.removeprefix("src/") for name in tracked() if name.startswith("src/spcl/")}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    if held != expected:
        raise SystemExit(f"the wheel lacks {sorted(expected - held)[:9]} and has besides {sorted(held - expected)[:9]}")
    return len(held)


def check_installed(wheel: Path, folder: Path) -> None:
    """Install the wheel into a new environment and run it there."""
    place, python = folder / "environment", folder / "environment/bin/python"
    venv.create(place, with_pip=True)
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    ours = run(ROOT / ".venv/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    its = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # A line of a .pth file is searched after the environment's own packages; .pth files in that folder are not read.
    (its / "dependencies.pth").write_text(ours + "\n")
    spcl = folder / "environment/bin/spcl"
    clean = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    where = run(python, "-c", "import spcl; print(spcl.__file__)", cwd=folder, **clean).strip()
    if not Path(where).is_relative_to(place):
        raise SystemExit(f"the environment imports {where}, not the wheel")
    print(run(spcl, "--version", cwd=folder, **clean).strip())
    draw(folder / "images")
    small = {"--arch": "timm/test_efficientnet", "--pretrained": "none", "--height": 32, "--width": 32, "--epochs": 1,
             "--iters": 2, "--batch-size": 8, "--device": "cpu", "--logs-dir": "run"}  # fmt: skip
    flags = [word for pair in small.items() for word in pair]
    run(spcl, "train", "images", "--recipe", "quick", *flags, cwd=folder, **clean)
    run(spcl, "embed", "run/checkpoint.pth.tar", "images", "-o", "features.parquet", cwd=folder, **clean)
    print("spcl train and spcl embed ran from the installed wheel")


def draw(folder: Path) -> None:
    """Small images of six objects, as PPM files."""
    folder.mkdir()
    for number in range(48):
        colour = bytes((40 * (number % 6), 255 - 30 * (number % 6), (17 * number) % 256))
        (folder / f"{number}.ppm").write_bytes(b"P6 32 32 255\n" + colour * 32 * 32)


def main() -> None:
    """Check everything; the first failure ends with its output."""
    time = int(run("git", "log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [copied(folder / one) for one in ("a", "b")]
        first, second = (built(source, folder / f"{source.name}-dist", time) for source in sources)
        for one, other in zip(first, second, strict=True):
            if digest(one) != digest(other):
                raise SystemExit(f"two builds of {one.name} differ: {digest(one)} and {digest(other)}")
            print(f"{one.name}  sha256 {digest(one)}  the same in two builds")
        wheel = next(path for path in first if path.suffix == ".whl")
        archive = next(path for path in first if path.suffix == ".gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder / "unpacked", filter="data")
        again = built(next((folder / "unpacked").iterdir()), folder / "again", time, "--wheel")
        if digest(again[0]) != digest(wheel):
            raise SystemExit("the wheel from the source archive is another: the archive lacks files")
        print("the wheel from the source archive is the same")
        print(run(sys.executable, "-m", "twine", "check", "--strict", *first).strip())
        print(f"the wheel has all {check_files(wheel)} files of src/spcl")
        check_installed(wheel, folder)
        (ROOT / "dist").mkdir(exist_ok=True)
        for path in first:
            shutil.copyfile(path, ROOT / "dist" / path.name)


if __name__ == "__main__":
    main()
