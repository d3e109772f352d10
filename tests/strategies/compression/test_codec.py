"""Laws that every codec obeys, and the bytes that each one takes."""

import numpy as np
import pytest
from flwr.common import ndarrays_to_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.top_k import TopK
from strategies.contract import codec_claims
from strategies.contract import codecs as laws
from strategies.contract.codec_claims import through
from strategies.contract.comparisons import bits_of
from strategies.core.client_update import Arrays
from tests.strategies.compression.every_codec import (
    CODECS,
    SIMPLE_CNN,
    deltas,
    every_codec,
    flat,
    generator,
    normal_delta,
)


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
    codec_claims.keeps_its_claims(codec, normal_delta((30, 20), ()))


@every_codec
@settings(max_examples=20)
@given(delta=deltas, seed=st.integers(0, 5))
def test_error_feedback_stays_bounded(codec: Codec, delta: Arrays, seed: int):
    moderate = [np.clip(a, -1e15, 1e15) for a in delta]  # squares of which are finite
    if any(np.abs(a).max(initial=0) > 1e-15 for a in moderate):
        codec_claims.keeps_a_share(codec, moderate)


@every_codec
def test_error_feedback_stays_bounded_over_rounds(codec: Codec):
    for rounds in codec_claims.example_deltas(generator()):
        codec_claims.keeps_a_share_with_feedback(codec, rounds)


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
