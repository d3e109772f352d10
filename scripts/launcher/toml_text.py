"""What users write as TOML: read, and what is wrong with it in their terms."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLACE = re.compile(r"at line (\d+)")
_NUMBER_WITHOUT_DIGIT = re.compile(r"[+-]?(?:\d+\.(?!\d)|\.\d)[\deE+-]*")
_LEADING_ZERO = re.compile(r"[+-]?0\d+(?:\.\d+)?")


class TomlError(ValueError):
    """A text that is not TOML, or no settings; the message says where, and how it is written."""


def read_file(path: Path) -> dict[str, Any]:
    """Read a TOML file; a byte-order mark, as some editors put in front, is left out.

    Raises:
        OSError: If it cannot be read.
        TomlError: If it is not TOML in UTF-8, or a value is a list or a date.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TomlError(f"it is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    try:
        return _flat(tomllib.loads(text.replace("\r\n", "\n")))
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        lines = text.splitlines()
        line = lines[int(place[1]) - 1].strip() if place and int(place[1]) <= len(lines) else ""
        shown = f" in {line!r}" if line else ""
        advice = _advice(line.partition("=")[2])
        if "overwrite" in str(error) or "twice" in str(error):
            advice = "the key is there twice, keep one of them"
        raise TomlError(f"{error}{shown}; {advice}") from None


def pair_fault(pair: str) -> str | None:
    """Say what is wrong with the value of `key=value`; `None` if nothing is."""
    key, _, value = pair.partition("=")
    try:
        tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return f"{key}={value}: {_advice(value)}"
    return None


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return settings with the names of tables before their keys, as Flower has them."""
    settings: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            settings |= _flat(value, f"{above}{name}.")
        elif isinstance(value, bool | int | float | str):
            settings[above + name] = value
        else:
            raise TomlError(f"{above}{name} is no number, no text, and neither true nor false")
    return settings


def _advice(value: str) -> str:
    """Say how a value is written in TOML that somebody wrote otherwise."""
    value = value.partition("#")[0].strip()
    if value.lower() in ("true", "false"):
        return f"write {value.lower()}, in lower case"
    if value.lower() in ("none", "null", "nil"):
        return "there is no such value; leave the key out"
    if _NUMBER_WITHOUT_DIGIT.fullmatch(value):
        whole = re.sub(r"\.(?!\d)", ".0", re.sub(r"(?<!\d)\.", "0.", value))
        return f"write {whole}, with a digit on both sides of the point"
    if _LEADING_ZERO.fullmatch(value):
        return "write numbers without a zero in front"
    return 'write TOML values, texts in double quotes: seed=1 model="simple-cnn"'
