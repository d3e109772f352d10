import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.core.npy import decode_array, decode_arrays
from tests.strategies.core.npy_files import npy, number_arrays


@given(number_arrays, st.sampled_from(["C", "F"]))
def test_what_numpy_saves_is_decoded_to_the_same_array(array, order):
    saved = np.asarray(array, order=order)

    decoded = decode_array(npy(saved))

    assert decoded.dtype == saved.dtype
    assert decoded.shape == saved.shape
    assert decoded.tobytes() == saved.tobytes()  # to the bit, NaNs included


@given(hnp.arrays(np.float32, (6, 4)), st.integers(1, 3), st.integers(1, 2))
def test_views_are_decoded_too(array, rows, columns):
    view = array[::rows, ::columns]

    np.testing.assert_array_equal(decode_array(npy(view)), view)


def test_version_two_of_the_format_is_read():
    stream = BytesIO()
    np.lib.format.write_array(stream, np.arange(3.0), version=(2, 0))

    np.testing.assert_array_equal(decode_array(stream.getvalue()), [0.0, 1.0, 2.0])


def test_decoding_copies_nothing_and_cannot_be_written_to():
    tensor = npy(np.zeros(1_000_000, np.float32))
    tracemalloc.start()
    try:
        decoded = decode_array(tensor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000
    assert not decoded.flags.writeable


@given(number_arrays.filter(lambda array: array.size > 0), st.data())
def test_bytes_that_were_cut_short_are_refused(array, data):
    tensor = npy(array)
    kept = data.draw(st.integers(0, len(tensor) - 1))

    with pytest.raises(ValueError, match=r"."):
        decode_array(tensor[:kept])


@given(number_arrays, st.binary(min_size=1, max_size=20))
def test_bytes_that_go_on_are_refused(array, more):
    with pytest.raises(ValueError, match="there are"):
        decode_array(npy(array) + more)


@given(st.binary(max_size=200))
def test_garbage_is_refused(garbage):
    with pytest.raises(ValueError, match=r"."):
        decode_array(garbage)


@given(st.binary(max_size=60), st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
def test_garbage_behind_a_good_magic_is_refused(garbage, version):
    with pytest.raises(ValueError, match=r"."):
        decode_array(b"\x93NUMPY" + bytes(version) + garbage)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.array([{"a": 1}], dtype=object), id="object"),
        pytest.param(np.array(["text"]), id="text"),
        pytest.param(np.array([b"bytes"]), id="bytes"),
        pytest.param(np.array([1j]), id="complex"),
        pytest.param(np.zeros(2, [("x", "<f4"), ("y", "<f4")]), id="record"),
        pytest.param(np.array(["2026-01-01"], "M8[D]"), id="date"),
        pytest.param(np.array([1], "m8[s]"), id="duration"),
        pytest.param(np.zeros(2, "V8"), id="void"),
    ],
)
def test_what_is_no_number_is_refused(array):
    with pytest.raises(ValueError, match="is not a number"):
        decode_array(npy(array, allow_pickle=True))


def test_a_pickle_is_never_executed(tmp_path):
    trace = tmp_path / "executed"

    class Trap:
        def __reduce__(self):
            return (trace.touch, ())

    tensor = npy(np.array([Trap()], dtype=object), allow_pickle=True)

    with pytest.raises(ValueError, match="is not a number"):
        decode_array(tensor)
    assert not trace.exists()


def test_arrays_keep_their_order():
    arrays = [np.arange(3, dtype=np.float32), np.array(2.5), np.zeros((0, 2), np.int8)]

    decoded = decode_arrays([npy(array) for array in arrays])

    for actual, expected in zip(decoded, arrays, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert decode_arrays([]) == []


def test_the_array_that_cannot_be_decoded_is_named():
    with pytest.raises(ValueError, match="array 1 cannot be decoded: "):
        decode_arrays([npy(np.zeros(1)), b"not an array", npy(np.zeros(1))])
