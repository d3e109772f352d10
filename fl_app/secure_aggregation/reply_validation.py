"""What participants answer in secure aggregation, checked before Flower's stages work with it.

Flower's stages take every answer at its word: one that is damaged would end the round with a
traceback, or silently spoil the sum. A check raises; whoever failed it has dropped out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from flwr.app import ConfigRecord, RecordDict
from flwr.common import Code

from fl_app.messaging.flower_compat import (
    RECORD_KEY_CONFIGS,
    SecAggKey,
    bytes_to_public_key,
    recorddict_to_fitres,
)
from strategies.core.client_update import DELTA, UPDATE_KEY
from strategies.core.npy import decode_arrays

Check = Callable[[int, RecordDict, RecordDict], None]
"""Given a node, what it was asked and what it answered, raises unless it can be worked with."""

BAD_REPLIES = (KeyError, TypeError, ValueError, UnsupportedAlgorithm)
"""What a check may raise."""


def check_public_keys(node: int, asked: RecordDict, answer: RecordDict) -> None:
    """Check two keys of the curve that Flower's clients use; else they would fail in turn."""
    keys = [_items(answer, key, bytes) for key in (SecAggKey.PUBLIC_KEY_1, SecAggKey.PUBLIC_KEY_2)]
    if keys[0] == keys[1]:
        raise ValueError("its two public keys are one")
    for (key,) in keys:
        loaded = bytes_to_public_key(key)
        if not isinstance(loaded, EllipticCurvePublicKey) or loaded.curve.name != SECP384R1.name:
            raise ValueError("its public key is of another kind")


def check_encrypted_shares(node: int, asked: RecordDict, answer: RecordDict) -> None:
    """Check that there is one for everybody else whose public keys it was given."""
    others = {key for key in _configs(asked) if key.isdecimal() and int(key) != node}
    receivers = _items(answer, SecAggKey.DESTINATION_LIST, int)
    shares = _items(answer, SecAggKey.CIPHERTEXT_LIST, bytes)
    if sorted(map(str, receivers)) != sorted(others) or len(shares) != len(receivers):
        raise ValueError("it has not one share for each of the others")


@dataclass(frozen=True)
class MaskedUpdateCheck:
    """Checks a masked update, of which nothing but the form can be seen.

    Attributes:
        num_values: How many values the model has.
        announced: The number of examples that each node announced.
    """

    num_values: int
    announced: Mapping[int, int]

    def __call__(self, node: int, asked: RecordDict, answer: RecordDict) -> None:
        """Check form, status and number of examples."""
        result = recorddict_to_fitres(answer, keep_input=True)
        if result.status.code != Code.OK:
            raise ValueError(result.status.message or result.status.code.name)
        if result.metrics.get(UPDATE_KEY) != DELTA:  # weights would spoil the sum unseen
            raise ValueError("it does not say that it holds a delta")
        count: Any = result.num_examples
        if type(count) is not int or not 0 < count <= self.announced[node]:
            raise ValueError(
                f"it has trained on {count!r} examples and announced {self.announced[node]}"
            )
        arrays = decode_arrays(list(_items(answer, SecAggKey.MASKED_PARAMETERS, bytes)))
        form: list[Any] = [(array.shape, array.dtype) for array in arrays]
        # The weight; and the values, with the one that `check_value` tells at their end.
        if form != [((1,), np.uint32), ((self.num_values + 1,), np.uint32)]:
            raise ValueError(f"its masked update has the form {form}")


def check_key_shares(node: int, asked: RecordDict, answer: RecordDict) -> None:
    """Check that there is a share of everybody's secret that was asked for."""
    configs = _configs(asked)
    alive: Any = configs[SecAggKey.ACTIVE_NODE_ID_LIST]
    dead: Any = configs[SecAggKey.DEAD_NODE_ID_LIST]
    owners = [*alive, *dead]
    shares = _items(answer, SecAggKey.SHARE_LIST, bytes)
    if _items(answer, SecAggKey.NODE_ID_LIST, int) != owners or len(shares) != len(owners):
        raise ValueError("its shares are not those that it was asked for")
    if any(len(share) < 20 or len(share) % 16 != 4 for share in shares):
        raise ValueError("a share has a length that shares do not have")


def content_bytes(content: RecordDict) -> int:
    """Return the bytes of the arrays, keys, shares and ciphertexts in a message."""
    arrays = sum(
        len(array.data) for record in content.array_records.values() for array in record.values()
    )
    configs = (value for record in content.config_records.values() for value in record.values())
    return arrays + sum(map(_value_bytes, configs))


def _value_bytes(value: object) -> int:
    if isinstance(value, list):
        return sum(map(_value_bytes, value))
    return len(value) if isinstance(value, bytes | str) else 8


def _configs(content: RecordDict) -> ConfigRecord:
    return content.config_records[RECORD_KEY_CONFIGS]


def _items(content: RecordDict, key: str, kind: type) -> Sequence[Any]:
    """Return a value or a list of them, all of one kind."""
    value: Any = _configs(content)[key]
    items = value if isinstance(value, list) else [value]
    if any(type(item) is not kind for item in items):
        raise TypeError(f"{key} holds something else than {kind.__name__}")
    return items
