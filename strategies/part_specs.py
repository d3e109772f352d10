"""What a run config says of a part: its name and options, read from a text, and checked."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from strategies.part_kinds import KINDS, Option, did_you_mean

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


def read_options(written: str) -> dict[str, Option]:
    """Read `first=1, second='text'`.

    Raises:
        ValueError: If it is written otherwise.
    """
    try:
        call = ast.parse(f"part({written})", mode="eval").body
    except SyntaxError as error:
        raise ValueError(str(error)) from None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueError("there is more than one pair of parentheses")
    if call.args:
        raise ValueError("options are given by name")
    parsed: dict[str, Option] = {}
    for keyword in call.keywords:
        value = _literal(keyword.value)
        if keyword.arg is None or not isinstance(value, Option):
            raise ValueError(f"{keyword.arg} is not a number, a text, True or False")
        parsed[keyword.arg] = value
    return parsed


def _literal(expression: ast.expr) -> object:
    """Return the value that is written, or `None` if it is none."""
    try:
        return ast.literal_eval(expression)
    except ValueError:
        return None


def option_fault(part: Callable[..., Any], options: Mapping[str, Option], first: int) -> str | None:
    """Say which option is no parameter, or is no value for it; to be put behind the part's name.

    Args:
        part: What takes them.
        options: By name.
        first: The parameters before this one are not for options.
    """
    parameters = inspect.signature(part).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return _fault_of_values(parameters, options)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, parameter in parameters.items() if parameter.kind in named][first:]
    for option in options:
        if option not in names:
            takes = f"it takes {', '.join(names)}" if names else "it takes none"
            near = did_you_mean(option, {name: name for name in names}).rstrip()
            return f" has no option {option}; {takes}" + (near and f"; {near}")
    return _fault_of_values(parameters, options)


def _fault_of_values(
    parameters: Mapping[str, inspect.Parameter], options: Mapping[str, Option]
) -> str | None:
    """Look at what can be told of a value: whether it is of the kind of the default."""
    for option, value in options.items():
        if option not in parameters:
            continue
        default, wanted = parameters[option].default, None
        if isinstance(default, bool):
            wanted = None if isinstance(value, bool) else "True or False"
        elif isinstance(default, int | float):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            wanted = None if is_number else "a number"
            if parameters[option].annotation is int and isinstance(value, float):
                wanted = "a whole number"
        elif isinstance(default, str):
            wanted = None if isinstance(value, str) else "a text"
        if wanted is not None:
            return f": {option} = {value!r} must be {wanted}"
    return None
