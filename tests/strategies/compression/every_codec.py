"""Every codec with the bound that its description states, and deltas to encode."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.quantization import BLOCK
from strategies.compression.top_k import TopK
from strategies.core.client_update import Arrays

Vector = np.ndarray[Any, np.dtype[np.float64]]
Bound = Callable[[Vector], Vector]


SIMPLE_CNN = [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (500, 800), (500,), (10, 500), (10,)]
FLOAT32_MAX = float(np.finfo(np.float32).max)

# How far each codec may be off, value by value, worked out from its description.


def no_error(values: Vector) -> Vector:
    return np.zeros_like(values)


def float16_error(values: Vector) -> Vector:
    sizes = np.abs(values)
    return np.asarray(2.0**-11 * sizes + 2.0**-39 * sizes.max(initial=0) + 2.0**-149)


def bfloat16_error(values: Vector) -> Vector:
    return 2.0**-8 * np.abs(values) + 2.0**-134


def one_step(bits: int) -> Bound:
    def error(values: Vector) -> Vector:
        blocks = [values[start : start + BLOCK] for start in range(0, values.size, BLOCK)]
        scales = np.concatenate([np.full(b.size, np.abs(b).max()) for b in blocks] or [values])
        return np.asarray(scales / (2 ** (bits - 1) - 1) + 2.0**-21 * scales + 2.0**-148)

    return error


def sent_only(fraction: float, error_of_sent: Bound) -> Bound:
    def error(values: Vector) -> Vector:
        count = min(values.size, math.ceil(fraction * values.size))
        sent = np.sort(np.argsort(-np.abs(values), kind="stable")[:count])
        errors = np.abs(values)
        errors[sent] = error_of_sent(values[sent])
        return errors

    return error


CODECS: dict[str, tuple[Codec, Bound]] = {
    "identity": (Identity(), no_error),
    "float16": (Float16(), float16_error),
    "bfloat16": (Bfloat16(), bfloat16_error),
    "quantise 8": (Quantise(8), one_step(8)),
    "quantise 4": (Quantise(4), one_step(4)),
    "top-k 1 %": (TopK(), sent_only(0.01, no_error)),
    "top-k 30 %": (TopK(0.3), sent_only(0.3, no_error)),
    "top-k 30 % float16": (TopK(0.3, "float16"), sent_only(0.3, float16_error)),
    "top-k 30 % int8": (TopK(0.3, "int8"), sent_only(0.3, one_step(8))),
    "top-k 30 % int4": (TopK(0.3, "int4"), sent_only(0.3, one_step(4))),
    "top-k of all": (TopK(1.0), no_error),
}
every_codec = pytest.mark.parametrize(
    "codec", [pytest.param(codec, id=name) for name, (codec, _) in CODECS.items()]
)
every_lossy_codec = pytest.mark.parametrize(
    "codec",
    [pytest.param(codec, id=name) for name, (codec, _) in CODECS.items() if not codec.lossless],
)


any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)
deltas = st.lists(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12),
        elements=any_values,
    ),
    max_size=4,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal_delta(*shapes: tuple[int, ...], seed: int = 0) -> Arrays:
    draw = generator(seed)
    return [np.asarray(draw.standard_normal(shape, dtype=np.float32)) for shape in shapes]


def flat(arrays: Arrays) -> Vector:
    return np.concatenate([np.zeros(0), *(a.ravel().astype(np.float64) for a in arrays)])
