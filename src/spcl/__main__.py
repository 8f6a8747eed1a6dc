"""``python -m spcl`` is ``spcl``."""

from spcl.cli.main import main

if __name__ == "__main__":
    main()
