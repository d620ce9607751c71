"""``python -m pooling`` is the command ``pooling``."""

import sys

from _ndpooling import main

if __name__ == "__main__":
    sys.exit(main())
