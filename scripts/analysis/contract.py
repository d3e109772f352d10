"""Check a part of your own against the laws of its kind.

    scripts/contract aggregator "/home/me/my_parts.py:MyAggregator(strength=2)"

The status is 0 if a run can use the part. Laws in brackets need not hold: they tell what the part
is.
"""

import argparse
import sys
from collections.abc import Sequence

from strategies.contract import KINDS, check_part
from strategies.registry import PartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/contract", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("part", help="as in the run config: a name or import path, with options")
    parser.add_argument("--seed", type=int, default=0, help="decides the data it is tried with")
    options = parser.parse_args(arguments)
    try:
        verdicts = check_part(options.kind, options.part, options.seed)
    except PartError as error:
        print(error, file=sys.stderr)
        return 2
    for verdict in verdicts:
        says = verdict.law.says if verdict.law.needed else f"({verdict.law.says})"
        print(f"{'holds ' if verdict.broken is None else 'BROKEN'} {says}")
        if verdict.broken is not None:
            print(f"       {verdict.broken}")
    return 0 if all(verdict.accepted for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
