"""Arrays of numbers and .npy files, sound and otherwise."""

import struct
from io import BytesIO

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

number_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
)
number_arrays = hnp.arrays(
    number_dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
)


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def npy_with_header(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A .npy file whose header says whatever we like."""
    encoded = header.encode("latin1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(encoded))
    return b"\x93NUMPY" + bytes(version) + length + encoded + data


def claiming(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
