"""Texts as examples: pieces of equal length, each with the characters that follow."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from fl_app.core.errors import ConfigError
from fl_app.data.tensor_dataset import TensorExamples

PADDING = -100
"""The target where there is no character; torch's losses leave it out."""

Predicted = Literal["every", "last"]
"""At which positions of a sequence the next character is predicted."""


def predicted_positions(text: str) -> Predicted:
    """Read the option `targets`.

    Raises:
        ConfigError: If it is none of the words.
    """
    if text not in get_args(Predicted):
        raise ConfigError(f"run config: targets = {text!r} must be 'every' or 'last'")
    return text  # type: ignore[return-value]


def sequences(texts: Sequence[Tensor], context: int, predicted: Predicted) -> TensorExamples:
    """Make examples of texts; none reaches from one text into the next.

    With `every`, a text is cut into pieces of `context` characters, and the targets are the same
    text a character further on: every character but a text's first is a target exactly once. The
    last piece is filled up; where it is, the target is `PADDING`. With `last`, there is an example
    for every character that has `context` others before it, and it alone is the target.

    Args:
        texts: Numbers of characters, int16 [length] each.
        context: Characters in a sequence, T.
        predicted: Where the next character is predicted.

    Returns:
        Inputs int16 [N, T], and targets int16 [N, T] or [N]; N may be 0.
    """
    if predicted == "last":
        long = [text for text in texts if len(text) > context]
        inputs = [text[:-1].unfold(0, context, 1) for text in long]
        return TensorExamples(
            torch.cat([torch.empty(0, context, dtype=torch.int16), *inputs]),
            torch.cat([torch.empty(0, dtype=torch.int16), *(text[context:] for text in long)]),
        )
    empty = torch.empty(0, context, dtype=torch.int16)
    some = [text for text in texts if len(text) > 1]
    return TensorExamples(
        torch.cat([empty, *(_pieces(text[:-1], context, filled_with=0) for text in some)]),
        torch.cat([empty, *(_pieces(text[1:], context, filled_with=PADDING) for text in some)]),
    )


def _pieces(text: Tensor, length: int, filled_with: int) -> Tensor:
    missing = -len(text) % length
    return F.pad(text, (0, missing), value=filled_with).view(-1, length)
