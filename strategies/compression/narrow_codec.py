"""The codec of a model that has bfloat16 parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strategies.compression.codec import Codec
from strategies.core.bfloat16 import as_received, as_sent
from strategies.core.client_update import Arrays


@dataclass(frozen=True)
class NarrowCodec:
    """What a codec sends, with the model's bfloat16 arrays in two bytes a value.

    Attributes:
        codec: One that sends the delta as it is.
        narrow: Which of the arrays are bfloat16 in the model.
    """

    codec: Codec
    narrow: tuple[bool, ...]

    @property
    def lossless(self) -> bool:
        """See `Codec`: deltas of bfloat16 parameters are rounded where they are made."""
        return self.codec.lossless

    @property
    def unbiased(self) -> bool:
        """See `Codec`."""
        return self.codec.unbiased

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        """See `Codec`."""
        return as_sent(self.codec.encode(delta, generator), self.narrow)

    def decode(self, payload: Sequence[NDArray[Any]], like: Sequence[NDArray[Any]]) -> Arrays:
        """See `Codec`."""
        if len(payload) != len(self.narrow):
            raise ValueError(f"{len(payload)} arrays, {len(self.narrow)} expected")
        return self.codec.decode(as_received(payload, self.narrow), like)
