"""The job file for SLURM, with stand-ins for SLURM's programs: what it starts, and what it does near the time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed.launching import environment
from tests.fakes import write_fake
from tests.shared import PROJECT_ROOT

JOB = PROJECT_ROOT / "examples" / "slurm" / "train.sbatch"
SCONTROL = '#!/bin/sh\necho "$@" >> "$CALLS/scontrol"\ncase "$1" in show) echo localhost; echo elsewhere;; esac\n'
RECORDS = """#!/bin/sh
printf "%s\\n" "$@" > "$CALLS/srun"
echo "$OMP_NUM_THREADS" > "$CALLS/threads"
exec sh -c "$THEN"
"""
PYTHON = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
RUNS = '#!/bin/sh\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n'
"""srun's own flags come first; then the program."""


def slurm(folder: Path, srun: str) -> dict[str, str]:
    """An environment as in a job of two nodes' worth of settings, with stand-ins for srun and scontrol."""
    for name, text in {"srun": srun, "scontrol": SCONTROL, "python": PYTHON}.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    job = {"SLURM_JOB_ID": "4321", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4"}
    more = {"SLURM_CPUS_PER_TASK": "16", "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "CALLS": str(folder)}
    return {name: value for name, value in environment().items() if name != "OMP_NUM_THREADS"} | job | more


def test_the_job_file_starts_one_launcher_a_node_with_the_users_words(tmp_path):
    subprocess.run(["bash", "-n", str(JOB)], check=True)
    words = ["--target", "my crops", "--logs-dir", "runs/msmt"]
    done = subprocess.run(["bash", str(JOB), *words], env=slurm(tmp_path, RECORDS) | {"THEN": "true"}, check=True)
    assert done.returncode == 0
    started = (tmp_path / "srun").read_text().splitlines()
    assert started[:4] == ["--kill-on-bad-exit=1", "python", "-m", "torch.distributed.run"]
    launcher = dict(zip(started[4:14:2], started[5:14:2], strict=True))
    assert launcher == {
        "--nnodes": "2",
        "--nproc-per-node": "4",
        "--rdzv-id": "4321-0",
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": "localhost:29821",
    }
    assert started[14:] == ["-m", "spcl", "train", "--resume-or-start", "--checkpoint-iters", "100", *words]
    assert (tmp_path / "threads").read_text() == "4\n"


@pytest.mark.slow
def test_near_the_time_limit_the_job_is_queued_again_and_the_training_is_waited_for(tmp_path):
    environment = slurm(tmp_path, RECORDS) | {"THEN": "sleep 2; exit 7"}
    job = subprocess.Popen(["bash", str(JOB)], env=environment, stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "threads").exists():
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate()
    assert "job 4321 is queued again" in output
    assert (tmp_path / "scontrol").read_text().splitlines()[-1] == "requeue 4321"
    # The training's own status, not that of the signal.
    assert job.returncode == 7


@pytest.mark.slow
def test_the_job_file_trains_and_continues(tmp_path):
    target = write_fake("market1501", tmp_path)
    environment = slurm(tmp_path, RUNS) | {"SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "2"}
    small = ["--arch", "timm/test_resnet", "--pretrained", "none", "--height", "32", "--width", "16", "--k1", "6"]
    steps = [
        "--batch-size",
        "8",
        "--batch-norm-group",
        "4",
        "--iters",
        "3",
        "--device",
        "cpu",
        "--checkpoint-iters",
        "2",
    ]
    words = ["bash", str(JOB), str(target), "--logs-dir", str(tmp_path / "run"), *small, *steps]
    for epochs, said in (("1", "last epoch:"), ("2", "continuing after epoch 1")):
        done = subprocess.run(
            [*words, "--epochs", epochs], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
