"""Laws that every codec obeys, and the bytes that each one takes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.quantization import BLOCK
from strategies.compression.top_k import TopK
from strategies.contract import codecs as laws
from strategies.contract.codecs import through
from strategies.contract.comparisons import bits_of
from strategies.core.client_update import Arrays

Vector = np.ndarray[Any, np.dtype[np.float64]]
Bound = Callable[[Vector], Vector]

SIMPLE_CNN = [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (500, 800), (500,), (10, 500), (10,)]
FLOAT32_MAX = float(np.finfo(np.float32).max)


# How far each codec may be off, value by value, worked out from its description.


def no_error(values: Vector) -> Vector:
    return np.zeros_like(values)


def float16_error(values: Vector) -> Vector:
    sizes = np.abs(values)
    return np.asarray(2.0**-11 * sizes + 2.0**-39 * sizes.max(initial=0) + 2.0**-149)


def bfloat16_error(values: Vector) -> Vector:
    return 2.0**-8 * np.abs(values) + 2.0**-134


def one_step(bits: int) -> Bound:
    def error(values: Vector) -> Vector:
        blocks = [values[start : start + BLOCK] for start in range(0, values.size, BLOCK)]
        scales = np.concatenate([np.full(b.size, np.abs(b).max()) for b in blocks] or [values])
        return np.asarray(scales / (2 ** (bits - 1) - 1) + 2.0**-21 * scales + 2.0**-148)

    return error


def sent_only(fraction: float, error_of_sent: Bound) -> Bound:
    def error(values: Vector) -> Vector:
        count = min(values.size, math.ceil(fraction * values.size))
        sent = np.sort(np.argsort(-np.abs(values), kind="stable")[:count])
        errors = np.abs(values)
        errors[sent] = error_of_sent(values[sent])
        return errors

    return error


CODECS: dict[str, tuple[Codec, Bound]] = {
    "identity": (Identity(), no_error),
    "float16": (Float16(), float16_error),
    "bfloat16": (Bfloat16(), bfloat16_error),
    "quantise 8": (Quantise(8), one_step(8)),
    "quantise 4": (Quantise(4), one_step(4)),
    "top-k 1 %": (TopK(), sent_only(0.01, no_error)),
    "top-k 30 %": (TopK(0.3), sent_only(0.3, no_error)),
    "top-k 30 % float16": (TopK(0.3, "float16"), sent_only(0.3, float16_error)),
    "top-k 30 % int8": (TopK(0.3, "int8"), sent_only(0.3, one_step(8))),
    "top-k 30 % int4": (TopK(0.3, "int4"), sent_only(0.3, one_step(4))),
    "top-k of all": (TopK(1.0), no_error),
}
every_codec = pytest.mark.parametrize(
    "codec", [pytest.param(codec, id=name) for name, (codec, _) in CODECS.items()]
)
every_lossy_codec = pytest.mark.parametrize(
    "codec",
    [pytest.param(codec, id=name) for name, (codec, _) in CODECS.items() if not codec.lossless],
)

any_values = st.floats(width=32, allow_nan=False, allow_infinity=False)
deltas = st.lists(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12),
        elements=any_values,
    ),
    max_size=4,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal_delta(*shapes: tuple[int, ...], seed: int = 0) -> Arrays:
    draw = generator(seed)
    return [np.asarray(draw.standard_normal(shape, dtype=np.float32)) for shape in shapes]


def flat(arrays: Arrays) -> Vector:
    return np.concatenate([np.zeros(0), *(a.ravel().astype(np.float64) for a in arrays)])


# Every codec


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=50)
@given(delta=deltas, seed=st.integers(0, 5))
def test_the_error_is_within_the_bound_that_the_codec_states(name: str, delta: Arrays, seed: int):
    codec, bound = CODECS[name]

    decoded = through(codec, delta, seed)

    values = flat(delta)
    assert (np.abs(flat(decoded) - values) <= bound(values)).all()


@pytest.mark.parametrize("name", CODECS)
def test_the_error_is_within_the_bound_at_the_size_of_a_model(name: str):
    codec, bound = CODECS[name]
    delta = [a * np.float32(1e-3) for a in normal_delta(*SIMPLE_CNN)]

    values = flat(delta)

    assert (np.abs(flat(through(codec, delta)) - values) <= bound(values)).all()


@every_codec
@settings(max_examples=20)
@given(delta=deltas)
def test_shapes_and_dtypes_are_those_of_the_model(codec: Codec, delta: Arrays):
    laws.has_the_form_of_the_model(codec, delta)


@every_codec
@settings(max_examples=20)
@given(delta=deltas)
def test_inputs_are_neither_mutated_nor_need_to_be_writeable(codec: Codec, delta: Arrays):
    laws.leaves_what_it_is_given_alone(codec, delta)


@every_codec
def test_equal_generators_give_equal_payloads(codec: Codec):
    laws.is_repeatable(codec, normal_delta((40, 30), (7,)), seed=3)


@pytest.mark.parametrize("codec", [Quantise(8), Quantise(4), TopK(0.5, "int4")])
def test_other_generators_round_otherwise(codec: Codec):
    delta = normal_delta((40, 30), (7,))

    first, second = (codec.encode(delta, generator(seed)) for seed in (3, 4))

    assert bits_of(first) != bits_of(second)


@every_codec
def test_a_delta_of_zeros_comes_back_as_zeros(codec: Codec):
    laws.gives_zeros_for_zeros(codec, normal_delta((30, 20), ()))


@every_codec
def test_it_does_not_matter_how_an_array_lies_in_memory(codec: Codec):
    delta = normal_delta((30, 20), (40, 6))
    strided = [delta[0], np.repeat(delta[1], 2, axis=1)[:, ::2]]

    laws.does_not_see_the_layout(codec, delta)
    assert bits_of(through(codec, strided)) == bits_of(through(codec, delta))


@every_codec
def test_the_payload_survives_the_wire(codec: Codec):
    laws.survives_the_wire(codec, normal_delta((30, 20), (), (0, 3)))


@every_codec
def test_lossless_means_to_the_bit_and_unbiased_that_the_mean_of_many_is_the_delta(codec: Codec):
    laws.keeps_its_claims(codec, normal_delta((30, 20), ()))


@every_codec
@settings(max_examples=20)
@given(delta=deltas, seed=st.integers(0, 5))
def test_error_feedback_stays_bounded(codec: Codec, delta: Arrays, seed: int):
    moderate = [np.clip(a, -1e15, 1e15) for a in delta]  # squares of which are finite
    if any(np.abs(a).max(initial=0) > 1e-15 for a in moderate):
        laws.keeps_a_share(codec, moderate)


@pytest.mark.parametrize("name", [n for n, (codec, _) in CODECS.items() if codec.unbiased])
def test_unbiased_within_the_bound_of_hoeffding(name: str):
    # By Hoeffding's inequality the mean of n decoded values, each within an interval of one
    # step, is further than t from its expectation with a probability of at most
    # 2 * exp(-2 * n * (t / step)^2): with the t below, 1e-9 for all values together.
    codec, bound = CODECS[name]
    (delta,) = normal_delta((700,))
    repeats = 400

    decoded = [through(codec, [delta], seed)[0] for seed in range(repeats)]
    mean = np.mean(decoded, axis=0, dtype=np.float64)

    exact = delta.astype(np.float64)
    step = bound(exact)  # 0 for a lossless codec
    t = step * np.sqrt(np.log(2 * delta.size / 1e-9) / (2 * repeats))
    assert (np.abs(mean - exact) <= t + 1e-6).all()  # and float32 round-off
    assert t.max() < 0.1


@pytest.mark.parametrize("name", ["float16", "bfloat16", "top-k 30 %", "top-k 30 % int4"])
def test_the_others_do_not_claim_what_they_are_not(name: str):
    codec, _ = CODECS[name]
    assert not codec.unbiased
    delta: Arrays = [np.array([1.0, 0.3 + 2**-20, 0.1 + 2**-20, -0.2], np.float32)]

    mean = np.mean([through(codec, delta, seed)[0] for seed in range(50)], axis=0)

    assert np.abs(mean - delta[0]).max() > 2**-24  # the same error every time


# Values at the edges


@every_lossy_codec
def test_a_delta_that_is_not_finite_is_refused_by_the_codec(codec: Codec):
    for value in (np.nan, np.inf, -np.inf):
        delta = normal_delta((3, 2), (4,))
        delta[1][2] = value

        with pytest.raises(ValueError, match="array 1 of the delta holds 1 values that are not"):
            codec.encode(delta, generator())


def test_identity_leaves_it_to_the_server_to_refuse_what_is_not_finite():
    delta = [np.array([1.0, np.nan], np.float32)]

    assert bits_of(through(Identity(), delta)) == bits_of(delta)


@every_codec
def test_nothing_becomes_infinite(codec: Codec):
    for value in (FLOAT32_MAX, -FLOAT32_MAX, 1e-45, 65504.0, 65520.0):
        delta: Arrays = [np.full((5, 3), value, np.float32)]

        (decoded,) = through(codec, delta)

        assert np.isfinite(decoded).all()
        assert float(np.abs(decoded).max()) <= float(np.abs(delta[0]).max()) * (1 + 2**-8)


@every_codec
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_models_of_another_float_keep_their_dtype(codec: Codec, dtype: type):
    delta: Arrays = [a.astype(dtype) for a in normal_delta((20, 10), ())]

    decoded = through(codec, delta)

    in_float32 = through(codec, [a.astype(np.float32) for a in delta])
    assert all(type(a) is np.ndarray and a.dtype == dtype for a in decoded)
    if not codec.lossless:
        assert bits_of(decoded) == bits_of([a.astype(dtype) for a in in_float32])


@every_lossy_codec
def test_what_a_float_cannot_hold_becomes_its_largest_value(codec: Codec):
    huge: Arrays = [np.array([1e300, -1e300, 3.0])]
    too_large = codec.encode([np.array([7e4, -7e4, 3.0], np.float32)], generator())

    (from_float64,) = through(codec, huge)
    (as_float16,) = codec.decode(too_large, [np.zeros(3, np.float16)])

    assert np.abs(from_float64).max() == pytest.approx(FLOAT32_MAX, rel=2**-7)
    assert np.abs(as_float16).max() == pytest.approx(65504, rel=2**-7)
    assert np.isfinite(as_float16).all()


@every_lossy_codec
def test_whole_numbers_cannot_be_rounded(codec: Codec):
    counts = [np.arange(6)]

    with pytest.raises(ValueError, match="array 0 has dtype int64"):
        codec.encode(counts, generator())
    payload = codec.encode([np.ones(6)], generator())
    with pytest.raises(ValueError, match="array 0 has dtype int64"):
        codec.decode(payload, counts)


# Bytes on the wire


def wire_bytes(payload: Arrays) -> int:
    return sum(len(tensor) for tensor in ndarrays_to_parameters(payload).tensors)


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        (Identity(), 8 * 128 + 4 * 431_080),
        (Float16(), 128 + 2 * 431_080 + 7),
        (Bfloat16(), 128 + 2 * 431_080),
        (Quantise(8), 128 + 4 * 1684 + 431_080),
        (Quantise(4), 128 + 4 * 1684 + 215_540),
    ],
)
def test_bytes_of_simple_cnn(codec: Codec, expected: int):
    payload = codec.encode(normal_delta(*SIMPLE_CNN), generator())

    assert wire_bytes(payload) == expected


@pytest.mark.parametrize(
    ("codec", "ratio"),
    [
        (TopK(0.01), 78),
        (TopK(0.01, "int8"), 190),
        (TopK(0.01, "int4"), 250),
        (TopK(0.05, "int4"), 62),
        (TopK(0.06, "int4"), 50),
    ],
)
def test_sparse_deltas_send_so_many_times_fewer_bytes_than_float32(codec: Codec, ratio: int):
    # The largest values of a random delta lie anywhere, which makes for the longest positions.
    payload = codec.encode(normal_delta(*SIMPLE_CNN), generator())

    assert 4 * 431_080 / wire_bytes(payload) >= ratio


# Options


@pytest.mark.parametrize("bits", [0, 3, 16, 8.0, True, "8"])
def test_bits_that_cannot_be_are_refused(bits: Any):
    with pytest.raises(ValueError, match="must be 8 or 4"):
        Quantise(bits=bits)
