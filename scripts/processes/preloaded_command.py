"""A command of Flower's, loaded ahead: it runs at a line "go" on standard input.

Loading one takes a second or more, in which the SuperLink starts.
"""

import contextlib
import shlex
import subprocess
import sys

from scripts.processes.flower_cli import LOADABLE_COMMANDS
from scripts.processes.preload import load


def load_ahead(name: str, *arguments: str) -> list[str]:
    """Return what to start, with a pipe as its standard input, to have a command loaded.

    Args:
        name: One of `LOADABLE_COMMANDS`.
        arguments: The command's, as far as they are known.
    """
    return [sys.executable, "-P", __file__, name, *arguments]


def go(process: "subprocess.Popen[str]", *arguments: str) -> None:
    """Let a command go that was loaded ahead.

    Args:
        process: What runs the command line of `load_ahead`.
        arguments: The rest of the command's.
    """
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # its output says why
        stdin.write(shlex.join(["go", *arguments]) + "\n")


def main() -> None:
    """Load, wait, and run; without the line, do nothing."""
    name = sys.argv.pop(1)
    module, attribute = LOADABLE_COMMANDS[name]
    load([module])
    command = getattr(sys.modules[module], attribute)
    told = shlex.split(sys.stdin.readline())
    if told[:1] == ["go"]:
        sys.argv[0] = name
        sys.argv += told[1:]
        command()


if __name__ == "__main__":
    main()
