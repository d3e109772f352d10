import struct
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.core.npy import decode_array, decode_arrays

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


@pytest.mark.parametrize(
    "shape",
    [
        "(3,)",  # fewer than there are
        "(5,)",  # more
        "(1000000000000,)",  # a terabyte
        "(4294967296, 4294967296, 4294967296)",  # its product overflows 64 bits, to 0
        "(-2, -2)",  # its product is right
        "(-1,)",  # means "as many as fit" to numpy
        "(0, 99999999999999999999)",
        "()",
        f"({'1, ' * 100})",  # more dimensions than numpy has
    ],
)
def test_a_header_that_lies_about_the_shape_is_refused_without_allocating(shape):
    tensor = npy_with_header(claiming(shape), bytes(16))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"."):
            decode_array(tensor)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_the_helper_writes_what_numpy_reads():
    tensor = npy_with_header(claiming("(4,)"), bytes(16))

    np.testing.assert_array_equal(decode_array(tensor), np.zeros(4, np.float32))


@pytest.mark.filterwarnings("ignore")  # numpy's, about what it goes on to refuse
@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("[1, 2]", id="a list"),
        pytest.param("{}", id="no keys"),
        pytest.param("(" * 150 + ")" * 150, id="nested"),
        pytest.param(claiming("[1]"), id="shape is a list"),
        pytest.param(claiming("(1,)", "None"), id="no dtype"),
        pytest.param(claiming("(1,)", "['a', 'b']"), id="broken dtype"),
        pytest.param(claiming("(1,)", "'(2,)f4'"), id="subarray dtype"),
        pytest.param(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
            id="unclosed",
        ),
        pytest.param("-" * 5000 + "1", id="deep recursion"),
        pytest.param("{[]: 1}", id="unhashable key"),
        pytest.param("{1: 1, 'a': 2}", id="keys that cannot be sorted"),
        pytest.param(claiming("(True,)"), id="shape of flags"),
        pytest.param(claiming("(1,)", "'f4,('"), id="dtype with a syntax error"),
        pytest.param(claiming("(1,)", "()"), id="dtype is an empty tuple"),
        pytest.param("  \n   x\n y", id="indented"),
        pytest.param(claiming("(1,)", "'a4'"), id="deprecated dtype"),
    ],
)
def test_a_malformed_header_is_refused_as_a_value_error(header):
    with pytest.raises(ValueError, match=r"."):
        decode_array(npy_with_header(header, bytes(4)))


header_texts = st.text(alphabet="{}[]()'\"descrfotanhpe_: ,<f4FlsTu0123456789-L\n\\", max_size=60)


@pytest.mark.filterwarnings("ignore")
@example(")")
@given(
    st.one_of(
        header_texts, header_texts.map(claiming), header_texts.map(lambda t: claiming("(1,)", t))
    )
)
def test_any_header_is_decoded_or_refused_as_a_value_error(header):
    try:
        decoded = decode_array(npy_with_header(header, bytes(4)))
    except ValueError:
        return
    assert decoded.nbytes == 4


def test_arrays_keep_their_order():
    arrays = [np.arange(3, dtype=np.float32), np.array(2.5), np.zeros((0, 2), np.int8)]

    decoded = decode_arrays([npy(array) for array in arrays])

    for actual, expected in zip(decoded, arrays, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert decode_arrays([]) == []


def test_the_array_that_cannot_be_decoded_is_named():
    with pytest.raises(ValueError, match="array 1 cannot be decoded: "):
        decode_arrays([npy(np.zeros(1)), b"not an array", npy(np.zeros(1))])


def test_equal_headers_of_different_data_are_told_apart():
    # Headers are remembered; the data behind them is not.
    first, second = (npy(np.full((2, 3), value, np.float32)) for value in (1, 2))

    assert (decode_array(first) == 1).all()
    assert (decode_array(second) == 2).all()
    with pytest.raises(ValueError, match="takes 24 bytes, there are 23"):
        decode_array(second[:-1])


def test_headers_of_equal_length_are_told_apart():
    # How long a header is, is remembered too.
    wide, high, whole = np.zeros((2, 3), "f4"), np.zeros((3, 2), "f4"), np.zeros((2, 3), "i4")

    for array in (wide, high, whole, np.asfortranarray(high)):
        decoded = decode_array(npy(array))
        assert (decoded.shape, decoded.dtype) == (array.shape, array.dtype)
        assert decoded.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 60, 1000])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_may_have_any_length(padding, version):
    values = np.arange(4, dtype=np.float32)
    header = claiming("(4,)") + " " * padding + "\n"

    decoded = decode_array(npy_with_header(header, values.tobytes(), version))

    np.testing.assert_array_equal(decoded, values)


@pytest.mark.parametrize("kept", range(12))
def test_bytes_that_end_before_the_length_of_the_header_are_refused(kept):
    with pytest.raises(ValueError, match=r"."):
        decode_array(npy(np.zeros(3, np.float32))[:kept])
