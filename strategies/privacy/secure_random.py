"""Gaussian noise for privacy: from the operating system's entropy, never from a seed."""

import math
import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_TERMS = 4  # Gaussians per sample, see SecureGaussian
_BLOCK = 2**14  # samples at a time, so that what is in between stays in a core's cache


class SecureGaussian:
    """Draws Gaussian samples that nobody can foresee or draw again.

    Uniform numbers of 53 bits come from the operating system's cryptographic generator and
    become Gaussian by the Box-Muller transform. A single such sample is one of few
    floating-point numbers, and its low bits can give away what it was added to (Mironov 2012);
    the sum of four, halved, is Gaussian too, and one of so many that an attacker cannot try
    them. A sample is never further out than 17 standard deviations.

    Source: Box and Muller, Ann. Math. Statist. 29 (1958); Mironov, CCS 2012; Holohan and Braghin,
    ESORICS 2021, arXiv:2107.10138, for the sum.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """Set up; `random_bytes` is another source, for tests."""
        self._random_bytes = random_bytes

    def sample(self, shape: tuple[int, ...], std: float) -> NDArray[np.float64]:
        """Return independent samples of mean 0 and standard deviation `std`."""
        samples = np.zeros(math.prod(shape))
        for start in range(0, samples.size, _BLOCK):
            block = samples[start : start + _BLOCK]
            for _ in range(_TERMS):
                block += self._standard(block.size)
        samples *= std / math.sqrt(_TERMS)
        return samples.reshape(shape)

    def _standard(self, size: int) -> NDArray[np.float64]:
        pairs = -(-size // 2)
        bits = np.frombuffer(self._random_bytes(16 * pairs), np.uint64).reshape(2, pairs)
        # In (0, 1]: the logarithm of 0 is none.
        first, second = ((bits >> np.uint64(11)).astype(np.float64) + 1) * 2.0**-53
        radius = np.sqrt(-2 * np.log(first))
        angle = 2 * np.pi * second
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:size]
