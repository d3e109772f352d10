"""Positions: a round trip, as short as can be, and nothing but positions comes out."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strategies.compression.index_coding import GROUP, decode_positions, encode_positions


def positions_of(values: object) -> np.ndarray:
    return np.array(sorted(values), np.int64)  # type: ignore[call-overload]


@st.composite
def subsets(draw) -> tuple[np.ndarray, int]:
    total = draw(st.integers(1, 3000))
    share = draw(st.floats(0, 1))
    chosen = np.random.default_rng(draw(st.integers(0, 99))).random(total) < share
    return np.flatnonzero(chosen), total


def bits_of_entropy(count: int, total: int) -> float:
    share = count / total
    return -total * (share * math.log2(share) + (1 - share) * math.log2(1 - share))


@example(subset=(np.zeros(0, np.int64), 0))
@example(subset=(np.zeros(0, np.int64), 5))
@example(subset=(np.array([0]), 1))
@example(subset=(np.array([0, 2**40]), 2**40 + 1))
@given(subset=subsets())
def test_positions_come_back(subset: tuple[np.ndarray, int]):
    positions, total = subset

    decoded = decode_positions(encode_positions(positions), positions.size, total)

    np.testing.assert_array_equal(decoded, positions)


@given(subset=subsets())
def test_it_is_never_longer_than_a_bitmap_and_the_widths(subset: tuple[np.ndarray, int]):
    positions, total = subset

    size = encode_positions(positions).size

    assert size <= -(-total // 8) + -(-positions.size // GROUP) + total.bit_length()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.1])
def test_positions_at_random_take_little_more_than_their_entropy(share: float):
    total = 431_080
    count = int(share * total)
    positions = np.sort(np.random.default_rng(0).choice(total, count, replace=False))

    bits = 8 * encode_positions(positions).size

    assert bits < 1.05 * bits_of_entropy(count, total)


def test_positions_that_crowd_take_less_than_those_at_random():
    # Half of a small layer, and few of a large one behind it: 1 % of all.
    draw = np.random.default_rng(0)
    small = draw.choice(8000, 4000, replace=False)
    large = 8000 + draw.choice(423_080, 311, replace=False)

    bits = 8 * encode_positions(positions_of([*small, *large])).size

    assert bits < 1.1 * (bits_of_entropy(4000, 8000) + bits_of_entropy(311, 423_080))
    assert bits < 0.5 * bits_of_entropy(4311, 431_080)


def test_by_hand():
    # Gaps 3, 0 and 6. With one lower bit: widths [1]; lower bits 1, 0, 0; upper parts 1, 0, 3,
    # in unary 01, 1, 0001. Three and seven bits; width 0 takes 0 + 12, width 2 takes 6 + 4.
    code = encode_positions(np.array([3, 4, 11]))

    assert [f"{byte:08b}" for byte in code] == ["00000001", "10000000", "01100010"]
    np.testing.assert_array_equal(decode_positions(code, 3, 12), [3, 4, 11])


CODE = encode_positions(np.array([3, 4, 11]))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ([], "begin with 0 widths"),
        ([200, 0, 0], "widths of up to 200 bits"),
        ([1], "in the middle of gaps"),
        ([1, 0b10000000], "holds 0 positions, 3 are expected"),
        ([1, 0b10000000, 0b01100000], "holds 2 positions, 3 are expected"),
        ([1, 0b10000000, 0b01101010], "holds 4 positions, 3 are expected"),
        ([1, 0b10000000, 0b01100010, 0], "1 bytes follow the last position"),
        ([0, 0, 0b00000001, 0b11000000], "at most 2 are expected"),
        ([1, 0b10100000, 0b01100010], "position 12 is outside a model of 12 values"),
        ([4, 0, 0, 0, 0, 0b01110000], "longer than the model's 12 values"),
    ],
)
def test_what_is_no_code_is_refused(code: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        decode_positions(np.array(code, np.uint8), 3, 12)


@given(st.binary(max_size=40), st.integers(0, 20), st.integers(20, 300))
def test_garbage_is_refused_or_ascending_and_inside(garbage: bytes, count: int, total: int):
    try:
        positions = decode_positions(np.frombuffer(garbage, np.uint8), count, total)
    except ValueError:
        return
    assert positions.size == count
    assert (np.diff(positions) > 0).all()
    assert ((positions >= 0) & (positions < total)).all()
