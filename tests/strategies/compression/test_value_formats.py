import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.value_formats import (
    VALUE_FORMATS,
    Bfloat16Values,
    Float16Values,
    InChunks,
    ValueFormat,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = hnp.arrays(np.float32, st.integers(0, 600), elements=finite)
every_format = pytest.mark.parametrize("values_as", VALUE_FORMATS.values(), ids=VALUE_FORMATS)


def through(values_as: ValueFormat, values: np.ndarray) -> np.ndarray:
    return values_as.unpack(values_as.pack(values, np.random.default_rng(0)), values.size)


@every_format
@given(values=vectors)
def test_the_bytes_are_as_many_as_announced(values_as: ValueFormat, values: np.ndarray):
    packed = values_as.pack(values, np.random.default_rng(0))

    assert packed.dtype == np.uint8
    assert packed.shape == (values_as.num_bytes(values.size),)


@every_format
@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**16 + 1, 2**17 + 300])
def test_a_long_vector_is_that_of_its_chunks(values_as: ValueFormat, count: int):
    assert isinstance(values_as, InChunks)
    values = np.random.default_rng(1).standard_normal(count, dtype=np.float32)
    draw = np.random.default_rng(0)
    packed = [
        (values_as.each.pack(chunk, draw), chunk.size)
        for chunk in np.split(values, range(2**16, count, 2**16))
    ]

    data = values_as.pack(values, np.random.default_rng(0))

    np.testing.assert_array_equal(data, np.concatenate([chunk for chunk, _ in packed]))
    np.testing.assert_array_equal(
        values_as.unpack(data, count),
        np.concatenate([values_as.each.unpack(chunk, size) for chunk, size in packed]),
    )


@given(values=vectors)
def test_bfloat16_rounds_like_torch(values: np.ndarray):
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    overflows = np.isinf(expected)

    actual = through(Bfloat16Values(), values)

    np.testing.assert_array_equal(actual[~overflows], expected[~overflows])
    largest = torch.finfo(torch.bfloat16).max
    np.testing.assert_array_equal(actual[overflows], np.copysign(largest, values[overflows]))


def test_bfloat16_rounds_ties_to_even():
    # 8 significant bits: between 256 and 258 there is nothing but 257, a tie.
    values = np.array([256, 257, 257.5, 259, 260], np.float32)

    np.testing.assert_array_equal(through(Bfloat16Values(), values), [256, 256, 258, 260, 260])


@given(
    values=hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(0.5, 1.0, width=32)),
    power=st.integers(-90, 90),
)
def test_float16_rounds_like_numpy_whatever_the_scale(values: np.ndarray, power: int):
    values[0] = 0.75  # no value is at the limit, where one has to be clipped
    values = np.minimum(values, np.float32(0.999))
    scale = np.float32(2.0**power)

    actual = through(Float16Values(), values * scale)

    np.testing.assert_array_equal(actual, values.astype(np.float16).astype(np.float32) * scale)


def test_float16_keeps_small_values_that_plain_float16_would_lose():
    values = np.array([1e-3, 1e-6, 1e-9], np.float32)

    np.testing.assert_allclose(through(Float16Values(), values), values, rtol=2**-11)
    assert values.astype(np.float16)[2] == 0


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("float32", np.array([np.nan, 1], "<f4"), "1 values are not finite"),
        ("float32", np.array([np.inf, -np.inf], "<f4"), "2 values are not finite"),
        ("bfloat16", np.array([0x7F80, 0xFF80], "<u2"), "2 values are not finite"),
        ("bfloat16", np.array([0x7FC0, 0], "<u2"), "1 values are not finite"),
        ("float16", np.array([0x7C00, 0x7E01], "<u2"), "2 values are not finite, or too large"),
        ("float16", np.array([0x7800, 0xF800], "<u2"), "2 values are not finite, or too large"),
    ],
)
def test_values_that_are_none_are_refused(name: str, data: np.ndarray, message: str):
    row = data.view(np.uint8)
    if name == "float16":
        row = np.append(row, np.uint8(0))

    with pytest.raises(ValueError, match=message):
        VALUE_FORMATS[name].unpack(row, 2)


@pytest.mark.parametrize("exponent", [-128, -114, 127])
def test_an_exponent_out_of_range_is_refused(exponent: int):
    data = np.array([0, 0, exponent], np.int8).view(np.uint8)

    with pytest.raises(ValueError, match=f"exponent is {exponent}"):
        Float16Values().unpack(data, 1)
