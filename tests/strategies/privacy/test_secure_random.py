import hashlib
import math
import os
import random

import numpy as np
import pytest
from scipy import stats

from strategies.privacy.secure_random import SecureGaussian

NUM = 200_000


def stream(seed: str):
    """Bytes of a hash, so that a statistical test gives the same verdict every time."""
    generator = random.Random(hashlib.sha256(seed.encode()).digest())
    return generator.randbytes


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return SecureGaussian(stream("noise")).sample((NUM,), 2.5)


def test_mean_and_standard_deviation_are_those_asked_for(samples):
    # Within five standard errors: the source is fixed, so the verdict is too.
    assert abs(samples.mean()) < 5 * 2.5 / math.sqrt(NUM)
    assert abs(samples.std() / 2.5 - 1) < 5 / math.sqrt(2 * NUM)


def test_the_distribution_is_the_normal_one(samples):
    assert stats.kstest(samples / 2.5, "norm").pvalue > 1e-3
    assert abs(stats.kurtosis(samples)) < 5 * math.sqrt(24 / NUM)
    assert abs(stats.skew(samples)) < 5 * math.sqrt(6 / NUM)


def test_samples_are_independent_of_their_neighbours_and_of_their_pair(samples):
    for lag in (1, 2, NUM // 2):
        correlation = np.corrcoef(samples[:-lag], samples[lag:])[0, 1]
        assert abs(correlation) < 5 / math.sqrt(NUM - lag)


def test_one_sample_by_hand():
    # Every uniform number is (2^52 + 1) * 2^-53, nearly 1/2: radius sqrt(2 ln 2), angle pi. The
    # sum of four cosines of -1, halved, is -2 of them.
    half = np.array([1 << 63] * 2, np.uint64).tobytes()
    noise = SecureGaussian(lambda count: half[:count])

    assert noise.sample((), 3.0) == pytest.approx(-2 * 3.0 * math.sqrt(2 * math.log(2)))


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_the_most_extreme_bytes_give_finite_samples(byte):
    sample = SecureGaussian(lambda count: byte * count).sample((5,), 1.0)

    assert np.isfinite(sample).all()
    assert np.abs(sample).max() < 17.2


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (2, 5)])
def test_any_shape(shape):
    sample = SecureGaussian().sample(shape, 1.0)

    assert sample.shape == shape
    assert sample.dtype == np.float64


def test_the_source_is_the_operating_systems_and_no_seed_repeats_it(monkeypatch):
    asked: list[int] = []

    def watching(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    np.random.seed(1)
    first = SecureGaussian().sample((10,), 1.0)
    np.random.seed(1)
    assert not np.array_equal(SecureGaussian().sample((10,), 1.0), first)
    SecureGaussian(watching).sample((10,), 1.0)
    assert asked == [80, 80, 80, 80]  # four Gaussians of 64 bits for each of ten samples
