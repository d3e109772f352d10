"""Check a part of your own, or a task, against the laws of its kind.

    scripts/contract aggregator "/home/me/my_parts.py:MyAggregator(strength=2)"
    scripts/contract task "/home/me/my_task.py:MyTask(width=64)"

The status is 0 if a run can use the part. Laws in brackets need not hold: they tell what the part
is.
"""

import argparse
import sys
from collections.abc import Sequence

import fl_app.core.plugins  # noqa: F401 - declares the kinds of the application
from fl_app.core.errors import UserError
from strategies.contract import CannotBeCheckedError, check_part, kinds_with_laws
from strategies.part_specs import PartError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/contract", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("kind", choices=kinds_with_laws())
    parser.add_argument("part", help="as in the run config: a name or import path, with options")
    parser.add_argument("--seed", type=int, default=0, help="decides the data it is tried with")
    options = parser.parse_args(arguments)
    try:
        verdicts = check_part(options.kind, options.part, options.seed)
    except (PartError, CannotBeCheckedError, UserError) as error:
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
