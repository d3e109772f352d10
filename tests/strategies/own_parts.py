"""Parts in a file of a user's, and what is said of one that is refused."""

import pytest

from strategies.part_specs import PartError
from strategies.registry import (
    build_part,
)

OWN_PARTS = """
from dataclasses import dataclass

def unweighted(updates, *, scale=1.0):
    return [scale * sum(arrays) / len(arrays) for arrays in zip(*(u.delta for u in updates))]

@dataclass(frozen=True)
class Shrunk:
    strength: float = 0.5
    def __post_init__(self):
        if self.strength < 0:
            raise ValueError(f"strength = {self.strength} must not be negative")
    def __call__(self, updates):
        return [self.strength * array for array in updates[0].delta]
"""


def refusal(kind: str, text: str) -> str:
    with pytest.raises(PartError) as caught:
        build_part(kind, text)
    return str(caught.value)
