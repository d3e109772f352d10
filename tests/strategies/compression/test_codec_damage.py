"""What a hostile or broken payload does to a codec: a `ValueError`, or no harm."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.top_k import TopK
from strategies.core.client_update import Arrays, ClientUpdate, check_update

LOSSY: list[Codec] = [
    Float16(),
    Bfloat16(),
    Quantise(8),
    Quantise(4),
    TopK(0.1),
    TopK(0.3, "int4"),
    TopK(1.0, "float16"),
]
every_lossy_codec = pytest.mark.parametrize("codec", LOSSY, ids=repr)
every_codec = pytest.mark.parametrize("codec", [Identity(), *LOSSY], ids=repr)

LIKE: Arrays = [np.zeros((20, 15), np.float32), np.zeros((), np.float32), np.zeros(9, np.float32)]


def normal_delta(*shapes: tuple[int, ...]) -> Arrays:
    draw = np.random.default_rng(0)
    return [np.asarray(draw.standard_normal(shape, dtype=np.float32)) for shape in shapes]


def encoded(codec: Codec, delta: Arrays) -> Arrays:
    return codec.encode(delta, np.random.default_rng(1))


def valid_payload(codec: Codec) -> Arrays:
    return encoded(codec, normal_delta(*(a.shape for a in LIKE)))


def decode_or_refuse(codec: Codec, payload: Arrays) -> None:
    """Whatever comes is a `ValueError`, or a delta that can be aggregated."""
    try:
        decoded = codec.decode(payload, LIKE)
    except ValueError:
        return
    if codec.lossless:  # it leaves it to the check whether values are finite
        assert [(a.shape, a.dtype) for a in decoded] == [(a.shape, a.dtype) for a in LIKE]
    else:
        check_update(ClientUpdate("a", decoded, 1), LIKE)


@every_lossy_codec
def test_every_truncation_is_refused(codec: Codec):
    (data,) = valid_payload(codec)

    for size in range(data.size):
        with pytest.raises(ValueError, match=r"expected|take|needed|end|hold"):
            codec.decode([data[:size]], LIKE)


@every_lossy_codec
@settings(max_examples=20)
@given(more=hnp.arrays(np.uint8, st.integers(1, 300)))
def test_bytes_that_go_on_are_refused(codec: Codec, more: np.ndarray):
    (data,) = valid_payload(codec)

    with pytest.raises(ValueError, match=r"expected|take|needed|follow"):
        codec.decode([np.concatenate([data, more])], LIKE)


@every_codec
@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bits_are_refused_or_harmless(codec: Codec, data: st.DataObject):
    payload = [array.copy() for array in valid_payload(codec)]
    row = payload[0].reshape(-1).view(np.uint8)
    for _ in range(data.draw(st.integers(1, 4))):
        row[data.draw(st.integers(0, row.size - 1))] ^= data.draw(st.integers(1, 255))

    decode_or_refuse(codec, payload)


@every_lossy_codec
def test_every_byte_replaced_is_refused_or_harmless(codec: Codec):
    (data,) = valid_payload(codec)

    for position in range(0, data.size, 1 + data.size // 300):
        for value in (0, 0x7F, 0x80, 0xFF):
            damaged = data.copy()
            damaged[position] = value
            decode_or_refuse(codec, [damaged])


@every_codec
@settings(max_examples=60)
@given(garbage=st.binary(max_size=400), size=st.none() | st.integers(0, 4000))
def test_garbage_is_refused_or_harmless(codec: Codec, garbage: bytes, size: int | None):
    row = np.frombuffer(garbage, np.uint8)
    if size is not None:
        row = np.resize(row, size if row.size else 0)

    decode_or_refuse(codec, [row])


@every_codec
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param([], id="nothing"),
        pytest.param([np.zeros(3, np.uint8)] * 2, id="two rows"),
        pytest.param([np.zeros((3, 3), np.uint8)], id="two dimensions"),
        pytest.param([np.zeros((), np.uint8)], id="no dimension"),
        pytest.param([np.zeros(3, np.float32)], id="floats"),
        pytest.param([np.zeros(3, np.int8)], id="signed"),
        pytest.param([np.zeros(3, bool)], id="flags"),
        pytest.param([np.zeros(3, np.float32)] * 3, id="as many arrays as the model has"),
    ],
)
def test_a_payload_of_another_form_is_refused(codec: Codec, payload: Arrays):
    with pytest.raises(ValueError, match=r"expected|the model"):
        codec.decode(payload, LIKE)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (LIKE[:2], r"it has 2 arrays, the model has 3"),
        ([LIKE[0].T, *LIKE[1:]], r"array 0 has shape \(15, 20\), the model's has \(20, 15\)"),
        ([*LIKE[:2], np.zeros(9)], r"array 2 has dtype float64, the model's has float32"),
    ],
)
def test_identity_compares_with_the_model(payload: Arrays, message: str):
    with pytest.raises(ValueError, match=message):
        Identity().decode(payload, LIKE)


@every_lossy_codec
def test_nothing_for_an_empty_model_is_refused_or_harmless(codec: Codec):
    try:
        assert codec.decode([np.zeros(0, np.uint8)], []) == []
    except ValueError:
        assert encoded(codec, [])[0].size > 0  # there was something to send


@every_codec
def test_the_payload_of_another_model_is_refused(codec: Codec):
    payload = encoded(codec, normal_delta((500, 40)))

    with pytest.raises(ValueError, match=r"."):
        codec.decode(payload, LIKE)


@every_lossy_codec
@pytest.mark.parametrize("fill", [0, 1, 20, 0xFF])
def test_a_payload_that_claims_much_takes_no_memory(codec: Codec, fill: int):
    much = np.full(4_000_000, fill, np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"."):
            codec.decode([much], LIKE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000


@every_codec
def test_decoding_takes_the_memory_of_a_few_models(codec: Codec):
    delta = normal_delta((300, 400))
    payload = encoded(codec, delta)
    codec.decode(payload, delta)
    tracemalloc.start()
    try:
        codec.decode(payload, delta)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 * delta[0].nbytes
