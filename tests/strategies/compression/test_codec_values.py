"""Values at the edges of a codec's range, and options that cannot be."""

from typing import Any

import numpy as np
import pytest

from strategies.compression.codec import Codec, Identity, Quantise
from strategies.contract.codec_claims import through
from strategies.contract.comparisons import bits_of
from strategies.core.client_update import Arrays
from tests.strategies.compression.every_codec import (
    FLOAT32_MAX,
    every_codec,
    every_lossy_codec,
    generator,
    normal_delta,
)


@every_lossy_codec
def test_a_delta_that_is_not_finite_is_refused_by_the_codec(codec: Codec):
    for value in (np.nan, np.inf, -np.inf):
        delta = normal_delta((3, 2), (4,))
        delta[1][2] = value

        with pytest.raises(ValueError, match="array 1 of the delta holds 1 values that are not"):
            codec.encode(delta, generator())


def test_identity_leaves_it_to_the_server_to_refuse_what_is_not_finite():
    delta = [np.array([1.0, np.nan], np.float32)]

    assert bits_of(through(Identity(), delta)) == bits_of(delta)


@every_codec
def test_nothing_becomes_infinite(codec: Codec):
    for value in (FLOAT32_MAX, -FLOAT32_MAX, 1e-45, 65504.0, 65520.0):
        delta: Arrays = [np.full((5, 3), value, np.float32)]

        (decoded,) = through(codec, delta)

        assert np.isfinite(decoded).all()
        assert float(np.abs(decoded).max()) <= float(np.abs(delta[0]).max()) * (1 + 2**-8)


@every_codec
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_models_of_another_float_keep_their_dtype(codec: Codec, dtype: type):
    delta: Arrays = [a.astype(dtype) for a in normal_delta((20, 10), ())]

    decoded = through(codec, delta)

    in_float32 = through(codec, [a.astype(np.float32) for a in delta])
    assert all(type(a) is np.ndarray and a.dtype == dtype for a in decoded)
    if not codec.lossless:
        assert bits_of(decoded) == bits_of([a.astype(dtype) for a in in_float32])


@every_lossy_codec
def test_what_a_float_cannot_hold_becomes_its_largest_value(codec: Codec):
    huge: Arrays = [np.array([1e300, -1e300, 3.0])]
    too_large = codec.encode([np.array([7e4, -7e4, 3.0], np.float32)], generator())

    (from_float64,) = through(codec, huge)
    (as_float16,) = codec.decode(too_large, [np.zeros(3, np.float16)])

    assert np.abs(from_float64).max() == pytest.approx(FLOAT32_MAX, rel=2**-7)
    assert np.abs(as_float16).max() == pytest.approx(65504, rel=2**-7)
    assert np.isfinite(as_float16).all()


@every_lossy_codec
def test_whole_numbers_cannot_be_rounded(codec: Codec):
    counts = [np.arange(6)]

    with pytest.raises(ValueError, match="array 0 has dtype int64"):
        codec.encode(counts, generator())
    payload = codec.encode([np.ones(6)], generator())
    with pytest.raises(ValueError, match="array 0 has dtype int64"):
        codec.decode(payload, counts)


@pytest.mark.parametrize("bits", [0, 3, 16, 8.0, True, "8"])
def test_bits_that_cannot_be_are_refused(bits: Any):
    with pytest.raises(ValueError, match="must be 8 or 4"):
        Quantise(bits=bits)
