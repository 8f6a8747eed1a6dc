"""The job files for SLURM and Kubernetes: they can be read, and their commands have known flags."""

from __future__ import annotations

import shlex
import subprocess

import yaml

from spcl.cli.command_line import options_of
from spcl.cli.embed import Embed
from tests.shared import PROJECT_ROOT


def test_the_job_of_kuberay_has_known_flags_and_one_image() -> None:
    job = yaml.safe_load((PROJECT_ROOT / "deploy/spcl-embed-rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["spcl", "embed"]
    options = options_of(Embed, words[2:], "spcl embed")
    assert (options.engine, options.address, options.gallery) == ("ray", "auto", "s3://bucket/gates")
    cluster = job["spec"]["rayClusterSpec"]
    pods = [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]
    containers = [pod["spec"]["containers"][0] for pod in pods]
    assert len({container["image"] for container in containers}) == 1
    assert all(container["envFrom"] == [{"secretRef": {"name": "spcl-s3"}}] for container in containers)
    assert all(pod["spec"]["volumes"][0]["name"] == container["volumeMounts"][0]["name"]
               for pod, container in zip(pods, containers, strict=True))  # fmt: skip


def test_the_job_of_slurm_can_be_read_and_has_known_flags() -> None:
    file = PROJECT_ROOT / "examples/slurm/embed.sbatch"
    subprocess.run(["bash", "-n", file], check=True)
    text = file.read_text(encoding="utf-8")
    given = next(line for line in text.splitlines() if "embed.sbatch model_best" in line)
    last = text.strip().splitlines()[-1]
    assert last.startswith('spcl embed "$@" ')
    words = shlex.split(given.partition("embed.sbatch ")[2]) + shlex.split(last.partition('"$@" ')[2])
    options = options_of(Embed, words, "spcl embed")
    assert (options.engine, options.gallery) == ("ray", "s3://bucket/gates")
