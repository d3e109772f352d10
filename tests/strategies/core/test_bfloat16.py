"""bfloat16 as the upper half of float32, against torch's own rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from strategies.compression.codec import Identity
from strategies.compression.narrow_codec import NarrowCodec
from strategies.core.bfloat16 import as_received, as_sent, from_bits, rounded, to_bits

ANY = np.random.default_rng(0)
floats = st.floats(width=32, allow_nan=True, allow_infinity=True)
some = arrays(np.float32, st.sampled_from([(), (0,), (3,), (2, 3)]), elements=floats)


@given(some)
def test_rounding_is_torchs(array):
    expected = torch.tensor(array).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(from_bits(to_bits(array)), expected)
    assert to_bits(array).shape == array.shape


@given(some)
def test_what_is_rounded_once_travels_to_the_bit(array):
    once = rounded([array], [True])[0]
    assert np.array_equal(rounded([once], [True])[0], once, equal_nan=True)


def test_only_what_is_marked_is_narrow_and_what_comes_after_is_left_alone():
    model = [np.ones(2, np.float32), np.full(2, 0.1, np.float32)]
    sent = as_sent(model, [True, False])
    assert [a.dtype.name for a in sent] == ["uint16", "float32"]

    control = np.full(2, 0.3, np.float32)
    back = as_received([*sent, control], [True, False])
    for one, other in zip(back, [*model, control], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_codec_gives_back_a_delta_that_was_rounded_before():
    delta = rounded([np.linspace(-1, 1, 7, dtype=np.float32)], [True])
    codec = NarrowCodec(Identity(), (True,))

    payload = codec.encode(delta, ANY)

    assert payload[0].nbytes == 14
    assert np.array_equal(codec.decode(payload, delta)[0], delta[0])
    assert codec.lossless


@pytest.mark.parametrize(
    "payload", [[], [np.zeros(3, np.uint16)], [np.zeros(2, np.uint32)], [np.zeros(2, np.float64)]]
)
def test_a_damaged_payload_is_refused(payload):
    with pytest.raises(ValueError, match=r"."):
        NarrowCodec(Identity(), (True,)).decode(payload, [np.zeros(2, np.float32)])
