"""The command ``pooling``, started so that Ctrl-C also ends it in good order while Python is importing.

The package imports NumPy, and a library leaves signals alone; so whoever starts the command sees to it, in a module
outside of the package. ``python -m pooling`` imports the package before anything of its own; only then the package asks
for it itself.
"""

import signal
import sys

__all__ = ["default_interrupts", "main", "starts_package"]

_were_python_s = False
"""Whether interrupts were exceptions before `default_interrupts`."""


def starts_package() -> bool:
    """Tell whether Python is about to run ``python -m pooling``, and imports the package for it.

    While it looks for a module that it is to run, Python has ``-m`` in the place of the program's name.

    Returns
    -------
    bool
    """
    given: list[str] = getattr(sys, "argv", [])  # a program that embeds Python may have set none
    if given[:1] != ["-m"] or len(sys.orig_argv) < len(given):
        return False
    name = sys.orig_argv[-len(given)]
    return name == "pooling" or (name.startswith("-") and name.endswith("mpooling"))


def default_interrupts() -> None:
    """Have an interrupt end the process as it ends any program, until `main` has a command that answers it."""
    global _were_python_s
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # nohup and & have it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _were_python_s = True


def main() -> int:
    """Import the command and run it.

    Returns
    -------
    int
        The exit code. An interrupt before there is a command to answer it ends the process as it ends any program: by
        SIGINT, which shells call 130, and without a traceback.
    """
    default_interrupts()
    from pooling.cli import main as command

    if _were_python_s:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command()


if __name__ == "__main__":
    sys.exit(main())
