"""``python -m pooling`` is the command ``pooling``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
