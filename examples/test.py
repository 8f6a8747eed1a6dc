"""Evaluation of a checkpoint, with the command line of the official script of this name.

python examples/test.py --dsbn -d msmt17 --resume logs/spcl_uda/market2msmt_resnet50/model_best.pth.tar
"""

from spcl.cli.main import run_guarded
from spcl.cli.official import run_test

if __name__ == "__main__":
    run_guarded(run_test, ends_process=True)
