"""Continuing a text with a trained model, character by character."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fl_app.core.errors import ConfigError, DataError, UserError
from fl_app.tasks.texts.alphabet import BYTES, OTHER, Alphabet
from fl_app.tasks.texts.character_model import CharacterModel

_MOST_OF_A_FILE = 1 << 20  # bytes


@dataclass(frozen=True)
class Continuation:
    """How a text is continued.

    Attributes:
        length: Characters to add.
        temperature: Of the sampling: scores are divided by it; 0 takes the likeliest character.
        seed: Of the sampling.
    """

    length: int = 200
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers; `ConfigError` names the option."""
        if self.length < 1:
            raise ConfigError(f"run config: length = {self.length} must be 1 or more")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(
                f"run config: temperature = {self.temperature} must be 0 (the likeliest character) "
                "or more"
            )

    @torch.no_grad()
    def of(self, model: nn.Module, alphabet: Alphabet, beginning: str) -> str:
        """Return what follows on a text.

        The state that the text leads to is carried on, so every character depends on all before
        it. "Other" is never chosen: it is no character.

        Args:
            model: A `CharacterModel`, on the CPU, in evaluation mode.
            alphabet: That of the model.
            beginning: The text; it has a character at least.
        """
        if not isinstance(model, CharacterModel):
            raise UserError(f"a {type(model).__name__} is no model of texts (CharacterModel)")
        generator = torch.Generator().manual_seed(self.seed)
        characters, state, chosen = alphabet.encode(beginning)[None].long(), None, []
        for _ in range(self.length):
            scores, state = model.step(characters, state)
            if alphabet.name != BYTES:
                scores[OTHER] = -math.inf
            characters = self._choose(scores, generator).view(1, 1)
            chosen.append(characters.view(1))
        return alphabet.decode(torch.cat(chosen))

    def _choose(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        if self.temperature == 0:
            return scores.argmax()
        return torch.multinomial((scores / self.temperature).softmax(0), 1, generator=generator)


def read_beginning(source: str) -> str:
    """Return a text to continue: that of a file, if there is one of that name, or the source.

    Raises:
        DataError: If the text is empty, or the file is too large or not UTF-8.
    """
    text = source
    # Most texts are no path at all, and some are too long to ask the system about.
    if len(source) < 4096 and "\n" not in source and "\0" not in source and _is_file(source):
        path = Path(source)
        if (size := path.stat().st_size) > _MOST_OF_A_FILE:
            raise DataError(f"{path} has {size} bytes, too many to continue; give its end")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8: its byte {error.start} does not fit") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not text:
        raise DataError(f"there is nothing to continue: {source!r} is empty")
    return text


def _is_file(source: str) -> bool:
    try:
        return os.path.isfile(source)  # noqa: PTH113 - False, not an error, for a name too long
    except (OSError, ValueError):
        return False
