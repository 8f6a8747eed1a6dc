"""Unsupervised learning, with the command line of the official script of this name.

python examples/spcl_train_usl.py -d market1501 --logs-dir logs/spcl_usl/market_resnet50
"""

from spcl.cli.main import run_guarded
from spcl.cli.official import train_usl

if __name__ == "__main__":
    run_guarded(train_usl, ends_process=True)
