"""What a run config says of a part: its name and its options, read from a text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from strategies.part_kinds import KINDS, Option
from strategies.part_options import read_options

_SPEC = re.compile(r"\s*(?P<name>[^()]+?)\s*(?:\((?P<options>.*)\))?\s*", re.DOTALL)


class PartError(ValueError):
    """A part that cannot be built from what the run config says; the message is for the user."""


@dataclass(frozen=True)
class PartSpec:
    """What a run config says of a part.

    Attributes:
        kind: The run-config key.
        name: A name of its kind, or an import path.
        options: Its options, by name.
    """

    kind: str
    name: str
    options: Mapping[str, Option]

    @classmethod
    def parse(cls, kind: str, text: str) -> "PartSpec":
        """Read `name` or `name(option=value, ...)`; `PartError` if it is written otherwise."""
        found = _SPEC.fullmatch(text)
        if found is None:
            raise PartError(
                f'{kind} = "{text}" is not a name with options; write for instance '
                f'{kind} = "{next(iter(KINDS[kind].names))}"'
            )
        return cls(kind, found["name"], _parse_options(kind, text, found["options"] or ""))


def _parse_options(kind: str, text: str, options: str) -> dict[str, Option]:
    try:
        return read_options(options)
    except ValueError as error:
        raise PartError(
            f'{kind} = "{text}": its options cannot be read ({error}); they are written like '
            f"name(first=1, second='text', third=True)"
        ) from None
