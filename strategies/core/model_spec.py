"""What is federated of a model: one description, which everything that handles updates reads."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property


@dataclass(frozen=True)
class TensorSpec:
    """One tensor that travels.

    Attributes:
        name: Its first name in the model's state dict.
        shape: Of the array that travels; a complex tensor travels as its real and imaginary
            parts, with a last axis of 2.
        dtype: Of the array that travels, as NumPy has it: `"float32"`.
        trainable: Whether it has a gradient. One without is a statistic of the data, such as a
            batch norm's running mean, which training moves all the same.
        wire_dtype: Of the bytes that travel, where they are fewer: `"bfloat16"`; "" is `dtype`.
        tied_to: Its other names: it is used in several places, and travels once.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool = True
    wire_dtype: str = ""
    tied_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """What is federated of a model, and what everybody has to have beforehand.

    Attributes:
        tensors: What travels, in the order of all weights and deltas.
        frozen_sha256: Of the parameters that have no gradient: they do not travel, so they have to
            be the same everywhere; "" where there are none.
    """

    tensors: tuple[TensorSpec, ...]
    frozen_sha256: str = ""

    @property
    def trainable(self) -> list[bool]:
        """Tell of each tensor whether it has a gradient."""
        return [tensor.trainable for tensor in self.tensors]

    @property
    def statistics(self) -> list[str]:
        """The name of each tensor without a gradient."""
        return [tensor.name for tensor in self.tensors if not tensor.trainable]

    @property
    def narrow(self) -> tuple[bool, ...]:
        """Tell of each tensor whether it travels as bfloat16; see `strategies.core.bfloat16`."""
        return tuple(tensor.wire_dtype == "bfloat16" for tensor in self.tensors)

    @property
    def names(self) -> list[str]:
        """The name of each tensor."""
        return [tensor.name for tensor in self.tensors]

    @cached_property
    def sha256(self) -> str:
        """Of what travels: of everything here but values."""
        content = json.dumps([asdict(tensor) for tensor in self.tensors], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()
