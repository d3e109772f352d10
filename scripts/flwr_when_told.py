"""Flower's command line, loaded ahead: it runs at a line "go" on standard input.

Loading it takes a second or more, in which the SuperLink starts.
"""

import sys


def main() -> None:
    """Load, wait, and run; without the line, do nothing."""
    from flwr.cli.app import app

    if sys.stdin.readline() == "go\n":
        sys.argv[0] = "flwr"
        app()


if __name__ == "__main__":
    main()
