"""The command ``pooling``, started so that Ctrl-C also ends it in good order while Python is importing.

The package imports NumPy, and a library leaves signals alone; so whoever starts the command sees to it, in a module
outside of the package.
"""

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Import the command and run it.

    Returns
    -------
    int
        The exit code. An interrupt before there is a command to answer it ends the process as it ends any program: by
        SIGINT, which shells call 130, and without a traceback.
    """
    listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # nohup and & have it ignored
    if listening:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pooling.cli import main as command

    if listening:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()


if __name__ == "__main__":
    sys.exit(main())
