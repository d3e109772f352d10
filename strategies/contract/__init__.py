"""The contract of the parts: the laws that each kind obeys, to check yours against.

    scripts/contract aggregator "/home/me/my_parts.py:MyAggregator(strength=2)"

A law is a function of a part and of example data that raises `BrokenLawError` where it does not
hold. The tests of this project give it data by Hypothesis; `check_part` draws some of its own.
"""

from strategies.contract.laws import (
    BrokenLawError,
    CannotBeCheckedError,
    Law,
    Verdict,
    check_part,
    kinds_with_laws,
)

__all__ = [
    "BrokenLawError",
    "CannotBeCheckedError",
    "Law",
    "Verdict",
    "check_part",
    "kinds_with_laws",
]
