import subprocess
import sys

import numpy as np
import pytest

from spcl.gallery.gallery import Gallery
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw
from tests.verification.test_calibrate import write_checkpoint

# A command's help text, a typo in a flag and a missing argument, for all commands, in one process.
_PROGRAM = """
import contextlib, io, sys
from spcl.cli import official
from spcl.cli.main import COMMANDS, main, run_guarded

HEAVY = ("torch", "torchvision", "timm", "numba", "pandas", "scipy", "sklearn", "lancedb", "pyarrow", "matplotlib")

def answered(program, *words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            program(list(words))
        except SystemExit as ended:
            code = ended.code or 0
        else:
            raise AssertionError(f"{words} went on")
    loaded = [name for name in HEAVY if name in sys.modules]
    assert not loaded, f"{words} has loaded {loaded}"
    return code, out.getvalue() + err.getvalue()

for command in COMMANDS:
    code, text = answered(main, command, "--help")
    assert code == 0 and "usage" in text, (command, code, text)
    code, text = answered(main, command, "--no-such-flag")
    assert code == 2 and "--help" in text, (command, code, text)
for script in (official.train_uda, official.train_usl, official.run_test):
    code, text = answered(lambda words: run_guarded(lambda: script(words)), "--help")
    assert code == 0 and "usage" in text, (script, code, text)
    code, text = answered(lambda words: run_guarded(lambda: script(words)), "--no-such-flag")
    assert code == 2 and "--help" in text, (script, code, text)
for words in ("compare c", "train x --epochs none", "cluster x -o y --eps 2", "export c out.txt", "suggest x --k1"):
    assert answered(main, *words.split())[0] == 2, words
for words in ("embed nowhere -o f.parquet", "search nowhere q.jpg", "identify nowhere q.jpg"):
    assert answered(main, *words.split())[0] == 2, words
print("all answered")
"""


def test_help_and_wrong_flags_load_nothing_that_computes():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert done.stdout.endswith("all answered\n"), done.stdout + done.stderr


_COMPARES = """
import sys
from spcl.cli.main import main

def unneeded(*names):
    loaded = [name for name in names if name in sys.modules]
    assert not loaded, loaded


COMPILED = ("torch._dynamo", "torch._dynamo.utils", "numba", "scipy", "sklearn", "lancedb", "matplotlib", "accelerate")
main(["compare", "resnet.pth.tar", "a.png", "b.png"])
unneeded(*COMPILED, "timm", "pandas", "pyarrow")
main(["compare", "c.pth.tar", "a.png", "b.png"])
unneeded(*COMPILED, "pandas", "pyarrow")
main(["embed", "c.pth.tar", "images.csv", "-o", "f.parquet"])
main(["search", "c.pth.tar", "f.parquet", "a.png"])
main(["search", "c.pth.tar", "images.csv", "a.png"])
import numpy as np
from spcl.gallery.gallery import Gallery
gallery = Gallery.open("g")
assert [hit.path for hit in gallery.search(np.eye(8, dtype="float32")[3], k=1)[0]] == ["/images/3.jpg"]
assert len(gallery) == 8 and len(gallery.enrolled().identities) == 4
assert gallery.nearest_of(np.eye(8, dtype="float32")[:1], ["1"])[0].identity == "1"
unneeded(*COMPILED)
main(["identify", "c.pth.tar", "f.parquet", "a.png"])
unneeded("lancedb", "numba", "torch._dynamo")

# The compiler is whole where it is wanted after all.
import timm, torch, torchvision
assert torch.compile(lambda values: values + 1, backend="eager")(torch.zeros(2)).sum() == 2
assert torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu") in (True, False)
assert torch.compiler.disable(len)([1]) == 1
print("compared")
"""


@pytest.mark.slow
def test_comparisons_and_searches_load_no_more_than_they_need(tmp_path):
    write_checkpoint(tmp_path / "c.pth.tar")
    resnet = EncoderNetwork(EncoderSettings(arch="resnet18", height=64, width=32))
    save_atomically(checkpoint_of(resnet, epoch=0, best_mean_ap=None, facts={}), tmp_path / "resnet.pth.tar")
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, 1, 2)
    rows = ["path,identity"]
    for number in range(60):
        draw(tmp_path / f"{number}.png", number // 2, number)
        rows.append(f"{number}.png,{number // 2}")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    paths = [f"/images/{number}.jpg" for number in range(8)]
    gallery.add_features(np.eye(8, dtype=np.float32), paths, identities=[number // 2 for number in range(8)])
    gallery.tidy()
    done = subprocess.run([sys.executable, "-c", _COMPARES], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.endswith("compared\n"), done.stdout + done.stderr


_PROCESS = """
import sys
from spcl.cli.main import main

try:
    main()
finally:
    loaded = [name for name in ("pandas", "accelerate", "torch._dynamo", "lancedb") if name in sys.modules]
    print(f"needlessly loaded: {loaded}")
"""


@pytest.mark.slow
def test_a_process_that_answers_at_once_leaves_pandas_out(tmp_path):
    write_checkpoint(tmp_path / "c.pth.tar")
    draw(tmp_path / "a.png", 1, 2)
    (tmp_path / "images.csv").write_text("path\na.png")
    words = ["search", "c.pth.tar", "images.csv", "a.png"]
    done = subprocess.run([sys.executable, "-c", _PROCESS, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "needlessly loaded: []" in done.stdout


def test_a_program_that_calls_a_command_keeps_its_pandas_and_its_collector():
    program = "import gc; was = gc.get_threshold(); from spcl.cli.main import main\ntry: main(['search', '--help'])\n"
    program += "finally: import pandas; assert gc.get_threshold() == was"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
