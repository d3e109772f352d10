"""Arrays from the bytes of Flower's `Parameters`, without a copy and without trust; and back."""

import math
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from flwr.common import Parameters, ndarrays_to_parameters
from numpy.typing import NDArray

# https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_PREFIX = np.lib.format.MAGIC_LEN + 4  # bytes that tell how long the header is

Order = Literal["C", "F"]


def decode_array(tensor: bytes) -> NDArray[Any]:
    """Decode one array from the .npy format, as a read-only view of `tensor`.

    Unlike `numpy.load` it copies nothing, and never allocates what a header merely claims.

    Args:
        tensor: The bytes of a .npy file.

    Returns:
        A read-only array that keeps `tensor` alive.

    Raises:
        ValueError: If the bytes are no .npy file of numbers, or not as long as they claim.
    """
    header = tensor[: _header_end(tensor[:_PREFIX])]
    read = _read_header_once if len(header) <= _LONGEST_HEADER_KEPT else _read_header
    shape, order, dtype, expected = read(header)
    if (actual := len(tensor) - len(header)) != expected:
        raise ValueError(f"shape {shape} of {dtype} takes {expected} bytes, there are {actual}")
    return np.ndarray(shape, dtype, tensor, len(header), order=order)


@lru_cache(maxsize=16)  # most headers of a model, if not all, are as long as each other
def _header_end(prefix: bytes) -> int:
    """Return where a header with these first bytes ends, by its own account."""
    version = np.lib.format.read_magic(BytesIO(prefix))
    if version not in _HEADER_READERS:
        raise ValueError(f"version {version} of the .npy format is not supported")
    start = np.lib.format.MAGIC_LEN + (2 if version == (1, 0) else 4)
    return start + int.from_bytes(prefix[np.lib.format.MAGIC_LEN : start], "little")


def _read_header(header: bytes) -> tuple[tuple[int, ...], Order, np.dtype[Any], int]:
    """Return shape, order, dtype and number of bytes of the data that follow a header."""
    stream = BytesIO(header)
    version = np.lib.format.read_magic(stream)
    try:
        shape, fortran_order, dtype = _HEADER_READERS[version](stream)
    except Exception as error:  # NumPy's parser lets through whatever a hostile header provokes
        raise ValueError(f"its header cannot be read: {error}") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"dtype {dtype} is not a number")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"shape {shape} is not one of whole numbers")
    return shape, "F" if fortran_order else "C", dtype, math.prod(shape) * dtype.itemsize


# All participants send the same few headers, and NumPy takes longer to parse one than to add
# up a small layer. What is kept is a pure function of the bytes, and bounded.
_LONGEST_HEADER_KEPT = 256
_read_header_once = lru_cache(maxsize=256)(_read_header)


def decode_arrays(tensors: list[bytes]) -> list[NDArray[Any]]:
    """Decode a model or a delta; see `decode_array`.

    Raises:
        ValueError: If one of them cannot be decoded; names its index.
    """
    arrays = []
    for index, tensor in enumerate(tensors):
        try:
            arrays.append(decode_array(tensor))
        except ValueError as error:
            raise ValueError(f"array {index} cannot be decoded: {error}") from error
    return arrays


class GlobalWeights:
    """The global weights: arrays for the server, and bytes for the wire, made of them once.

    Attributes:
        arrays: One array per parameter, in model order; not to be written to.
    """

    def __init__(self, arrays: list[NDArray[Any]], parameters: Parameters | None = None) -> None:
        """Set up.

        Args:
            arrays: The weights.
            parameters: The same, encoded, where that is done already.
        """
        self.arrays = arrays
        self._parameters = parameters

    @classmethod
    def decode(cls, parameters: Parameters) -> "GlobalWeights":
        """Return the weights that came as bytes; `ValueError` if they cannot be decoded."""
        return cls(decode_arrays(parameters.tensors), parameters)

    @property
    def parameters(self) -> Parameters:
        """The weights as Flower sends them; encoded at the first call."""
        if self._parameters is None:
            self._parameters = ndarrays_to_parameters(self.arrays)
        return self._parameters
