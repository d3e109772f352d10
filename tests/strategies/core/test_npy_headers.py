"""Headers of .npy files that lie, are malformed or are told apart."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strategies.core.npy import decode_array
from tests.strategies.core.npy_files import claiming, npy, npy_with_header


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
