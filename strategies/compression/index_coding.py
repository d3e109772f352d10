"""Positions in a vector in few bytes: the Rice code of the gaps between them.

A gap is the number of positions left out before one. Its upper part, `gap >> width`, is written
in unary, as that many zeros and a one; its `width` lower bits as they are. The width is chosen
for every 64 gaps, the one that makes them shortest, because the large values of a delta crowd in
some layers: of 1 % of a trained SimpleCNN that makes the code half as long as one width for all
would. Of positions picked at random it takes 2 to 4 % more than the entropy, which nothing
beats. Width 0 is a bitmap, so it is never longer than a bitmap and the widths.

Bytes: the widths, a byte each; the lowest bits of all gaps that have one, then their second
lowest, and so on, every such row padded to whole bytes; the unary parts, padded to whole bytes.
Bits fill a byte from the top.

Source: Rice and Plaunt, IEEE Trans. Communication Technology 19 (1971); for the gaps of a sparse
update Sattler et al. (2019), arXiv:1903.02891, with one Golomb code for all.
"""

import numpy as np
from numpy.typing import NDArray

from strategies.core.vectors import Bytes

Positions = NDArray[np.int64]

GROUP = 64
"""Gaps that share a width."""


def encode_positions(positions: Positions) -> Bytes:
    """Return the code of positions: ascending, different and not negative."""
    gaps = np.diff(positions, prepend=-1) - 1
    widths = _shortest_widths(gaps)
    each = _spread(widths, gaps.size)
    rows = [
        np.packbits((gaps[each > row] >> row & 1).astype(np.uint8))
        for row in range(widths.max(initial=0))
    ]
    ends = np.cumsum((gaps >> each) + 1) - 1
    unary = np.zeros(ends[-1] + 1 if ends.size else 0, np.uint8)
    unary[ends] = 1
    return np.concatenate([widths, *rows, np.packbits(unary)])


def decode_positions(data: Bytes, count: int, total: int) -> Positions:
    """Undo `encode_positions`, in memory that grows with `total` at most.

    Args:
        data: Bytes from anybody.
        count: How many positions there have to be, at most `total`.
        total: The length of the vector.

    Returns:
        Positions that are ascending and different, each from 0 to `total - 1`.

    Raises:
        ValueError: If the bytes are not the code of so many positions in such a vector.
    """
    widths = data[: _num_groups(count)]
    highest = int(widths.max(initial=0))
    if widths.size < _num_groups(count) or highest > total.bit_length():
        raise ValueError(
            f"the positions begin with {widths.size} widths of up to {highest} bits, "
            f"{_num_groups(count)} of up to {total.bit_length()} are expected"
        )
    each = _spread(widths, count)
    lower = np.zeros(count, np.int64)
    start = widths.size
    for row in range(highest):
        has_one = each > row
        number = int(np.count_nonzero(has_one))
        end = start + _num_bytes(number)
        if end > data.size:
            raise ValueError(f"the positions end after {data.size} bytes, in the middle of gaps")
        lower[has_one] |= np.unpackbits(data[start:end], count=number).astype(np.int64) << row
        start = end
    upper = _read_unary(data[start:], count, total)
    if (upper > total >> each).any():  # checked first: what follows could overflow
        raise ValueError(f"a gap between positions is longer than the model's {total} values")
    positions: Positions = np.cumsum((upper << each | lower) + 1) - 1
    if count and positions[-1] >= total:
        raise ValueError(f"position {positions[-1]} is outside a model of {total} values")
    return positions


def _read_unary(data: Bytes, count: int, total: int) -> Positions:
    if data.size > _num_bytes(total):  # before it is unpacked, to eight times the size
        raise ValueError(
            f"the positions go on for {data.size} bytes, at most {_num_bytes(total)} are expected"
        )
    num_ones = int(np.bitwise_count(data).sum(dtype=np.int64))
    if num_ones != count:
        raise ValueError(f"the payload holds {num_ones} positions, {count} are expected")
    ends = np.flatnonzero(np.unpackbits(data))
    needed = _num_bytes(int(ends[-1]) + 1) if count else 0
    if data.size != needed:
        raise ValueError(f"{data.size - needed} bytes follow the last position")
    return np.diff(ends, prepend=-1) - 1


def _shortest_widths(gaps: Positions) -> Bytes:
    """Return the width of each group that makes it shortest."""
    if gaps.size == 0:
        return np.zeros(0, np.uint8)
    starts = np.arange(0, gaps.size, GROUP)
    sizes = np.diff(starts, append=gaps.size)
    lengths = [
        width * sizes + np.add.reduceat(gaps >> width, starts)
        for width in range(int(gaps.max()).bit_length() + 1)
    ]
    shortest: Bytes = np.argmin(lengths, axis=0).astype(np.uint8)
    return shortest


def _num_groups(count: int) -> int:
    return -(-count // GROUP)


def _num_bytes(num_bits: int) -> int:
    return -(-num_bits // 8)


def _spread(widths: Bytes, count: int) -> Positions:
    """Return the width of each gap."""
    return np.repeat(widths, GROUP)[:count].astype(np.int64)
