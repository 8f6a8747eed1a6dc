"""What each process of a run does whose weights are on one of two machines only: run by ``test_processes.py``."""

from __future__ import annotations

import os
import sys

from spcl.cli.main import main

if __name__ == "__main__":
    target, logs, weights = sys.argv[1:]
    small = ["--arch", "timm/test_resnet", "--height", "32", "--width", "16", "--device", "cpu"]
    here = weights if os.environ["RANK"] == "0" else f"{weights}.elsewhere"
    main(["train", target, "--logs-dir", logs, "--pretrained", here, "--batch-norm-group", "4", *small])
