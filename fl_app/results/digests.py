"""What identifies a model and a config."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from strategies.core.client_update import Arrays


def weights_digest(weights: Arrays) -> str:
    """Return the SHA-256 of a model's weights: shapes, dtypes and every bit, in model order."""
    digest = hashlib.sha256()
    for array in weights:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.asarray(array, order="C").data)
    return digest.hexdigest()


def config_digest(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a config, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
