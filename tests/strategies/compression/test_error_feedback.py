"""Error feedback: nothing is lost for good, and what is owed stays bounded."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strategies.compression.codec import Bfloat16, Codec, Float16, Identity, Quantise
from strategies.compression.error_feedback import encode_with_feedback
from strategies.compression.quantization import BLOCK
from strategies.compression.top_k import TopK
from strategies.core.client_update import Arrays

LOSSY: list[Codec] = [
    Float16(),
    Bfloat16(),
    Quantise(8),
    Quantise(4),
    TopK(0.05),
    TopK(0.05, "int8"),
    TopK(0.05, "int4"),
]
every_lossy_codec = pytest.mark.parametrize("codec", LOSSY, ids=repr)


def run(codec: Codec, deltas: Sequence[Arrays]) -> tuple[list[Arrays], list[Arrays]]:
    """Return what the server decodes in each round, and the residual after it."""
    decoded: list[Arrays] = []
    residuals: list[Arrays] = []
    for server_round, delta in enumerate(deltas):
        residual = residuals[-1] if residuals else None
        draw = np.random.default_rng(server_round)
        payload, residual = encode_with_feedback(codec, delta, residual, draw)
        decoded.append(codec.decode(payload, delta))
        residuals.append(residual)
    return decoded, residuals


def norm(arrays: Arrays) -> float:
    return math.sqrt(sum(float(np.sum(a.astype(np.float64) ** 2)) for a in arrays))


def total(rounds: Sequence[Arrays]) -> list[np.ndarray]:
    return [
        np.sum([a.astype(np.float64) for a in same], axis=0) for same in zip(*rounds, strict=True)
    ]


def random_rounds(number: int) -> list[Arrays]:
    draw = np.random.default_rng(7)
    return [
        [draw.standard_normal((30, 20), np.float32), np.asarray(draw.standard_normal(), np.float32)]
        for _ in range(number)
    ]


def test_by_hand():
    # Half of two values is one: the larger of delta plus residual.
    deltas: list[Arrays] = [[np.array(v, np.float32)] for v in ([3, 1], [1, 1], [0, 0])]

    decoded, residuals = run(TopK(0.5), deltas)

    assert [list(d[0]) for d in decoded] == [[3, 0], [0, 2], [1, 0]]
    assert [list(r[0]) for r in residuals] == [[0, 1], [1, 0], [0, 0]]


@settings(max_examples=30)
@given(st.lists(hnp.arrays(np.float32, (3, 2), elements=st.floats(-9, 9, width=32)), min_size=1))
def test_identity_owes_nothing(deltas: list[np.ndarray]):
    decoded, residuals = run(Identity(), [[delta] for delta in deltas])

    assert all((residual == 0).all() for (residual,) in residuals)
    for (actual,), expected in zip(decoded, deltas, strict=True):
        np.testing.assert_array_equal(actual, expected)


@every_lossy_codec
def test_what_was_decoded_and_what_is_owed_add_up_to_the_deltas(codec: Codec):
    deltas = random_rounds(40)

    decoded, residuals = run(codec, deltas)

    corrected = max(norm([a]) for r, d in zip(residuals, deltas, strict=True) for a in (*r, *d))
    largest = 2 * corrected  # of delta plus residual
    for sent, owed, exact in zip(total(decoded), residuals[-1], total(deltas), strict=True):
        assert np.abs(sent + owed - exact).max() <= len(deltas) * 2**-23 * largest


def residual_bound(share: float, deltas: Sequence[Arrays]) -> float:
    """Karimireddy et al., lemma 3: |e|^2 <= 4 * (1 - share) / share^2 * max |delta|^2."""
    return 2 * math.sqrt(1 - share) / share * max(norm(delta) for delta in deltas)


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.5])
def test_the_residual_of_top_k_stays_within_its_bound(fraction: float):
    deltas = random_rounds(300)

    _, residuals = run(TopK(fraction), deltas)

    assert max(norm(residual) for residual in residuals) <= residual_bound(fraction, deltas)


@pytest.mark.parametrize("codec", [Quantise(4), Quantise(8), TopK(1.0, "int4")], ids=repr)
def test_rounding_at_random_does_not_make_residuals_grow(codec: Codec):
    # The worst that a block can hold for 4 bits, see `strategies.compression.quantization`: the
    # error is three quarters of the values in expected square, a share of a quarter is kept.
    delta = np.full(BLOCK, 0.28 / 7, np.float32)
    delta[0] = 1

    _, residuals = run(codec, [[delta]] * 400)

    assert max(norm(residual) for residual in residuals) <= residual_bound(0.25, [[delta]])


def test_with_feedback_every_value_is_sent_in_the_end():
    # The same delta in every round. What is owed in the end is missing from the mean, and bounded.
    delta = [np.linspace(0.1, 1, 50, dtype=np.float32)]
    rounds = 500

    decoded, _ = run(TopK(0.5), [delta] * rounds)

    bound = residual_bound(0.5, [delta]) / rounds
    assert bound < 0.03  # of the smallest value, less than a third
    (mean,) = (a / rounds for a in total(decoded))
    assert np.abs(mean - delta[0]).max() <= bound


def test_without_feedback_what_is_small_is_never_sent():
    delta = [np.linspace(0.1, 1, 50, dtype=np.float32)]

    payloads = [TopK(0.5).encode(delta, np.random.default_rng(i)) for i in range(5)]

    mean = np.mean([TopK(0.5).decode(payload, delta)[0] for payload in payloads], axis=0)
    assert np.count_nonzero(mean) == 25


@every_lossy_codec
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_residual_has_the_form_of_the_delta(codec: Codec, dtype: type):
    delta: Arrays = [np.ones((3, 2), dtype), np.asarray(0.3, dtype), np.zeros((0, 4), dtype)]

    for residual in run(codec, [delta] * 2)[1]:
        assert [a.shape for a in residual] == [(3, 2), (), (0, 4)]
        assert all(type(a) is np.ndarray and a.dtype == dtype for a in residual)


def test_the_codec_is_given_arrays_also_without_dimensions():
    delta: Arrays = [np.asarray(0.5)]

    (sent,), _ = encode_with_feedback(Identity(), delta, delta, np.random.default_rng(0))

    assert type(sent) is np.ndarray
    assert sent == 1


@every_lossy_codec
def test_inputs_are_not_mutated(codec: Codec):
    delta, residual = random_rounds(2)
    before = [a.tobytes() for a in (*delta, *residual)]
    for array in (*delta, *residual):
        array.setflags(write=False)

    encode_with_feedback(codec, delta, residual, np.random.default_rng(0))

    assert [a.tobytes() for a in (*delta, *residual)] == before


@pytest.mark.parametrize("residual", [[], [np.zeros(3)], [np.zeros((2, 1))], [np.zeros(2)] * 2])
def test_the_residual_of_another_model_is_refused(residual: Arrays):
    with pytest.raises(ValueError, match="it is of another model"):
        encode_with_feedback(TopK(), [np.zeros(2)], residual, np.random.default_rng(0))


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_sum_that_is_not_finite_is_refused(value: float):
    delta, residual = ([np.array([v, 1], np.float32)] for v in (value, 3e38))

    with pytest.raises(ValueError, match="not finite"):
        encode_with_feedback(TopK(), delta, residual, np.random.default_rng(0))


class Sparse(Identity):
    """One value of ten, drawn at random, times ten: unbiased, and off by three times its length."""

    lossless = False

    def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
        return [np.asarray(d * 10 * (generator.random(d.shape) < 0.1), d.dtype) for d in delta]


def test_what_would_grow_from_round_to_round_is_not_fed_back_and_it_is_said(flower_log):
    deltas = random_rounds(40)

    decoded, residuals = run(Sparse(), deltas)

    assert max(map(norm, residuals)) == 0
    assert max(map(norm, decoded)) <= 10 * max(map(norm, deltas))
    assert "times what it was given; that is not fed back, or it would grow" in flower_log.text


def test_the_round_in_which_it_would_grow_by_hand(flower_log):
    class Overshooting(Identity):
        def encode(self, delta: Arrays, generator: np.random.Generator) -> Arrays:
            return [np.asarray(3 * d) if d[0] > 2 else np.zeros_like(d) for d in delta]

    # 2 is not sent and kept; 2 + 2 is sent as 12, off by 8; 2 is not sent and kept.
    decoded, residuals = run(Overshooting(), [[np.array([2.0], np.float32)]] * 3)

    assert [float(d[0][0]) for d in decoded] == [0, 12, 0]
    assert [float(r[0][0]) for r in residuals] == [2, 0, 2]
    assert "is off by 2 times what it was given" in flower_log.text
