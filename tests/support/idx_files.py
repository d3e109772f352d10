"""Tiny IDX sets for tests."""

import struct
from pathlib import Path

import numpy as np

FILES = {
    "train-images-idx3-ubyte": (4, 28, 28),
    "train-labels-idx1-ubyte": (4,),
    "t10k-images-idx3-ubyte": (2, 28, 28),
    "t10k-labels-idx1-ubyte": (2,),
}


def write_idx_set(raw: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    raw.mkdir(parents=True, exist_ok=True)
    for name, shape in FILES.items():
        header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
        top = 256 if len(shape) == 3 else 10
        content = rng.integers(0, top, shape, dtype=np.uint8).tobytes()
        (raw / name).write_bytes(header + content)
    return raw
