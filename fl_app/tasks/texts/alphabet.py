"""Alphabets: which characters a model of texts knows, agreed beforehand and the same for everybody.

Nothing of an alphabet comes from anybody's texts, so that it says nothing about them.
"""

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl_app.core.errors import ConfigError, UserError

OTHER = 0
"""The number of every character that an alphabet does not have."""

BYTES = "bytes"

_ASCII = "\n" + "".join(map(chr, range(0x20, 0x7F)))
_LATIN = _ASCII + "".join(chr(c) for c in range(0xA1, 0x100) if c != 0xAD) + "ŒœŠšŽžŸ€"

_CHARACTERS: Mapping[str, str] = MappingProxyType({"ascii": _ASCII, "latin": _LATIN, BYTES: ""})

# What typesetting makes of the characters of a keyboard, and other white space.
_AS_TYPED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\t\u00a0\u2002\u2003\u2009\u202f", " "),
        **dict.fromkeys("\u00ad\u200b\ufeff", ""),
        "…": "...",
        "\u2028": "\n",
        "\u2029": "\n",
    }
)
_SHOWN_AS_OTHER = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Alphabet:
    """Characters as numbers, and back.

    Number 0 stands for every other character, 1 for the first of `characters`, and so on. For
    `bytes` a "character" is a byte of the text in UTF-8, and there is no other.

    Attributes:
        name: `ascii`, `latin` or `bytes`.
        characters: In order of their numbers; empty for bytes.
    """

    name: str
    characters: str

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return 256 if self.name == BYTES else 1 + len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's characters, int16 [N].

        The ends of lines become newlines, and what typesetting made of quotation marks, dashes,
        dots and spaces becomes what a keyboard has; N may differ from the text's length.
        """
        plain = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
        plain = plain.translate(_AS_TYPED)
        if self.name == BYTES:
            raw = np.frombuffer(plain.encode(errors="replace"), np.uint8)
            return torch.from_numpy(raw.astype(np.int16))
        points = np.frombuffer(plain.encode("utf-32-le", errors="replace"), np.uint32)
        known = np.minimum(points, len(self._numbers) - 1)  # the last entry is "other"
        return torch.from_numpy(self._numbers[known])

    def decode(self, numbers: Tensor) -> str:
        """Return the text of numbers [N]; what is no text is shown as a replacement character."""
        if self.name == BYTES:
            return bytes(numbers.tolist()).decode(errors="replace")
        shown = _SHOWN_AS_OTHER + self.characters
        return "".join(shown[number] for number in numbers.tolist())

    def unknown(self, numbers: Tensor) -> int:
        """Count the characters that this alphabet does not have."""
        return 0 if self.name == BYTES else int((numbers == OTHER).sum())

    def metadata(self) -> dict[str, str]:
        """Return what a saved model says of its alphabet."""
        return {"alphabet": self.name, "characters": json.dumps(self.characters)}

    @cached_property
    def _numbers(self) -> NDArray[np.int16]:
        """By code point, the number of each character; one entry more than needed."""
        table = np.zeros(max(map(ord, self.characters)) + 2, np.int16)
        for number, character in enumerate(self.characters, start=1):
            table[ord(character)] = number
        return table


def alphabet(name: str) -> Alphabet:
    """Return an alphabet by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in _CHARACTERS:
        raise ConfigError(
            f"run config: alphabet = {name!r} is not known; it must be one of "
            f"{', '.join(_CHARACTERS)}"
        )
    return Alphabet(name, _CHARACTERS[name])


def saved_alphabet(metadata: Mapping[str, str]) -> Alphabet:
    """Undo `Alphabet.metadata`.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        name, characters = metadata["alphabet"], json.loads(metadata["characters"])
    except (KeyError, ValueError) as error:
        raise UserError("the saved model does not say which alphabet it knows") from error
    fits = isinstance(characters, str) and len(set(characters)) == len(characters)
    if not fits or (name == BYTES) != (characters == ""):
        raise UserError(f"the saved model's alphabet {name!r} is damaged")
    return Alphabet(name, characters)
