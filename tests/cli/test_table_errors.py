"""A mistake in a table is reported by every command before anything that computes is imported."""

from __future__ import annotations

import json
import subprocess
import sys

COMMANDS = (
    "embed c.pth {} --gallery g",
    "cluster {} -o o",
    "suggest {}",
    "calibrate c.pth {}",
    "train {}",
    "train --target {} --source {}",
    "evaluate c.pth {}",
    "adapt c.pth {}",
    "adapt c.pth a.jpg --evaluate {}",
    "search c.pth {} a.jpg",
    "search c.pth g {}",
    "identify c.pth {} a.jpg",
    "identify c.pth g {}",
    "export c.pth x.onnx --images {}",
)

BEFORE_TORCH = {
    "train a.jpg --from-checkpoint c.pth --epoch 3": "unknown-flag",
    "train a.jpg --from-checkpoint c.pth --epochs x": "bad-value",
    "train a.jpg --from-checkpoint c.pth --epochs 0": "setting-out-of-range",
    "train names.csv --from-checkpoint c.pth": "no-such-column",
    "train a.jpg --from-checkpoint c.pth --source gone.tsv": "missing-images",
    "compare c.pth names.csv a.jpg": "not-an-image",
    "compare a.jpg gone.tsv": "not-an-image",
    "compare a.jpg gone.jpg": "no-such-file",
}
"""Commands that are refused without torch, and the codes."""

_SCRIPT = """
import contextlib, io, json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "pandas", "numba", "lancedb", "matplotlib"):
            raise RuntimeError(name + " is imported")

sys.meta_path.insert(0, Refuse())
from spcl.cli.main import main

found = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main(words)
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        code = repr(error)
    found.append((code, said.getvalue()))
print(json.dumps(found))
"""


def test_no_command_imports_what_computes_for_a_mistake_in_a_table(tmp_path):
    (tmp_path / "names.csv").write_text("file;time\na.jpg;now\n")
    (tmp_path / "gone.tsv").write_text("path\tidentity\nb.jpg\tx\n")
    (tmp_path / "a.jpg").write_text("x")
    (tmp_path / "g/images.lance").mkdir(parents=True)  # what a gallery looks like before it is opened
    words = [line.format(table, table).split() for line in COMMANDS for table in ("names.csv", "gone.tsv")]
    words.append(["embed", "c.pth", "names.csv", "--columns", "path=file", "--gallery", "g"])
    words.append(["embed", "c.pth", "names.csv", "--columns", "path=datei", "--gallery", "g"])
    words.append(["train", "a.jpg", "--source", "none.csv"])
    words += [line.split() for line in BEFORE_TORCH]
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, json.dumps(words)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    num_tables = len(COMMANDS) * 2
    for command, (code, said) in zip(words[:num_tables], found, strict=False):
        message = "has no column 'path'" if "names.csv" in command else "1 of 1 listed images are missing"
        assert code == 2 and message in " ".join(said.split()), (command, code, said)
    for command, (code, said) in zip(BEFORE_TORCH, found[num_tables + 3 :], strict=True):
        assert code == 2 and f"[{BEFORE_TORCH[command]}]" in said, (command, code, said)
    times, columns, missing = (" ".join(said.split()) for _, said in found[num_tables : num_tables + 3])
    assert "there is no table none.csv" in missing
    assert "'now' in line 2 of names.csv" in times and "--time-format" in times
    assert "has no column 'datei'; it has file, time" in columns
