"""Checking a part against the laws of its kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from strategies import part_kinds
from strategies.registry import build_part

_REPEATS = 5

Build = Callable[[], Any]
"""Makes the part anew."""


class BrokenLawError(AssertionError):
    """A part that does not do what a law says; the message says what it did."""


class CannotBeCheckedError(Exception):
    """A part that no law can be tried on; the message says what is missing and how to mend it."""


@dataclass(frozen=True)
class Law:
    """One sentence about a kind of part.

    Attributes:
        says: The sentence.
        check: Raises `BrokenLawError` if a part does not obey it, for data drawn from a generator.
        needed: Whether a run relies on it. The others are good to know: which robust or private
            parts, for instance, give up on purpose.
        ends: Whether the laws after it are not tried where it is broken, since all of them would
            tell the same.
    """

    says: str
    check: Callable[[Build, np.random.Generator], None]
    needed: bool = True
    ends: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of one law.

    Attributes:
        law: The law.
        broken: How it is broken; `None` if it holds.
    """

    law: Law
    broken: str | None

    @property
    def accepted(self) -> bool:
        """Whether a run can use the part, as far as this law goes."""
        return self.broken is None or not self.law.needed


def kinds_with_laws() -> tuple[str, ...]:
    """Return the kinds of parts that have a contract, as run-config keys."""
    return tuple(key for key, kind in part_kinds.KINDS.items() if kind.laws)


def check_part(kind: str, text: str, seed: int = 0) -> list[Verdict]:
    """Check a part against every law of its kind, with data drawn from a seed.

    Args:
        kind: A run-config key, one of `kinds_with_laws`.
        text: What the run config says of it, `"/home/me/my_parts.py:MyPart(strength=2)"`.
        seed: Decides the data.

    Raises:
        PartError: If there is no such part, or it cannot be built.
        CannotBeCheckedError: If what the laws are tried with is not there, such as data.
        ValueError: If there is no contract for this kind.
    """
    described = part_kinds.KINDS.get(kind)
    if described is None or described.laws is None:
        raise ValueError(f"{kind} has no contract; there is one for {', '.join(kinds_with_laws())}")
    laws: Sequence[Law] = import_module(described.laws).LAWS
    build = partial(build_part, kind, text)
    build()
    verdicts = []
    for law in laws:
        verdicts.append(Verdict(law, _how_broken(law, build, seed)))
        if law.ends and verdicts[-1].broken is not None:
            break
    return verdicts


def _how_broken(law: Law, build: Build, seed: int) -> str | None:
    for repeat in range(_REPEATS):
        try:
            law.check(build, np.random.default_rng([seed, repeat]))
        except CannotBeCheckedError:
            raise
        except Exception as error:  # a user's part may raise anything
            told = str(error) if isinstance(error, BrokenLawError) else repr(error)
            return told.strip() or type(error).__name__
    return None
