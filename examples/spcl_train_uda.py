"""Unsupervised domain adaptation, with the command line of the official script of this name.

python examples/spcl_train_uda.py -ds personx -dt market1501 --logs-dir logs/spcl_uda/personx2market_resnet50
"""

from spcl.cli.main import run_guarded
from spcl.cli.official import train_uda

if __name__ == "__main__":
    run_guarded(train_uda, ends_process=True)
